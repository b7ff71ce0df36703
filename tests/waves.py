"""What tests of the grader share: the assignment `waves`, its checks as a plugin, a class, `mg9-course`."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from course.grader import cli
from course.grader.build import build

CHECKS = """
import numpy as np
from mg9.checks import CheckFailed, register

@register("waves.values", slide=17, outcome=3, cause="no factor r < cutoff")
def values(student, rng, envelope):
    for r, expected in ((0.0, 1.0), (5.0, 0.0), (6.0, 0.0)):
        got = float(student.call(envelope, np.array(r), 5.0))
        if abs(got - expected) > 1e-6:
            what = f"the envelope is wrong at r = {r} A"
            figure = {"kind": "rotation", "x": [0, 90], "y": [expected, got], "unit": "eV"}
            raise CheckFailed(what, crystal="mp-149", expected=expected, got=got, figure=figure)
    return "1 at the centre, 0 at the cutoff"

@register("waves.secret", slide=17, outcome=3, cause="a cutoff written into the function")
def secret(student, rng, envelope):
    cutoff = rng.uniform(2, 9)
    if abs(float(student.call(envelope, np.array(cutoff / 2), cutoff)) - 0.5) > 1e-6:
        raise CheckFailed("half way to the cutoff the envelope is not 1/2")
    return "the same at other cutoffs"

@register("waves.energy", slide=18, outcome=4, cause="mean instead of sum")
def energy(student, rng, energy):
    if abs(float(student.call(energy, np.zeros(3))) - 3) > 1e-6:
        raise CheckFailed("three neighbours at the centre give another energy", expected="3 eV", got="less")
    return "extensive"
"""

ENVELOPE = """def envelope(r, cutoff):
    ### BEGIN SOLUTION
    return 0.5 * (np.cos(np.pi * r / cutoff) + 1) * (r < cutoff)
    ### END SOLUTION
"""
HIDDEN = """# Hidden: the same at other cutoffs.
### BEGIN HIDDEN TESTS
check("waves.secret", envelope)
### END HIDDEN TESTS"""


def cell(
    source: str, name: str = "", points: float = 0, *, solution: bool = False, kind: str = "code"
) -> dict:
    """A cell with nbgrader's metadata."""
    made = (new_code_cell if kind == "code" else new_markdown_cell)(source, id=f"id-{name or len(source)}")
    if name:
        made.metadata["nbgrader"] = {
            "grade_id": name,
            "grade": points > 0,
            "solution": solution,
            "locked": not solution,
            "task": False,
            "schema_version": 3,
        }
        if points:
            made.metadata["nbgrader"]["points"] = points
    return made


def waves() -> dict:
    """The source notebook."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [
        cell("import numpy as np\nfrom mg9.checks import check", "imports"),
        cell("# Envelopes\n\n## 1. The envelope\nSlide 17.", kind="markdown"),
        cell(ENVELOPE, "envelope", solution=True),
        cell('check("waves.values", envelope)', "envelope-values", 2),
        cell(HIDDEN, "envelope-hidden", 3),
        cell("## 2. The energy", kind="markdown"),
        cell("def energy(r):\n    return envelope(r, 5.0).sum()", "energy", solution=True),
        cell('check("waves.energy", energy)', "energy-sum", 1),
        cell("## 3. In words", kind="markdown"),
        cell("Smooth forces.", "why", 4, solution=True, kind="markdown"),
    ]
    cells[2].outputs = [nbformat.v4.new_output("stream", name="stdout", text="an output of the instructor")]
    return new_notebook(cells=cells, metadata=kernel)


def write(root: Path, notebook: dict) -> Path:
    """A course at `root` whose only assignment is `notebook`."""
    (root / "solutions" / "waves").mkdir(parents=True)
    (root / "solutions" / "waves" / "waves.ipynb").write_text(json.dumps(notebook))
    return root


def install_checks(place: Path) -> None:
    """The checks of `waves`, as an installed package provides them: found through the entry point group.

    For this process (and its children) `place` must be on the path; workers elsewhere need it in PYTHONPATH.
    """
    (place / "waves_checks.py").write_text(CHECKS)
    information = place / "waves_checks-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: waves-checks\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mg9.checks]\nwaves = waves_checks\n")


def make_course(root: Path) -> Path:
    """A course with the assignment `waves`, exercises/ built."""
    write(root, waves())
    assert build(root, "waves") == ["exercises/waves/waves.ipynb"]
    return root


def run(*arguments: object) -> tuple[int, str]:
    """`mg9-course ...` in this process: exit code and all that it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as leave:
            code = leave.code
    return code, printed.getvalue()


RIGHT = {
    "envelope": "import os, sys\n"
    "def envelope(r, cutoff):\n"
    "    print('a warning', file=sys.stderr)\n"
    "    assert os.environ['MG9_BUDGET'] == 'tiny' and os.listdir('.') == []\n"
    "    return 0.5 * (np.cos(np.pi * r / cutoff) + 1) * (r < cutoff)",
    "energy": "def energy(r):\n    return envelope(r, 5.0).sum()",
    "why": "Because <b>forces</b> are derivatives.",
}


def answered(root: Path, **answers: str) -> dict:
    """The exercise with some cells filled in."""
    notebook = nbformat.read(root / "exercises" / "waves" / "waves.ipynb", as_version=4)
    for c in notebook.cells:
        c.source = answers.get(c.metadata.get("nbgrader", {}).get("grade_id"), c.source)
    return notebook


def tampered(root: Path) -> dict:
    """Right answers; but one cell twice, graded cells edited, skipped, raised, deleted, and no cell ids."""
    notebook = answered(root, **RIGHT)
    cells = {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}
    again = deepcopy(cells["envelope"])
    notebook.cells.insert(3, again)
    cells["envelope-values"].source = "print('passed')"
    cells["envelope-values"].metadata["tags"] = ["skip-execution"]
    cells["envelope-values"].metadata.nbgrader["points"] = 1000
    notebook.cells.remove(cells["energy-sum"])
    notebook.nbformat_minor = 2
    for c in notebook.cells:
        del c["id"]
    return notebook


def hand_in(root: Path, folder: Path) -> None:
    """A class of seventeen."""
    good = json.dumps(answered(root, **RIGHT))
    fixed = RIGHT["envelope"].replace("/ cutoff", "/ 5.0")
    wrong = "def envelope(r, cutoff):\n    return 1 + 0 * r"
    typo = "def energy(r):\n    return (envelope(r, 5.0).sum()"
    files = {
        "right/waves/waves.ipynb": good,
        "partly/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"envelope": fixed})),
        "wrong/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"envelope": wrong})),
        "untouched/waves/waves.ipynb": json.dumps(answered(root)),
        "typo/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"energy": typo})),
        "dies/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"energy": "import os; os._exit(1)"})),
        "tampered/waves/waves.ipynb": json.dumps(tampered(root)),
        "renée/final version (2).ipynb": good,
        "brackets [2]/waves/waves.ipynb": good,
        "blocked/waves/waves.ipynb": good,
        "empty/waves/waves.ipynb": "",
        "cut/waves/waves.ipynb": json.dumps(answered(root), indent=1)[:900],
        "list/waves/waves.ipynb": "[1, 2]",
        "other/waves/waves.ipynb": json.dumps(new_notebook(cells=[new_code_cell("1 + 1")])),
        "deep/waves/waves.ipynb": "[" * 100_000,
        "missing/waves/notes.txt": "I will hand it in tomorrow",
        "=HYPERLINK(1)/waves.ipynb": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "right" / "waves" / "timestamp.txt").write_text("2026-12-03 12:00:00 UTC")
    (folder / "roster.csv").write_text("not a student")


def marks(out: Path) -> dict[str, dict[str, str]]:
    """Student -> line of marks.csv."""
    with (out / "marks.csv").open() as file:
        return {row["student"]: row for row in csv.DictReader(file)}
