"""`mg9 embed` through the real command, and the crystals nearest to one."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from pinned import pinned
from pymatgen.core import Lattice, Structure

from mg9 import data
from mg9.b_symmetry import stretch
from mg9.cli import main
from mg9.embeddings import Embeddings
from mg9.g_foundation import load
from mg9.pretrained.mace import AIIDA

SALTS = {"LiF": 4.03, "NaCl": 5.69, "KCl": 6.29, "MgO": 4.25}


def salt(formula: str, a: float) -> Structure:
    first, second = (formula[:2], formula[2:]) if formula[1].islower() else (formula[:1], formula[1:])
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


def command(*arguments, **environment: str) -> subprocess.CompletedProcess:
    given = [sys.executable, "-m", "mg9.cli", "embed", *map(str, arguments)]
    return subprocess.run(given, capture_output=True, text=True, env=os.environ | environment)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CIF, a POSCAR, and an extended xyz file with two frames."""
    pinned(AIIDA)
    folder = tmp_path_factory.mktemp("crystals")
    made = {formula: salt(formula, a) for formula, a in SALTS.items()}
    made["LiF"].to(filename=str(folder / "lif.cif"))
    made["NaCl"].to(filename=str(folder / "POSCAR"))
    frames = [made[formula].to_ase_atoms() for formula in ("KCl", "MgO")]
    write(folder / "run.xyz", frames, format="extxyz")
    return folder


@pytest.mark.parametrize("name", ["vectors.npz", "vectors.csv"])
def test_the_command_writes_what_the_potential_gives(files, name, capsys):
    """The first as a user runs it, the second in this process."""
    paths = [files / "run.xyz", files / "lif.cif", files / "POSCAR"]
    if name.endswith("npz"):
        done = command(*paths, "-o", files / name)
        status, printed = done.returncode, done.stdout
    else:
        status = main(["embed", *map(str, paths), "-o", str(files / name)])
        printed = capsys.readouterr().out
    assert status == 0
    assert printed == f"{files / name}: 4 crystals, 256 numbers each, by mace-mp-0-small\n"
    found = Embeddings.read(files / name)
    expected = [f"{paths[0]}:0", f"{paths[0]}:1", str(paths[1]), str(paths[2])]
    assert found.names.tolist() == expected and found.backbone == "mace-mp-0-small"
    assert found.formulas.tolist() == ["KCl", "MgO", "LiF", "NaCl"]
    crystals = [salt(formula, SALTS[formula]) for formula in found.formulas]
    np.testing.assert_allclose(found.vectors, load("mace-mp-0-small").embed(crystals), atol=1e-4)


def test_what_cannot_be_done_is_one_line_and_writes_nothing(files, tmp_path, capsys):
    broken, molecule, unknown = tmp_path / "broken.cif", tmp_path / "water.xyz", tmp_path / "at.cif"
    broken.write_text("data_nothing\n")
    write(molecule, Atoms("OH2", [[0, 0, 0], [0.76, 0, 0.6], [-0.76, 0, 0.6]]), format="extxyz")
    salt("AtLi", 6.0).to(filename=str(unknown))
    good, out = files / "lif.cif", tmp_path / "v.npz"
    cases = [
        (2, "must end in .npz or .csv", [good, "-o", tmp_path / "v.txt"]),
        (2, "broken.cif: not readable as a crystal", [good, broken, "-o", out]),
        (2, "missing.xyz: not readable as extended xyz", [tmp_path / "missing.xyz", "-o", out]),
        (2, "water.xyz:0 is not periodic in three directions", [molecule, "-o", out]),
        (1, "atomic number 85: this network has no weights for it", [unknown, "-o", out]),
        (1, "no pretrained potential 'mace'; there are", [good, "-o", out, "--backbone", "mace"]),
        (1, "not wrapped here: pip install", [good, "-o", out, "--backbone", "mattersim-1.0-1m"]),
    ]
    for status, message, arguments in cases:
        assert main(["embed", *map(str, arguments)]) == status
        printed = capsys.readouterr()
        last = printed.err.splitlines()[-1]
        assert last.startswith("mg9 embed: ") and message in last and not printed.out
    assert not out.exists() and not (tmp_path / "v.txt").exists()


def test_without_a_network_the_command_names_the_file(files, tmp_path):
    done = command(files / "lif.cif", "-o", tmp_path / "v.npz", MG9_CACHE=str(tmp_path), PIP_NO_INDEX="1")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith("mg9 embed: ") and f"sha256 {AIIDA.sha256}" in last
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == []


def test_the_help_has_examples_and_exit_status(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["embed", "--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    for part in ("examples:", "mg9 embed quartz.cif POSCAR -o vectors.npz", "exit status: 0", "--backbone"):
        assert part in printed
    with pytest.raises(SystemExit) as stopped:
        main(["embed", "a.cif"])  # without -o
    assert stopped.value.code == 2


def example() -> Embeddings:
    vectors = np.array([[0.0, 0.0], [100.0, 0.1], [0.0, 1.0], [200.0, 0.0], [0.0, 0.9]])
    return Embeddings(np.array(list("abcde")), np.array(["A", "B", "C", "D", "E"]), vectors, "test")


def test_nearest_by_hand():
    """Both features are divided by their deviation, so that the larger one does not decide alone."""
    spread = example().vectors.std(axis=0)
    found = example().nearest("c", k=3)
    assert [name for name, *_ in found] == ["e", "a", "b"]
    assert found[0][2] == pytest.approx(0.1 / spread[1] / np.sqrt(2))
    assert found[2] == (
        "b",
        "B",
        pytest.approx(np.sqrt(((100 / spread[0]) ** 2 + (0.9 / spread[1]) ** 2) / 2)),
    )
    assert example().nearest(np.array([200.0, 0.0]), k=1) == [("d", "D", 0.0)]
    assert len(example().nearest("a", k=99)) == 4
    with pytest.raises(KeyError, match="no crystal 'z' among these 5"):
        example().nearest("z")


def test_reading_something_else_says_so(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("other.csv", "other.npz"):
        with pytest.raises(ValueError, match="holds no embeddings"):
            Embeddings.read(tmp_path / name)


def test_the_nearest_crystal_is_the_same_one_a_little_strained(files):
    """Among 60 crystals of the default set."""
    ds = data.formation_energy()
    ids = ds.table.index[ds.table.nsites <= 4][:60]
    backbone, structures = load("mace-mp-0-small"), ds.structures(ids)
    formulas = np.array([one.reduced_formula for one in structures])
    library = Embeddings(ids.to_numpy(), formulas, backbone.embed(structures).numpy(), backbone.name)
    for row in range(0, 60, 6):
        strained = backbone.embed(stretch(structures[row], 1.01))[0].numpy()
        assert library.nearest(strained, k=1)[0][0] == ids[row]
