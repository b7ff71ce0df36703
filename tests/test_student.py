"""The student package: what is in it, what is not, and that it works where only its own lock is installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections import defaultdict
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import numpy as np
import pytest
import waves
from packaging.utils import canonicalize_name

from course import blind
from course.grader.leaks import leaks
from course.grader.student import lock

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The archive that `mg9-course package` writes, opened elsewhere."""
    place = tmp_path_factory.mktemp("student")
    code, printed = waves.run("package", "--out", place / "dist" / "mg9-student")
    assert code == 0 and "nothing found" in printed, printed
    with zipfile.ZipFile(place / "dist" / "mg9-student.zip") as archive:
        archive.extractall(place / "home")
    return place / "home" / "mg9-student"


def test_it_has_what_students_need_and_nothing_of_the_instructors(unpacked):
    files = {file.relative_to(unpacked).as_posix() for file in unpacked.rglob("*") if file.is_file()}
    exercises = {f"exercises/{file.parent.name}/{file.name}" for file in ROOT.glob("solutions/*/*.ipynb")}
    lectures = {f"lectures/{file.name}" for file in ROOT.glob("lectures/*.ipynb")}
    assert exercises | lectures | {"start.ipynb", "README.md", "LICENSE", "requirements.lock"} <= files
    assert {"mg9/d_cgcnn.py", "mg9/data/shipped.npz", "course/figures/held_out.png"} <= files
    of_course = {name for name in files if name.startswith("course/")} - {"course/slides.toml"}
    assert not {name for name in of_course if name.endswith((".py", ".csv", ".toml", ".ipynb"))}
    others = files - {"benchmarks/evaluation.csv"}
    assert not {name for name in others if re.match(r"(solutions|tests|benchmarks)/|mg9/data/curate", name)}
    names = {line.partition("==")[0].lower() for line in (unpacked / "requirements.lock").open()}
    assert {"torch", "numpy", "jupyterlab"} <= names and not {"nbgrader", "pytest", "distributed"} & names


def test_its_notebooks_import_nothing_but_what_its_lock_brings(unpacked):
    lock = (unpacked / "requirements.lock").read_text(encoding="utf-8").splitlines()
    brought = {canonicalize_name(line.partition("==")[0]) for line in lock}
    homes, missing = packages_distributions(), {}
    for file in unpacked.rglob("*.ipynb"):
        for cell in nbformat.read(file, as_version=4).cells:
            if cell.cell_type == "code":
                for name in roots_of(cell.source) - {"mg9"} - sys.stdlib_module_names:
                    if not brought & {canonicalize_name(home) for home in homes.get(name, ())}:
                        missing[name] = file.name
    assert missing == {}


def test_what_its_lectures_read_is_there(unpacked):
    lectures = sorted(unpacked.glob("lectures/*.ipynb"))
    named = {
        name
        for file in lectures
        for cell in nbformat.read(file, as_version=4).cells
        for name in re.findall(r"\.\./([\w/]+\.\w+)", cell.source)
    }
    assert len(named) > 10 and not [name for name in sorted(named) if not (unpacked / name).is_file()]


def roots_of(source: str) -> set[str]:
    """The packages that a cell imports; IPython's own lines are no Python."""
    tree = ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    return {name.partition(".")[0] for name in found}


# Leaks


def planted(unpacked: Path, place: Path) -> tuple[Path, dict[str, str]]:
    """A copy of a part of the package with one leak of each kind; file -> what is to be said."""
    for name in ("exercises/cgcnn/cgcnn.ipynb", "mg9/checks/graph.py", "README.md", "mg9/data/shipped.npz"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(unpacked / name, place / name)
    source = nbformat.read(ROOT / "solutions" / "cgcnn" / "cgcnn.ipynb", as_version=4)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in source.cells if "nbgrader" in cell.metadata}
    exercise = nbformat.read(place / "exercises" / "cgcnn" / "cgcnn.ipynb", as_version=4)
    exercise.cells[3].source = re.sub(r" *### .*\n?", "", cells["convolution"].source).replace("    ", "  ")
    nbformat.write(exercise, place / "exercises" / "cgcnn" / "cgcnn.ipynb")
    with (place / "README.md").open("a") as readme:
        readme.write("\n".join(re.findall(r"Rubric.*", cells["written-answer"].source)))
    hidden = (ROOT / "course" / "hidden" / "cgcnn.py").read_text()
    with (place / "mg9" / "checks" / "graph.py").open("a") as checks:
        checks.write(re.search(r"\ndef .*?(?=\n\n\n)", hidden, flags=re.S)[0])
    shutil.copyfile(ROOT / "course" / "blind" / "band_gap.csv", place / "gaps.csv")
    energies = blind.labels("formation_energy").formation_energy_per_atom
    name, value = energies.index[7], energies.iloc[7]
    (place / "note.md").write_text(f"I got {value:.3f} for {name}, no: {name} has {value:.3f} eV/atom")
    np.savez(place / "mg9" / "data" / "more.npz", x=np.tile(energies.to_numpy(np.float32), 2))
    shutil.copyfile(ROOT / "mg9" / "data" / "curate.py", place / "rebuild.py")
    return place, {
        "exercises/cgcnn/cgcnn.ipynb": "the solution cgcnn:convolution",
        "README.md": "the solution cgcnn:written-answer",
        "mg9/checks/graph.py": "of course/hidden/cgcnn.py",
        "gaps.csv": "blind labels (band_gap) of 105 crystals",
        "note.md": "blind labels (formation_energy_per_atom) of 1 crystals",
        "mg9/data/more.npz": "blind labels in x.npy",
        "rebuild.py": "of mg9/data/curate.py",
    }


def test_a_planted_leak_of_each_kind_is_found_and_nothing_else(unpacked, tmp_path):
    place, expected = planted(unpacked, tmp_path)
    found = defaultdict(list)
    for line in leaks(place, ROOT):
        file, _, what = line.partition(": ")
        found[file].append(what)
    assert found.keys() == expected.keys()
    for file, what in expected.items():
        assert any(what in line for line in found[file]), (file, found[file])


def test_a_leak_stops_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr("course.grader.leaks.leaks", lambda *_: ["start.ipynb: the solution of it all"])
    code, printed = waves.run("package", "--out", tmp_path / "out")
    assert code == 1 and "start.ipynb: the solution" in printed
    assert not (tmp_path / "out.zip").exists()


def test_a_folder_with_other_things_in_it_is_not_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("all my work")
    code, printed = waves.run("package", "--out", tmp_path)
    assert code == 2 and (tmp_path / "thesis.tex").exists() and "something else" in printed


# Installed


def with_the_lock_alone(place: Path, names: set[str]) -> Path:
    """The Python of a new environment that sees those of the installed distributions, and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    here, there = (Path(sysconfig.get_path("purelib", vars=v)) for v in (None, {"base": str(place)}))
    owners: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for record in here.glob("*.dist-info/RECORD"):  # read as text: importlib.metadata takes a minute for all
        name = canonicalize_name(record.parent.name.split("-")[0])
        for line in record.read_text(encoding="utf-8").splitlines():
            top, _, rest = line.partition(",")[0].partition("/")
            if top not in ("..", "__pycache__"):
                owners[top][name].append(f"{top}/{rest}" if rest else top)
    for top, of in owners.items():
        wanted = of.keys() & names
        if wanted == of.keys():
            files = [top]
        else:  # a folder that others share
            files = [file for name in wanted for file in of[name]]
        for file in files:
            if (here / file).exists():
                (there / file).parent.mkdir(parents=True, exist_ok=True)
                (there / file).symlink_to(here / file)
    return python


def test_it_installs_without_a_network_beside_its_lock_and_the_first_notebook_runs(unpacked, tmp_path):
    """The distributions are those installed here, linked one by one; pip may not look at an index."""
    pins = dict(line.strip().split("==") for line in (unpacked / "requirements.lock").open() if "==" in line)
    names = {canonicalize_name(name) for name in pins}
    python = with_the_lock_alone(tmp_path / "venv", names)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*pip, "--no-build-isolation", unpacked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    program = (
        "import importlib.metadata as m, sys, mg9; print(mg9.__file__)\n"
        "print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()))"
    )
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.check_output([python, "-c", program], cwd=tmp_path, text=True, env=alone).splitlines()
    assert said[0].startswith(str(tmp_path / "venv"))
    versions = {canonicalize_name(n): v.split("+")[0] for n, v in (d.split("==") for d in said[1].split())}
    assert versions.pop("mg9") and versions == {canonicalize_name(name): v for name, v in pins.items()}

    run = (
        "import nbformat, sys; from nbclient import NotebookClient as C\n"
        "n = nbformat.read('start.ipynb', 4); C(n, timeout=120, kernel_name='python3').execute()\n"
        "print(*(o.text for c in n.cells for o in c.get('outputs', ()) if o.output_type == 'stream'))"
    )
    command = [python, "-c", run]
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert re.search(r"^All is well \(\d+ things examined in \d+ s\)\. Go on with lectures/", said, re.M), (
        said
    )
    assert re.search(r"ssp\(0\) is not 0.*reread slide 14", said, re.S) and "atoms" in said


def test_the_lock_is_a_part_of_the_courses_and_a_missing_line_is_named(tmp_path):
    lines = [line for line in lock(ROOT).splitlines() if not line.startswith("#")]
    everything = (ROOT / "requirements.lock").read_text().splitlines()
    assert set(lines) < set(everything)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "requirements.lock").write_text("\n".join(line for line in everything if "tqdm" not in line))
    with pytest.raises(ValueError, match="lacks tqdm"):
        lock(tmp_path)
