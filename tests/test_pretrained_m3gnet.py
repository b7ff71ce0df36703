"""The released M3GNet potentials against matgl's values, against DFT, and as files.

The values in `m3gnet_reference.npz` were made by `make_m3gnet_reference.py`.
"""

import io
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pinned import pinned
from pymatgen.core import Structure

from mg9 import data
from mg9.a_crystal import molecule_graph, radius_graph
from mg9.a_errors import UnknownElement
from mg9.a_graph import batch_graphs
from mg9.data import cache
from mg9.e_m3gnet import M3GNet
from mg9.potential import GPA, NoCell
from mg9.pretrained import m3gnet
from mg9.pretrained.m3gnet import JANUS, RELEASED, Released, load, read_state

PAPER, DIRECT = "MP-2021.2.8", "MP-2021.2.8-DIRECT"
DOUBLE = torch.float64
SALT = ("Fm-3m", [[5.69, 0, 0], [0, 5.69, 0], [0, 0, 5.69]], ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def paper():
    """The file of the paper's potential; tests that need it are skipped where it is not."""
    path = cache.folder() / RELEASED[PAPER].file
    if not path.exists():
        pytest.skip(
            f"{RELEASED[PAPER].file} is not in {cache.folder()}: it comes with matgl's pretrained models"
        )
    return path


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("m3gnet_reference.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def batch(reference):
    """102 crystals of 1 to 25 atoms, strained and rattled."""
    ends = np.cumsum(reference["atoms"])
    atoms = zip(*(np.split(reference[key], ends[:-1]) for key in ("z", "pos")), strict=True)
    crystals = zip(reference["cell"], atoms, strict=True)
    structures = [Structure(cell, z, pos, coords_are_cartesian=True) for cell, (z, pos) in crystals]
    assert len(structures) > 100
    return batch_graphs([radius_graph(one, cutoff=5.0, dtype=DOUBLE) for one in structures])


# Against matgl


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
def test_agrees_with_matgl(dtype, digits, paper, reference, batch):
    found = load(PAPER, dtype=dtype)(
        batch.clone().apply(lambda x: x.to(dtype) if x.is_floating_point() else x)
    )
    per_atom = (found.energy.numpy() - reference["energy"]) / reference["atoms"]
    assert np.abs(per_atom).max() < digits  # eV/atom
    np.testing.assert_allclose(found.forces, reference["forces"], rtol=0, atol=50 * digits)  # eV/Å
    np.testing.assert_allclose(found.stress * GPA, reference["stress"], rtol=0, atol=100 * digits)  # GPa


def test_matgl_unchanged_sums_at_the_other_atom(paper, reference, batch):
    """Its energies are those of the paper's network, centre first, fed with matrices that were trained with
    the centre second: right for elements, off by electronvolts for compounds."""
    theirs = M3GNet().double()
    theirs.basis, theirs.atoms = load(PAPER, dtype=DOUBLE).model.basis, torch.nn.Embedding(89, 64)
    state = {}
    for name, tensor in load(PAPER, dtype=DOUBLE).model.state_dict().items():
        if name.endswith(("value.0.weight", "gate.0.weight")) and ("bond." in name or "message." in name):
            W_i, W_j, W_e = tensor.split(64, dim=1)
            tensor = torch.cat([W_j, W_i, W_e], dim=1)
        state[name] = tensor
    released = load(PAPER, dtype=DOUBLE)
    theirs.element_rows = released.model.element_rows
    theirs.bonds[0] = torch.nn.Linear(9, 64)
    for convolution in theirs.convolutions:
        convolution.bond_weight = torch.nn.Linear(9, 64, bias=False)
        convolution.message_weight = torch.nn.Linear(9, 64, bias=False)
    theirs.double().load_state_dict(state)
    released.model = theirs
    energy = released.energy(batch).detach().numpy()
    np.testing.assert_allclose(
        energy / reference["atoms"], reference["energy_unchanged"] / reference["atoms"], rtol=0, atol=5e-6
    )
    assert np.median(np.abs(energy - reference["energy"]) / reference["atoms"]) > 0.5
    silicon = Structure.from_spacegroup("Fd-3m", 5.43 * np.eye(3), ["Si"], [[0, 0, 0]])
    graph = radius_graph(silicon, cutoff=5.0, dtype=DOUBLE)
    assert released.energy(graph).item() == pytest.approx(load(PAPER, dtype=DOUBLE).energy(graph).item())


def test_every_loaded_tensor_counts(paper, batch):
    """One of them a little off, and the agreement is gone; the gates of the angles, which training has
    switched off, have to be far off."""
    potential = load(PAPER, dtype=DOUBLE)
    few = batch_graphs(batch.to_data_list()[:6])
    expected = potential.energy(few)
    unnoticed = []
    for key, tensor in potential.state_dict().items():
        kept = tensor.clone()
        tensor.add_(10.0 if "three_body" in key and "gate" in key else 0.02)
        if torch.allclose(potential.energy(few), expected, rtol=0, atol=1e-7):
            unnoticed.append(key)
        tensor.copy_(kept)
    assert not unnoticed


def test_training_has_switched_the_angles_off(paper, batch):
    """Without the three-body terms no energy changes by 1e-4 eV/atom: the release is a two-body network."""
    potential = load(PAPER, dtype=DOUBLE)
    atoms = torch.bincount(batch.batch)
    with_angles = potential.energy(batch)
    for three_body in potential.model.three_body:
        three_body.update.value[0].weight.zero_()
    change = ((potential.energy(batch) - with_angles) / atoms).abs()
    assert 1e-7 < change.max() < 3e-4 and change.median() < 1e-4


# Against DFT


@pytest.fixture(scope="module")
def frames():
    pinned(data.sources.MATTERSIM)
    ds = data.mptrj()
    ids = ds.table.index[::25]
    return ds, [k for k in ids if usable(ds.structure(k))]


def usable(structure: Structure) -> bool:
    """Every atom has a neighbour within 5 Å, and every element was in the training data."""
    neighbours = len(np.unique(structure.get_neighbor_list(5.0)[0]))
    return neighbours == len(structure) and {84, 85, 86, 87, 88}.isdisjoint(structure.atomic_numbers)


@pytest.mark.parametrize("name", [PAPER, DIRECT])
def test_energies_forces_and_stresses_of_relaxations_are_near_dft(name, frames, request):
    """[chen2022m3gnet]: 0.035 eV/atom, 0.072 eV/Å, 0.41 GPa on held-out frames of its own data.

    The mean error of the forces here is twice that, 0.133 eV/Å, for two frames' sake: Ca10Pr4Cu24O41 and
    P6N7Cl9 begin with forces of up to 28 eV/Å, where the paper's sample has first, middle and last steps of
    relaxations. They have a sixth of the atoms and half of the error; the median component is off by 0.05.
    Likewise for the stress: CeZnNi4, stretched to 33 GPa, has 40 % of the error; without it and K(CrS2)2 the
    correlation with DFT is 0.96 in place of 0.79.
    """
    request.getfixturevalue("paper") if name == PAPER else pinned(JANUS)
    ds, ids = frames
    batch = batch_graphs([radius_graph(ds.structure(k), cutoff=5.0) for k in ids])
    found = load(name)(batch)
    atoms = torch.bincount(batch.batch).numpy()
    energy = (found.energy.numpy() - ds.table.loc[ids, "energy"]) / atoms
    off = np.abs(found.forces.numpy() - np.concatenate(ds.tensors("forces", ids)))
    ours, dft = found.stress.numpy() * GPA, np.stack(list(ds.tensors("stress", ids))) * GPA
    of_stress = np.abs(ours - dft).mean(axis=(1, 2))
    typical = np.argsort(of_stress)[:-2]
    assert len(ids) > 30
    assert energy.abs().mean() < 0.04
    assert off.mean() < 0.15 and np.median(off) < 0.08
    assert of_stress[typical].mean() < 0.41
    assert np.corrcoef(ours[typical].ravel(), dft[typical].ravel())[0, 1] > 0.94  # and of the same sign


# Bad input


def test_elements_that_it_never_saw_are_refused(paper):
    for z in (85, 96):
        with pytest.raises(UnknownElement, match=f"atomic number {z}: this potential was not trained on it"):
            load(PAPER)(molecule_graph([z, 8], [[0, 0, 0], [2, 0, 0]], cutoff=5.0))


def test_a_molecule_has_forces_but_no_stress(paper):
    water = molecule_graph([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], cutoff=5.0)
    potential = load(PAPER)
    assert potential(water).stress is None and torch.isfinite(potential(water).forces).all()
    with pytest.raises(NoCell):
        potential(water, stress=True)


# As files


@pytest.fixture
def fresh(paper, tmp_path, monkeypatch):
    """A cache folder with nothing but the paper's file."""
    place = tmp_path / RELEASED[PAPER].file
    place.parent.mkdir(parents=True)
    shutil.copy(paper, place)
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    return tmp_path


def test_needs_neither_matgl_nor_the_file_once_converted(fresh):
    salt = Structure.from_spacegroup(*SALT)
    expected = float(load(PAPER)(radius_graph(salt, cutoff=5.0)).energy)
    shutil.rmtree(fresh / "M3GNet-MP-2021.2.8-PES")
    program = (
        "import sys\n"
        "for name in ('matgl', 'dgl', 'lightning', 'janus_core'): sys.modules[name] = None\n"
        "from mg9.a_crystal import radius_graph\n"
        "from mg9.pretrained.m3gnet import load\n"
        "from pymatgen.core import Structure\n"
        f"salt = Structure.from_spacegroup(*{SALT!r})\n"
        f"print(float(load({PAPER!r})(radius_graph(salt, cutoff=5.0)).energy))"
    )
    offline = os.environ | {"PIP_NO_INDEX": "1"}
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=offline)
    assert printed.returncode == 0, printed.stderr
    assert float(printed.stdout) == pytest.approx(expected, abs=1e-4)


def test_a_changed_file_is_refused_before_it_is_read(fresh):
    place = fresh / RELEASED[PAPER].file
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(cache.ChecksumError, match="is not the pinned file"):
        load(PAPER)
    assert not list(fresh.glob("*.safetensors"))


def test_what_a_pickle_asks_for_is_refused(fresh, monkeypatch):
    """A harmful file whose sha256 is right: only then does the pickle's reader matter."""
    harm, place = fresh / "harm", fresh / "bad.pt"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(harm),)

    content = io.BytesIO()
    torch.save({"model.x": Harmful()}, content)
    place.write_bytes(content.getvalue())
    monkeypatch.setitem(m3gnet.RELEASED, PAPER, Released("bad.pt", cache.sha256_of(place)))
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        read_state(PAPER)
    assert not harm.exists()


def test_a_file_that_is_not_there_is_asked_for_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    with pytest.raises(cache.FetchError, match=r"is in no package: load .* or copy the folder of that name"):
        load(PAPER)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="no released potential 'MP'; there are: MP-2021.2.8, MP-2021.2.8-DI"):
        load("MP")
