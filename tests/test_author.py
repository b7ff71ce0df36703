"""`mg9-course new` and `mg9-course status`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import waves
from nbgrader.api import Gradebook
from sandboxes import needs_sandbox

ROOT = Path(__file__).parents[1]


# new


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The packages and one assignment, where a new one does no harm."""
    place = tmp_path_factory.mktemp("copy")
    for name in ("mg9", "course"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "figures"))
    (place / "solutions").mkdir()
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def python(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the packages in `place`, not those that are installed."""
    environment = os.environ | {"PYTHONPATH": str(place)}
    return subprocess.run(
        [sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True
    )


def course(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`mg9-course ...` likewise."""
    return python(place, "-m", "course.grader.cli", *words)


SELFTEST = """
from pathlib import Path
from course.grader.terms import Terms
from course.selftest.suite import read_suite, run_suite

# A sandbox would show the mg9 that is installed, which does not have the new checks.
terms = Terms(seed=3, cell_seconds=900, total_seconds=3600, unsandboxed=True)
print(run_suite(read_suite(Path.cwd(), "phonons"), terms))
"""


def test_a_new_assignment_passes_the_selftest_as_it_is(copy):
    made = course(copy, "new", "phonons")
    assert made.returncode == 0, made.stderr
    written = re.findall(r"^wrote (.*)$", made.stdout, re.M)
    assert len(written) == 5 and written[-1] == "exercises/phonons/phonons.ipynb"
    assert "mg9-course selftest phonons" in made.stdout and "NAME" not in made.stdout
    assert not [name for name in written if "NAME" in (copy / name).read_text()]
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "mg9/checks/phonons.py", "course/hidden/phonons.py"],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout
    exercise = nbformat.read(copy / written[-1], as_version=4)
    assert not [cell for cell in exercise.cells if "hidden.phonons" in cell.source or "Rubric" in cell.source]
    held = python(copy, "-c", SELFTEST)
    counts = "reference 1/1  rewrites 3/3  untouched 1/1  mutants 10/10"
    assert counts in held.stdout and held.stdout.count("\n") == 1, held.stdout + held.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Phonons", "lower-case"),
        ("../x", "lower-case"),
        ("symmetry", "solutions/symmetry/symmetry.ipynb, mg9/checks/symmetry.py, "),
    ],
)
def test_a_name_that_is_taken_or_cannot_be_one_is_refused(name, says):
    before = sorted(ROOT.glob("*/*/*.ipynb"))
    code, printed = waves.run("--root", ROOT, "new", name)
    assert code == 2 and says in printed
    assert sorted(ROOT.glob("*/*/*.ipynb")) == before


def test_a_course_that_is_not_installed_gets_no_assignment(tmp_path):
    (tmp_path / "solutions").mkdir()
    code, printed = waves.run("--root", tmp_path, "new", "phonons")
    assert code == 2 and "is not where mg9 is installed from" in printed
    assert not list((tmp_path / "solutions").iterdir())


# status


@pytest.fixture
def place(graded, tmp_path):
    """A copy of the class of `waves` and its marks, of five students."""
    students = ("right", "partly", "untouched", "cut", "missing")
    for student in students:
        shutil.copytree(graded.folder / student, tmp_path / "submitted" / student)
    shutil.copytree(graded.out, tmp_path / "marks")
    return tmp_path


def status(graded, place: Path, *more: object) -> tuple[int, str, dict[str, str]]:
    """(exit code, what it printed, student -> line)."""
    words = ["--root", graded.root, "status", place / "submitted", "--out", place / "marks", *more]
    code, printed = waves.run(*words)
    return code, printed, {line.split()[0]: line for line in printed.splitlines() if line.strip()}


@needs_sandbox
def test_status_follows_a_class_from_hand_in_to_answer(graded, place):
    (place / "names.csv").write_text("name,group\nright,a\nzoe,b\n")
    before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    code, printed, line = status(graded, place, "--roster", place / "names.csv")
    assert code == 1
    assert "2026-12-03 12:00" in line["right"] and line["right"].endswith("4 to mark  to mark")
    assert re.search(r"cut +yes +not JSON", line["cut"]), line["cut"]
    assert line["missing"].split()[1:] == line["zoe"].split()[1:] == ["-"] * 4
    assert "formgrader" in line["to"] or "to mark by hand" in printed
    assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == before

    with Gradebook(f"sqlite:///{place}/marks/gradebook.db") as gradebook:  # as formgrader does
        for student in waves.marks(place / "marks"):
            try:
                grade = gradebook.find_grade("why", "waves", "waves", student)
            except Exception:  # nothing of this student was graded
                continue
            grade.manual_score, grade.needs_manual_grade = 3, False
        gradebook.db.commit()
    _, printed, line = status(graded, place)
    assert line["right"].endswith("-  old page") and f"mg9-course feedback {place}/marks" in printed
    assert waves.run("--root", graded.root, "feedback", place / "marks")[0] == 0
    assert status(graded, place)[2]["right"].endswith("-  answered")

    file = place / "submitted" / "right" / "waves" / "waves.ipynb"
    file.write_text(file.read_text() + "\n")
    code, printed, line = status(graded, place)
    assert re.search(r"right .* another file 20\d\d-.* -$", line["right"])
    assert "to grade: right: mg9-course grade" in printed


@needs_sandbox
def test_status_says_when_nothing_is_left(graded, place):
    shutil.rmtree(place / "submitted")
    shutil.copytree(graded.folder / "missing", place / "submitted" / "missing")
    code, printed, _ = status(graded, place, "--out", place / "none")
    assert code == 0 and printed.endswith(
        "1 students: 0 handed in, 0 graded, 0 answered\nnothing is left to do\n"
    )


def test_status_refuses_what_it_cannot_read(root, tmp_path):
    code, printed = waves.run("--root", root, "status", tmp_path / "nowhere")
    assert code == 2 and "is not a folder" in printed
    (tmp_path / "amira").mkdir()
    code, printed = waves.run("--root", root, "status", tmp_path, "--roster", tmp_path / "none.csv")
    assert code == 2 and "none.csv" in printed


@pytest.mark.parametrize("command", ["new", "status"])
def test_help_has_examples_and_exit_codes(command):
    code, printed = waves.run(command, "--help")
    assert code == 0 and f"  mg9-course {command} " in printed and "exit codes: 0" in printed
