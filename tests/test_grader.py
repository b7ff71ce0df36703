"""The grader on a small class: real nbgrader, real kernels. Its assignment, `waves`, is made here."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook

from course.demo.classroom import make_class
from course.grader import cli
from course.grader.build import build
from course.grader.execution import Terms, grade
from course.grader.form import FormError, read_source
from course.grader.grading import _runs
from course.grader.ingest import Submission, ingest

CHECKS = """
import numpy as np
from mg9.checks import CheckFailed, register

@register("waves.values", slide=17, outcome=3, cause="no factor r < cutoff")
def values(student, rng, envelope):
    for r, expected in ((0.0, 1.0), (5.0, 0.0), (6.0, 0.0)):
        got = float(student.call(envelope, np.array(r), 5.0))
        if abs(got - expected) > 1e-6:
            what = f"the envelope is wrong at r = {r} A"
            raise CheckFailed(what, crystal="mp-149", expected=expected, got=got)
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


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory):
    """The checks of `waves`, as an installed package provides them: found through the entry point group."""
    place = tmp_path_factory.mktemp("plugin")
    (place / "waves_checks.py").write_text(CHECKS)
    information = place / "waves_checks-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: waves-checks\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mg9.checks]\nwaves = waves_checks\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        patch.setenv("PYTHONPATH", str(place), prepend=":")
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The course, with exercises/ built."""
    root = write(tmp_path_factory.mktemp("course"), waves())
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


@pytest.fixture(scope="module")
def graded(root, tmp_path_factory):
    """A class of fifteen, graded once."""
    folder, out = tmp_path_factory.mktemp("submitted"), tmp_path_factory.mktemp("marks")
    good = json.dumps(answered(root, **RIGHT))
    fixed = RIGHT["envelope"].replace("/ cutoff", "/ 5.0")
    wrong = "def envelope(r, cutoff):\n    return 1 + 0 * r"
    files = {
        "right/waves/waves.ipynb": good,
        "partly/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"envelope": fixed})),
        "wrong/waves/waves.ipynb": json.dumps(answered(root, **RIGHT | {"envelope": wrong})),
        "untouched/waves/waves.ipynb": json.dumps(answered(root)),
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
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
    (folder / "roster.csv").write_text("not a student")
    (out / "submitted").mkdir()
    (out / "submitted" / "blocked").write_text("a file where nbgrader needs a folder")
    before = {
        file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()
    }
    start = time.monotonic()
    code, printed = run("--root", root, "grade", folder, "--out", out, "--seed", 7)
    print(printed, f"{time.monotonic() - start:.0f} s")
    with (out / "marks.csv").open() as file:
        marks = {row["student"]: row for row in csv.DictReader(file)}
    return SimpleNamespace(
        code=code, printed=printed, marks=marks, folder=folder, out=out, before=before, root=root
    )


CHECKED = {"right": 6, "partly": 3, "wrong": 1, "untouched": 0, "dies": 5, "tampered": 6, "renée": 6}
VERDICTS = {
    "empty": ("empty file", "0 bytes"),
    "cut": ("not JSON", "line "),
    "list": ("not a notebook", "it has no cells"),
    "other": ("wrong assignment", "none of the marked cells of waves"),
    "deep": ("not JSON", "nested too deeply"),
    "missing": ("missing", "no notebook of waves"),
    "blocked": ("not graded", "NotADirectoryError"),
    "dies": ("stopped", "the kernel died"),
    "brackets [2]": ("folder name", "cannot take the characters [ ] * ?"),
    "renée": ("renamed", "final version (2).ipynb was recognised by its cells"),
}


@pytest.mark.parametrize("student", CHECKED)
def test_points(graded, student):
    assert float(graded.marks[student]["checks"]) == CHECKED[student]
    assert float(graded.marks[student]["checks_max"]) == 6


@pytest.mark.parametrize("student", VERDICTS)
def test_verdict_in_words(graded, student):
    verdict, says = VERDICTS[student]
    assert graded.marks[student]["verdict"] == verdict
    assert says in graded.marks[student]["says"]
    assert any(student in line and says in line for line in graded.printed.splitlines())
    assert says.replace("'", "&#39;") in (graded.out / "feedback" / f"{student}.html").read_text()


def test_every_student_is_in_the_table_and_exit_code_tells(graded):
    assert graded.code == 1
    assert len(graded.marks) == 15 == len(list((graded.out / "feedback").glob("*.html")))
    assert "Traceback" not in graded.printed and "15/15" in graded.printed


def test_repairs_are_reported(graded):
    notes = graded.marks["tampered"]["notes"]
    assert "cell envelope was there twice" in notes
    assert "cell envelope-values was changed" in notes
    assert "graded cell energy-sum was deleted and is put back" in notes
    assert graded.marks["right"]["notes"] == ""


def test_written_answers_wait_for_a_person(graded):
    assert graded.marks["right"]["by_hand_outstanding"] == "4.0"
    assert graded.marks["untouched"]["by_hand_outstanding"] == "0"


def test_submissions_are_untouched(graded):
    after = {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in graded.folder.rglob("*")
        if file.is_file()
    }
    assert after == graded.before
    assert sorted(place.name for place in graded.root.iterdir()) == ["exercises", "solutions"]


def test_feedback_says_what_failed_and_hides_what_is_hidden(graded):
    pages = {file.stem: file.read_text() for file in (graded.out / "feedback").glob("*.html")}
    assert "the envelope is wrong at r = 5.0 A" in pages["wrong"]
    assert "Not answered" in pages["untouched"] and "1. The envelope" in pages["untouched"]
    assert "mp-149" in pages["wrong"] and "usual cause: no factor r &lt; cutoff" in pages["wrong"]
    assert "Reread slide 17" in pages["wrong"] and "Reread" not in pages["right"]
    assert (
        "half way to the cutoff" in pages["partly"]
        and "Hidden: the same at other cutoffs." in pages["partly"]
    )
    for page in pages.values():
        assert "waves.secret" not in page and "HIDDEN TESTS" not in page and "check(" not in page
        assert "cos(" not in page and '<html lang="en">' in page and "viewport" in page


def test_gradebook_and_log(graded):
    with Gradebook(f"sqlite:///{graded.out / 'gradebook.db'}") as gradebook:
        assert gradebook.find_submission("waves", "partly").score == 3
        assert len(gradebook.students) == 15
    lines = [json.loads(line) for line in (graded.out / "log.jsonl").read_text().splitlines()]
    right = next(line for line in lines if line["student"] == "right")
    assert len(right["sha256"]) == 64 and right["terms"]["seed"] == 7 and right["versions"]["nbgrader"]


def test_marks_by_hand_reach_the_page(graded):
    """And `grade --only` leaves the others' marks as they are."""
    with Gradebook(f"sqlite:///{graded.out / 'gradebook.db'}") as gradebook:
        grade = gradebook.find_grade("why", "waves", "waves", "right")
        grade.manual_score, grade.needs_manual_grade = 3, False
        gradebook.find_comment(
            "why", "waves", "waves", "right"
        ).manual_comment = "say which <i>derivative</i>"
        gradebook.db.commit()
    code, _ = run("--root", graded.root, "feedback", graded.out)
    page = (graded.out / "feedback" / "right.html").read_text()
    assert code == 0 and "3 of 4 points" in page and "say which &lt;i&gt;derivative" in page
    code, printed = run("--root", graded.root, "grade", graded.folder, "--out", graded.out, "--only", "cut")
    assert code == 1 and "partly" not in printed
    with (graded.out / "marks.csv").open() as file:
        assert {row["student"]: row["by_hand"] for row in csv.DictReader(file)}["right"] == "3.0"


def test_an_endless_cell_that_ignores_interrupts(root):
    """Points earned before it stay; nothing is earned by what was not run."""
    source = read_source(root, "waves")
    loop = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    notebook = answered(root, **RIGHT | {"energy": loop})
    file = root.parent / "loop" / "waves.ipynb"
    file.parent.mkdir()
    nbformat.write(notebook, file)
    result = grade(ingest("loop", [file], "waves", source, {}), Terms(cell_seconds=3))
    outputs = {
        c.metadata.nbgrader.grade_id: c.outputs
        for c in result.notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade") and "outputs" in c
    }
    assert result.stopped == "a cell ran on after its time was over" and result.seconds < 60
    assert [o.output_type for o in outputs["envelope-values"]] == ["stream"]
    assert [o.ename for o in outputs["energy-sum"]] == ["NotRun"]


def test_an_error_in_the_grader_is_that_submissions_verdict(root):
    broken = Submission("broken", "waves", "ok", notebook=object())
    (submission, result), *_ = _runs([broken], Terms(), jobs=1)
    assert submission.verdict == "not graded" and "AttributeError" in submission.says and result is None


def test_old_formats_are_read(root, tmp_path):
    source = read_source(root, "waves")
    file = tmp_path / "waves.ipynb"
    file.write_text(json.dumps(nbformat.convert(answered(root, **RIGHT), 3)))
    old = ingest("old", [file], "waves", source, {})
    assert old.verdict == "ok" and "an old notebook format was upgraded" in old.notes
    file.write_bytes(
        json.dumps(answered(root), ensure_ascii=False).replace("Slide 17", "Fläche").encode("latin-1")
    )
    assert ingest("latin", [file], "waves", source, {}).verdict == "not text"
    file.write_text(json.dumps({"cells": [{"cell_type": "code", "source": None}, 5], "metadata": 3}))
    assert ingest("odd", [file], "waves", source, {}).verdict == "wrong assignment"
    file.write_text(json.dumps(answered(root)))
    (tmp_path / "timestamp.txt").write_text("yesterday, I think")
    late = ingest("late", [file], "waves", source, {})
    assert "holds no time" in late.notes[0] and late.timestamp == ""
    other = {"gaps": {"gap-1", "gap-2"}}
    file.write_text(json.dumps(new_notebook(cells=[cell("1", "gap-1", solution=True)])))
    assert "is the notebook of gaps" in ingest("wrong", [file], "waves", source, other).says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["grade", "nowhere"], "nowhere is not a folder; expected"),
        (["grade", "."], "holds no student's folder"),
        (["grade", "class", "--only", "nobody"], "has no student 'nobody'; there are amira"),
        (["grade", "class", "--out", "class/marks"], "choose a folder outside class"),
        (["grade", "class", "--assignment", "gaps"], "no assignment 'gaps'"),
        (["feedback", "class"], "is not a folder that `mg9-course grade` has written"),
        (["grade", "class", "--jobs", "0"], "'0' is not a whole number from 1 on"),
        (["mark", "class"], "invalid choice"),
    ],
)
def test_wrong_usage(root, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    if arguments != ["grade", "."]:
        (tmp_path / "class" / "amira").mkdir(parents=True)
    code, printed = run("--root", root, *arguments)
    assert code == 2 and says in printed


def test_exercises_have_no_solution_and_are_deterministic(root):
    file = root / "exercises" / "waves" / "waves.ipynb"
    text = file.read_text()
    for secret in (
        "np.cos",
        "SOLUTION",
        "HIDDEN TESTS",
        "waves.secret",
        "Smooth forces",
        "an output of the instructor",
    ):
        assert secret not in text
    assert "Hidden: the same at other cutoffs." in text and "YOUR ANSWER HERE" in text
    assert run("--root", root, "build", "--check") == (0, "exercises/waves is up to date\n")
    file.write_text(text.replace("Slide 17", "Slide 18"))
    code, printed = run("--root", root, "build", "--check")
    assert code == 1 and "out of date" in printed and file.read_text() != text
    assert run("--root", root, "build")[0] == 0 and file.read_text() == text


def test_the_exercises_of_this_course_are_up_to_date():
    code, printed = run("--root", Path(__file__).parents[1], "build", "--check")
    assert code == 0, printed


def test_an_assignment_is_one_notebook(tmp_path):
    write(tmp_path, waves())
    (tmp_path / "solutions" / "waves" / "old.ipynb").write_text("{}")
    code, printed = run("--root", tmp_path, "build")
    assert code == 1 and "an assignment is one notebook; move this one to solutions/old/" in printed


def test_the_demo_class_is_made_from_its_description(root, graded, tmp_path):
    description = tmp_path / "class.toml"
    description.write_text(
        'assignment = "waves"\n'
        '[[student]]\nname = "reference"\nabout = "right"\n'
        '[[student]]\nname = "half"\nabout = "half a file"\nkeep = 0.5\nfile = "other.ipynb"\n'
        '[[student]]\nname = "sum"\nabout = "wrong"\nanswers = "untouched"\n'
        '[student.cells]\nenergy = "energy = len"\n'
    )
    done = make_class(root, tmp_path / "class", description)
    assert done == {"reference": "right", "half": "half a file", "sum": "wrong"}
    source = read_source(root, "waves")
    half = tmp_path / "class" / "half" / "waves" / "other.ipynb"
    assert ingest("half", [half], "waves", source, {}).verdict == "not JSON"
    text = {}
    for student in ("reference", "sum"):
        file = tmp_path / "class" / student / "waves" / "waves.ipynb"
        text[student] = "\n".join(
            c.source for c in ingest(student, [file], "waves", source, {}).notebook.cells
        )
    assert "np.cos" in text["reference"] and "SOLUTION" not in text["reference"]
    assert "energy = len" in text["sum"] and "np.cos" not in text["sum"]
    with pytest.raises(FormError, match="holds more than the class of the demo: blocked, brackets"):
        make_class(root, graded.folder, description)
    description.write_text('assignment = "waves"\n[[student]]\nname = "a"\n[student.cells]\nenergies = "1"\n')
    with pytest.raises(
        FormError, match="student 'a': energies is unknown; the solution cells are envelope, energy"
    ):
        make_class(root, tmp_path / "none", description)


def graded_cell(source: str):
    return lambda notebook: notebook.cells[3].update(source=source)


def hidden_cell(source: str):
    return lambda notebook: notebook.cells[4].update(source=source)


REFUSED = {
    "two statements": (graded_cell('check("waves.values", envelope)\nprint(1)'), "exactly one call of check"),
    "an assert": (graded_cell("assert envelope(0, 5) == 1"), "exactly one call of check"),
    "an expression": (graded_cell('check("waves.values", lambda r, c: r)'), "then plain names"),
    "a keyword": (graded_cell('check("waves.values", envelope=envelope)'), "exactly one call of check"),
    "not Python": (graded_cell("check('waves.values' envelope)"), "exactly one call of check"),
    "no such check": (graded_cell('check("waves.value", envelope)'), "no check is called 'waves.value'"),
    "not hidden": (graded_cell('check("hidden.one_hot", envelope)'), "students do not have it"),
    "too many objects": (
        graded_cell('check("waves.values", envelope, np)'),
        "takes the objects (envelope), not 2",
    ),
    "not announced": (
        hidden_cell(HIDDEN.split("\n", 1)[1]),
        "below a comment that says what is hidden",
    ),
    "marker missing": (hidden_cell(HIDDEN.rsplit("\n", 1)[0]), "stands between the markers"),
    "no end": (hidden_cell(HIDDEN.replace("### END HIDDEN TESTS", "# end")), "stands between the markers"),
    "no points": (lambda n: n.cells[3].metadata.nbgrader.update(points=0), "a graded cell without points"),
    "same grade id": (
        lambda n: n.cells[3].metadata.nbgrader.update(grade_id="energy"),
        "no grade id of its own",
    ),
    "same cell id": (lambda n: n.cells[3].update(id="id-energy"), "no cell id of its own"),
    "no budget": (lambda n: n.cells[6].update(source="fit(model)"), "0 cells are tagged budget"),
    "two budgets": (
        lambda n: [c.metadata.update(tags=["budget"]) for c in n.cells[:2]],
        "2 cells are tagged budget",
    ),
    "open solution": (lambda n: n.cells[2].update(source="### BEGIN SOLUTION"), "nbgrader refused it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_build_refuses_in_words(tmp_path, case):
    change, says = REFUSED[case]
    notebook = waves()
    change(notebook)
    write(tmp_path, notebook)
    with pytest.raises(FormError) as refusal:
        build(tmp_path, "waves")
    assert says in str(refusal.value) and "solutions/waves" in str(refusal.value)
    assert not (tmp_path / "exercises").exists()
