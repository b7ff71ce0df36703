"""The form of an assignment: what is graded in it, and what departs from the form, in words.

An assignment NAME is one notebook, solutions/NAME/NAME.ipynb. Its graded cells have one form only, so that a
check can later run outside the student's process: one call ``check("name", object, ...)`` with plain names.

Read in order: `Question` and `questions` (what is graded), `read_source`, `problems` (the form), `_fault`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .registered import registered

BEGIN, END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
VISIBLE = 'check("convolution.rotation", GatedConvolution)'
HIDDEN = (
    f'# Hidden: other crystals, other rotations.\n{BEGIN}\ncheck("hidden.rotation", GatedConvolution)\n{END}'
)
BUDGET = 'choice = budget(full={"epochs": 40}, tiny={"epochs": 2})   # with the cell tag "budget"'


class FormError(ValueError):
    """An assignment that departs from the form; lists each cell, what is wrong and how to write it."""


@dataclass(frozen=True)
class Question:
    """One graded cell: the heading above it, what its comments announce, and how it is graded."""

    grade_id: str
    title: str
    announces: str
    points: float
    check: str  # the name of the check; "" where a person grades
    hidden: bool


def marks_on(cell: NotebookNode) -> dict:
    """What nbgrader has noted on the cell. Its own functions for this take a second to import."""
    marks = cell.metadata.get("nbgrader", {})
    return marks if isinstance(marks, dict) else {}


def grade_id(cell: NotebookNode) -> str:
    """The cell's nbgrader id, "" if it has none."""
    return str(marks_on(cell).get("grade_id", ""))


def is_solution(cell: NotebookNode) -> bool:
    """Whether students write the cell."""
    return bool(marks_on(cell).get("solution", False))


def is_grade(cell: NotebookNode) -> bool:
    """Whether the cell has points."""
    return bool(marks_on(cell).get("grade", False))


def is_locked(cell: NotebookNode) -> bool:
    """Whether the cell stays as the source has it."""
    return not is_solution(cell) and (is_grade(cell) or bool(marks_on(cell).get("locked", False)))


def source_file(root: Path, assignment: str) -> Path:
    """Where the source notebook of `assignment` lies."""
    return root / "solutions" / assignment / f"{assignment}.ipynb"


def assignments(root: Path) -> list[str]:
    """The assignments in root/solutions, sorted."""
    return sorted(
        file.parent.name for file in (root / "solutions").glob("*/*.ipynb") if file.stem == file.parent.name
    )


def grade_ids(root: Path, assignment: str) -> set[str]:
    """The grade ids in the source of `assignment`, whatever else its form is."""
    notebook = nbformat.read(source_file(root, assignment), as_version=4)
    return {grade_id(cell) for cell in notebook.cells} - {""}


def read_source(root: Path, assignment: str) -> NotebookNode:
    """The source notebook of `assignment`, held to the form. Raises `FormError`."""
    file = source_file(root, assignment)
    if not file.is_file():
        there = ", ".join(assignments(root)) or "none"
        raise FormError(f"no assignment {assignment!r}: {file} does not exist (there: {there})")
    try:
        with warnings.catch_warnings(action="ignore"):
            notebook = nbformat.read(file, as_version=4)
        # nbformat replaces missing and doubled cell ids by random ones; those of the file are to be judged.
        written = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for cell, original in zip(notebook.cells, written, strict=True):
            cell["id"] = original.get("id", "")
    except Exception as error:
        raise FormError(
            f"{file}: not a notebook ({type(error).__name__}: {error}); open and save it in JupyterLab"
        ) from error
    found = problems(notebook, f"solutions/{assignment}/{assignment}.ipynb")
    for extra in sorted(set(file.parent.glob("*.ipynb")) - {file}):
        found.append(f"{extra}: an assignment is one notebook; move this one to solutions/{extra.stem}/")
    if found:
        raise FormError("\n".join(found))
    return notebook


def questions(notebook: NotebookNode) -> list[Question]:
    """The graded cells of a source notebook, from top to bottom."""
    found, heading = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and not is_solution(cell):
            heading = ([heading] + re.findall(r"^#+ +(.+)$", cell.source, flags=re.MULTILINE))[-1]
        if not is_grade(cell):
            continue
        by_check = not is_solution(cell)
        lines = cell.source.split(BEGIN)[0].splitlines() if by_check else []
        comments = " ".join(line.lstrip("# ").strip() for line in lines if line.startswith("#"))
        call = only_call(cell.source) if by_check else None
        points = float(cell.metadata.nbgrader.points)
        name = call.args[0].value if call else ""
        found.append(Question(grade_id(cell), heading, comments, points, name, BEGIN in cell.source))
    return found


def problems(notebook: NotebookNode, where: str) -> list[str]:
    """What in a source notebook departs from the form, each as: file, cell, what, how to write it."""
    found: list[str] = []
    ids = Counter(grade_id(cell) for cell in notebook.cells if grade_id(cell))
    names = Counter(cell.get("id", "") for cell in notebook.cells)
    budgets = trains = 0
    for number, cell in enumerate(notebook.cells, start=1):
        label = f"{where}, cell {number}" + (f" ({grade_id(cell)})" if grade_id(cell) else "")

        def refuse(what: str, example: str, label: str = label) -> None:
            found.append(f"{label}: {what}\n  Write it like this:\n    " + example.replace("\n", "\n    "))

        if names[cell.get("id", "")] > 1 or not cell.get("id"):
            refuse(
                "no cell id of its own", "open and save the notebook in JupyterLab; it gives each cell an id"
            )
        if (is_grade(cell) or is_solution(cell) or is_locked(cell)) and ids[grade_id(cell)] != 1:
            refuse("no grade id of its own", 'in the sidebar "Create Assignment", a name no other cell has')
        if is_grade(cell) and not float(cell.metadata.nbgrader.get("points") or 0) > 0:
            refuse("a graded cell without points", 'points above 0, in the sidebar "Create Assignment"')
        if is_grade(cell) and not is_solution(cell):
            fault = _fault(cell)
            if fault:
                refuse(fault, HIDDEN if BEGIN in cell.source or "hidden" in fault else VISIBLE)
        budgets += "budget" in cell.metadata.get("tags", [])
        trains += cell.cell_type == "code" and bool(re.search(r"\b(fit|budget)\(", cell.source))
    if budgets > 1 or (trains and not budgets):
        found.append(f"{where}: {budgets} cells are tagged budget; where it trains, one is:\n    {BUDGET}")
    return found


def only_call(source: str) -> ast.Call | None:
    """The call, if `source` is one call ``check("name", plain, names)`` and comments; else None."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    if len(body) != 1 or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Call):
        return None
    call = body[0].value
    is_check = isinstance(call.func, ast.Name) and call.func.id == "check" and not call.keywords and call.args
    if not is_check or not all(isinstance(argument, ast.Name) for argument in call.args[1:]):
        return None
    name = call.args[0]
    return call if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def _fault(cell: NotebookNode) -> str:
    """What is wrong with a graded code cell, "" if nothing."""
    call = only_call(cell.source) if cell.cell_type == "code" else None
    if call is None:
        return "a graded cell is exactly one call of check: a name in quotes, then plain names; nothing else"
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    hidden = "HIDDEN TESTS" in cell.source
    if hidden and (lines[-1] != END or BEGIN not in lines[1:-2]):
        return "the hidden call stands between the markers, below a comment that says what is hidden"
    try:
        check = registered(call.args[0].value)
    except KeyError as error:
        return str(error.args[0])
    if check.module.startswith("course.") and not hidden:
        return f"the check is hidden ({check.module}): students do not have it"
    if len(check.objects) != len(call.args) - 1:
        wanted = ", ".join(check.objects)
        return f"{check.name} takes the objects ({wanted}), not {len(call.args) - 1} of them"
    return ""
