"""The grader on a small class, that of waves.py: real nbgrader, real kernels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from waves import HIDDEN, RIGHT, answered, run, waves, write

from course.demo.classroom import make_class
from course.grader import commands
from course.grader.build import build
from course.grader.execution import grade
from course.grader.form import FormError, read_source
from course.grader.ingest import FolderError, Submission, ingest
from course.grader.terms import Terms
from course.grader.workers import graded as graded_or_why

CHECKED = {
    "right": 6,
    "partly": 3,
    "wrong": 1,
    "untouched": 0,
    "typo": 5,
    "dies": 5,
    "tampered": 6,
    "renée": 6,
}
VERDICTS = {
    "empty": ("empty file", "0 bytes"),
    "cut": ("not JSON", "line "),
    "list": ("not a notebook", "it has no cells"),
    "other": ("wrong assignment", "none of the marked cells of waves"),
    "deep": ("not JSON", "nested too deeply"),
    "missing": ("missing", "no notebook of waves"),
    "blocked": ("not graded", "NotADirectoryError"),
    "dies": ("stopped", "ended the process"),
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
    assert says.replace("'", "&#39;") in graded.pages[student]


def test_every_student_is_in_the_table_and_exit_code_tells(graded):
    assert graded.code == 1
    assert len(graded.marks) == 17 == len(graded.pages)
    assert "Traceback" not in graded.printed and "9/9" in graded.printed


def test_an_endless_cell_that_ignores_interrupts(root):
    """Points earned before it stay; nothing is earned by what was not run."""
    source = read_source(root, "waves")
    loop = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    notebook = answered(root, **RIGHT | {"energy": loop})
    file = root.parent / "loop" / "waves.ipynb"
    file.parent.mkdir()
    nbformat.write(notebook, file)
    result = grade(ingest("loop", [file], "waves", source, {}), Terms(cell_seconds=20))
    outputs = {
        c.metadata.nbgrader.grade_id: c.outputs
        for c in result.notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade") and "outputs" in c
    }
    assert "cell energy ended the process: it did not stop when its time was over (20 s)" in result.stopped
    assert [o.output_type for o in outputs["envelope-values"]] == ["stream"]
    assert [o.ename for o in outputs["energy-sum"]] == ["NotRun"]


def test_an_error_in_the_grader_is_that_submissions_verdict():
    broken = Submission("broken", "waves", "ok", notebook=object())
    assert "AttributeError" in graded_or_why(broken, Terms())


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
        (["build", "gaps"], "no assignment 'gaps'; in solutions/ are waves"),
        (["export", "class"], "is not a folder that `mg9-course grade` has written"),
        (["log", "class"], "is not a folder that `mg9-course grade` has written"),
        (["forget", "class", "amira", "--yes"], "is not a folder that `mg9-course grade` has written"),
        (["mark", "class"], "invalid choice"),
    ],
)
def test_wrong_usage(root, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    if arguments != ["grade", "."]:
        (tmp_path / "class" / "amira").mkdir(parents=True)
    code, printed = run("--root", root, *arguments)
    assert code == 2 and says in printed


@pytest.mark.parametrize(
    "file", ["amira/waves/final (2).ipynb", "amira/waves.ipynb", "amira/waves/waves.ipynb"]
)
def test_the_folder_says_which_assignment_it_holds(tmp_path, file):
    """`mg9-course grade FOLDER` needs no --assignment where only one was handed in."""
    for name in ("waves", "gaps"):
        (tmp_path / "solutions" / name).mkdir(parents=True)
        (tmp_path / "solutions" / name / f"{name}.ipynb").write_text("{}")
    (tmp_path / "class" / file).parent.mkdir(parents=True)
    (tmp_path / "class" / file).write_text("{}")
    options = SimpleNamespace(root=tmp_path, folder=tmp_path / "class", assignment=None)
    assert commands.chosen(options) == "waves"
    (tmp_path / "class" / "bruno").mkdir()
    (tmp_path / "class" / "bruno" / "gaps.ipynb").write_text("{}")
    with pytest.raises(FolderError, match="--assignment, gaps, waves; in solutions/ are gaps, waves"):
        commands.chosen(options)


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
    with pytest.raises(FormError, match="holds more than the class of the demo: =HYPERLINK"):
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
