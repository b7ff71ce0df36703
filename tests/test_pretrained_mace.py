"""MACE-MP-0 in our own MACE: against mace-torch's values, with every tensor counting, and as a file.

The values in `mace_reference.npz` were made by `make_mace_reference.py`.
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
from ase.build import bulk
from pinned import pinned
from pymatgen.core import Structure

from mg9.a_crystal import molecule_graph, radius_graph
from mg9.a_errors import UnknownElement
from mg9.a_graph import batch_graphs
from mg9.calculator import PotentialCalculator
from mg9.data import cache
from mg9.pretrained.mace import AIIDA, FILE, load, read_tensors

DOUBLE = torch.float64


@pytest.fixture(scope="module", autouse=True)
def archive():
    return pinned(AIIDA)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("mace_reference.npz")) as file:
        return dict(file)


@pytest.fixture(scope="module")
def graphs(reference):
    """101 crystals of the default set, strained and rattled, and 100 frames of MPtrj."""
    ends = np.cumsum(reference["atoms"])
    atoms = zip(*(np.split(reference[key], ends[:-1]) for key in ("z", "pos")), strict=True)
    crystals = zip(reference["cell"], atoms, strict=True)
    structures = [Structure(cell, z, pos, coords_are_cartesian=True) for cell, (z, pos) in crystals]
    assert len(structures) == 201
    return [radius_graph(one, cutoff=6.0, dtype=DOUBLE) for one in structures]


def errors(potential, graphs, expected, dtype):
    """The largest differences of energy per atom, forces and stress, over batches of 16."""
    largest = np.zeros(3)
    for start in range(0, len(graphs), 16):
        batch = batch_graphs(graphs[start : start + 16])
        found = potential(batch.apply(lambda x: x.to(dtype) if x.is_floating_point() else x))
        energy, forces, stress = (
            np.stack(part) if k != 1 else np.concatenate(part)
            for k, part in enumerate(zip(*expected[start : start + 16], strict=True))
        )
        per_atom = (found.energy.numpy() - energy) / np.bincount(batch.batch)
        here = per_atom, found.forces.numpy() - forces, found.stress.numpy() - stress
        largest = np.maximum(largest, [np.abs(part).max() for part in here])
    return largest


def test_agrees_with_mace_torch(reference, graphs):
    """In double precision to 1e-6 eV/atom, 1e-5 eV/Å and 1e-6 eV/Å^3; in single on every tenth."""
    forces = np.split(reference["forces"], np.cumsum(reference["atoms"])[:-1])
    expected = list(zip(reference["energy"], forces, reference["stress"], strict=True))
    assert (errors(load(dtype=DOUBLE), graphs, expected, DOUBLE) < [1e-6, 1e-5, 1e-6]).all()
    single = errors(load(), graphs[::10], expected[::10], torch.float32)
    assert (single < [1e-5, 2e-4, 1e-5]).all()


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        (bulk("Si", "diamond", 5.43), -5.36923),
        (bulk("NaCl", "rocksalt", 5.69), -3.38080),
        (bulk("Cu", "fcc", 3.61), -4.09039),
    ],
    ids=["Si", "NaCl", "Cu"],
)
def test_is_a_calculator_of_ase(atoms, expected):
    atoms.calc = PotentialCalculator(load(dtype=DOUBLE))
    assert atoms.get_potential_energy() / len(atoms) == pytest.approx(expected, abs=1e-5)


def test_every_loaded_tensor_counts(graphs):
    """One of them a little off, and the energies are others; but for three (next test)."""
    potential = load(dtype=DOUBLE)
    few = batch_graphs(graphs[:200:40])
    expected = potential.energy(few)
    unnoticed = []
    for key, tensor in potential.state_dict().items():
        kept = tensor.clone()
        tensor.mul_(1.01)
        if torch.allclose(potential.energy(few), expected, rtol=0, atol=1e-6):
            unnoticed.append(key)
        tensor.copy_(kept)
    assert unnoticed == [f"model.rounds.1.A.weight.{irrep}" for irrep in ("1o", "2e", "3o")]


def test_weight_decay_has_taken_the_directions_out_of_the_second_round():
    """What its atoms gather is scalars only: the matrices to l > 0 have faded to 1e-116. In the first round
    they count."""
    potential = load(dtype=DOUBLE)
    for irrep in ("1o", "2e", "3o"):
        first, second = (potential.model.rounds[k]["A"].weight[irrep].abs().max() for k in range(2))
        assert 0.1 < first < 1 and second < 1e-100


def test_stress_and_forces_of_a_stretched_crystal_point_back():
    """ASE's sign: what is stretched pulls, with a positive stress; a pair that is pulled apart attracts."""
    atoms = bulk("NaCl", "rocksalt", 5.69 * 1.05)
    atoms.calc = PotentialCalculator(load(dtype=DOUBLE))
    assert (atoms.get_stress()[:3] > 0.01).all()
    pair = molecule_graph([11, 17], [[0, 0, 0], [3.2, 0, 0]], cutoff=6.0, dtype=DOUBLE)
    forces = load(dtype=DOUBLE)(pair).forces
    assert forces[0, 0] > 0.1 > -0.1 > forces[1, 0]


def test_an_element_that_it_never_saw_is_refused():
    with pytest.raises(UnknownElement, match="atomic number 85: this network has no weights for it"):
        load()(molecule_graph([85, 8], [[0, 0, 0], [2, 0, 0]], cutoff=6.0))


# As a file


@pytest.fixture
def fresh(archive, tmp_path, monkeypatch):
    """A cache folder with nothing but the archive."""
    os.link(archive, tmp_path / archive.name) if archive.stat().st_dev == tmp_path.stat().st_dev else (
        shutil.copy(archive, tmp_path)
    )
    monkeypatch.setenv("MG9_CACHE", str(tmp_path))
    return tmp_path


def test_needs_neither_mace_nor_e3nn_nor_the_archive_once_converted(fresh):
    load()
    (fresh / AIIDA.file).unlink()
    program = (
        "import sys\n"
        "for name in ('mace', 'e3nn', 'aiida_mlip', 'opt_einsum'): sys.modules[name] = None\n"
        "from ase.build import bulk\n"
        "from mg9.calculator import PotentialCalculator\n"
        "from mg9.pretrained.mace import load\n"
        "atoms = bulk('Cu', 'fcc', 3.61)\n"
        "atoms.calc = PotentialCalculator(load())\n"
        "print(atoms.get_potential_energy())"
    )
    offline = os.environ | {"PIP_NO_INDEX": "1"}
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=offline)
    assert printed.returncode == 0, printed.stderr
    assert float(printed.stdout) == pytest.approx(-4.09039, abs=1e-4)


def test_a_changed_archive_is_refused_before_it_is_read(fresh):
    content = bytearray((fresh / AIIDA.file).read_bytes())
    content[len(content) // 2] ^= 1
    (fresh / AIIDA.file).unlink()
    (fresh / AIIDA.file).write_bytes(content)
    with pytest.raises(cache.ChecksumError, match="is not the pinned file"):
        load()
    assert not list(fresh.glob("*.safetensors"))


def test_a_pickle_that_asks_for_anything_else_is_refused(tmp_path):
    harm = tmp_path / "harm"

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(harm),)

    content = io.BytesIO()
    torch.save({"x": Harmful()}, content)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        read_tensors(content.getvalue())
    assert not harm.exists()


def test_the_pickle_imports_nothing(archive):
    """Its 34 classes of mace, e3nn and torch.fx stay names."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mg9.data.cache import member\n"
        "from mg9.pretrained.mace import read_tensors\n"
        f"found = read_tensors(member(Path({str(archive)!r}), {FILE!r}))\n"
        "assert len(found) > 50\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('mace', 'e3nn')))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert printed.stdout.strip() == "[]", printed.stderr
