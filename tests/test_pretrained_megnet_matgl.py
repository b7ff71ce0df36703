"""matgl's MEGNet states against matgl's values, against DFT, and as files.

The values in `megnet_reference.npz` were made by `make_megnet_reference.py`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from make_megnet_reference import crystals
from pymatgen.core import Structure

from mg9 import data
from mg9.a_errors import NoNeighbours, UnknownElement
from mg9.data import cache
from mg9.pretrained.megnet_matgl import FUNCTIONALS, RELEASED, load, read_state, released, renamed

ENERGY, GAP = "MP-2018.6.1-Eform", "MP-2019.4.1-BandGap-mfi"
DOUBLE = torch.float64


@pytest.fixture(scope="module")
def files():
    """The two files; tests that need them are skipped where they are not."""
    for name in RELEASED:
        path = cache.folder() / f"MEGNet-{name}" / "state.pt"
        if not path.exists():
            pytest.skip(
                f"MEGNet-{name}/state.pt is not in {cache.folder()}: it comes with matgl's pretrained models"
            )


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("megnet_reference.npz")) as file:
        return dict(file)


def at_the_other_end(name: str):
    """The model with bonds that are averaged where matgl 4.1.2 does it."""
    model = load(name, dtype=DOUBLE)
    for bond, _, _ in model.model.blocks:
        W_i, W_j, *others = bond.layers[0].weight.split(32, dim=1)
        bond.layers[0].weight = torch.nn.Parameter(torch.cat([W_j, W_i, *others], dim=1))
    return model


def usable(structure: Structure) -> bool:
    """Every atom has a neighbour within 4 Å, and every element was in the training data."""
    alone = len(np.unique(structure.get_neighbor_list(4.0)[0])) < len(structure)
    return not alone and {84, 85, 86, 87, 88}.isdisjoint(structure.atomic_numbers)


# Against matgl


@pytest.mark.parametrize("name", released())
def test_agrees_with_matgl_that_averages_at_the_other_end_and_in_that_alone(name, files, reference):
    of, (_, structures) = RELEASED[name], crystals()
    assert len(structures) > 90
    for model, key in ((load(name, dtype=DOUBLE), name), (at_the_other_end(name), f"{name}_unchanged")):
        expected = reference[key] * of.std + of.mean
        np.testing.assert_allclose(model.predict(structures), expected, rtol=0, atol=2e-6)


def test_what_the_release_says_of_itself_is_in_its_file(files):
    """The centres of the bumps are stored beside the weights: they end 1 Å beyond the cutoff."""
    for name, of in RELEASED.items():
        centres = load(name).model.basis.mu
        torch.testing.assert_close(centres, read_state(name)["model.bond_expansion.rbf.centers"])
        assert float(centres[-1]) == of.cutoff + 1.0


def test_every_loaded_tensor_counts(files):
    """One of them a little off, and the output is another one. The state (0, 0) hides the matrix that reads
    it, so it is given."""
    salt = Structure.from_spacegroup("Fm-3m", 5.69 * np.eye(3), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    for name in RELEASED:
        released_model = load(name, dtype=DOUBLE)
        model, graph = released_model.model, released_model.rule(salt, dtype=DOUBLE)
        if name == ENERGY:
            graph.state = torch.tensor([[0.3, -0.2]], dtype=DOUBLE)
        expected, unnoticed = model(graph), []
        for key, tensor in model.state_dict().items():
            if tensor.dtype == torch.bool:
                continue
            kept = tensor.clone()
            tensor.add_(0.05)
            if torch.allclose(model(graph), expected, rtol=0, atol=1e-7):
                unnoticed.append(key)
            tensor.copy_(kept)
        assert not unnoticed


# Against DFT: most of these crystals were in the training data, so this shows which evaluation is right


def errors(model, ds, column: str, every: int) -> np.ndarray:
    ids = [k for k in ds.table.index[::every] if usable(ds.structure(k))]
    return np.abs(model.predict(ds.structures(ids)) - ds.table.loc[ids, column].astype(float))


def test_the_formation_energy_is_as_good_as_the_paper_says_at_the_right_end_only(files):
    """[chen2019megnet]: 0.028 eV/atom on crystals that training did not show."""
    ds, column = data.formation_energy(), "formation_energy_per_atom"
    right = errors(load(ENERGY), ds, column, 15)
    wrong = errors(at_the_other_end(ENERGY), ds, column, 15)
    assert len(right) > 200
    assert right.mean() < 0.028 and wrong.mean() > 0.2


def test_gaps_are_nearer_to_their_labels_at_the_right_end(files):
    """0.79 in place of 1.17 eV; MgO's gap, for one, is 0.4 eV in this model."""
    ds = data.band_gap()
    right = errors(load(GAP), ds, "band_gap", 10).mean()
    wrong = errors(at_the_other_end(GAP), ds, "band_gap", 10)
    assert right < 0.85 and right < 0.75 * wrong.mean()


def test_each_functional_has_gaps_of_its_own(files):
    """GLLB-SC gaps of an ionic crystal are larger than PBE's, and HSE's lie between."""
    salt = Structure.from_spacegroup("Fm-3m", 5.69 * np.eye(3), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    gap = {name: float(load(GAP, functional=name).predict(salt)[0]) for name in FUNCTIONALS}
    assert gap["PBE"] < gap["HSE"] < gap["GLLB-SC"]
    model = load(GAP)
    graph = model.rule(salt)
    del graph.state
    assert float(model.model(graph)) * model.std + model.mean == pytest.approx(gap["PBE"], abs=1e-5)


# Bad input, and files


def test_what_it_never_saw_and_what_has_no_neighbours_is_refused(files):
    for z in (84, 96):
        with pytest.raises(UnknownElement, match=f"atomic number {z}: none of this model's"):
            load(ENERGY).predict(Structure(3.3 * np.eye(3), [z], [[0, 0, 0]]))
    with pytest.raises(NoNeighbours, match="structure 0"):
        load(GAP).predict(Structure(30 * np.eye(3), ["Ar"], [[0, 0, 0]]))


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no released model 'MP'; there are: MP-2018.6.1-Eform, MP-2019"):
        load("MP")
    with pytest.raises(KeyError, match="no functional 'PBE0'; there are: PBE, GLLB-SC"):
        load(GAP, functional="PBE0")


def test_a_file_that_is_not_there_is_asked_for_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    with pytest.raises(
        cache.FetchError, match=r"is in no package: copy the folder of that name from matgl's"
    ):
        load(ENERGY)


def test_a_changed_file_is_refused_before_it_is_read(files, tmp_path, monkeypatch):
    content = bytearray((cache.folder() / f"MEGNet-{ENERGY}" / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    place = tmp_path / f"MEGNet-{ENERGY}" / "state.pt"
    place.parent.mkdir()
    place.write_bytes(content)
    with pytest.raises(cache.ChecksumError, match="is not the pinned file"):
        load(ENERGY)
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_names_cover_the_file(files):
    for name in RELEASED:
        assert set(renamed(read_state(name))) == set(load(name).model.state_dict())
