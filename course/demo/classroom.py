"""Write a class of submissions from its description.

Each student's notebook is the exercise as students get it, with solution cells filled in: from the student's
description where it has the cell, else from the class's [cells] or the reference solution (answers =
"reference"), or not at all (answers = "untouched"). `file` is another name for the notebook, `keep` the part
of its bytes that arrived, `content` what was handed in instead of a notebook.
"""

from __future__ import annotations

import shutil
import tomllib
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import is_solution

from course.grader.form import FormError, grade_id, read_source

CLASS = Path(__file__).with_name("class.toml")
MARKERS = ("### BEGIN SOLUTION", "### END SOLUTION")
KEYS = {"name", "about", "answers", "file", "keep", "content", "cells"}


def described_assignment(description: Path = CLASS) -> str:
    """The assignment that the class has worked on."""
    return tomllib.loads(description.read_text(encoding="utf-8"))["assignment"]


def make_class(root: Path, folder: Path, description: Path = CLASS) -> dict[str, str]:
    """Write FOLDER/<student>/<assignment>/*.ipynb; returns what each student did.

    Raises `FormError` if the description does not fit the assignment, or FOLDER holds anything else.
    """
    assignment = described_assignment(description)
    reference = answers_of(read_source(root, assignment))
    release = root / "exercises" / assignment / f"{assignment}.ipynb"
    if not release.is_file():
        raise FormError(f"{release} does not exist; run `mg9-course build {assignment}`")
    described = tomllib.loads(description.read_text(encoding="utf-8"))
    students, common = described["student"], described.get("cells", {})
    strangers = {place.name for place in folder.glob("*")} - {student.get("name") for student in students}
    if strangers:
        raise FormError(f"{folder} holds more than the class of the demo: {', '.join(sorted(strangers))}")
    for student in students:
        where = f"{description.name}, student {student.get('name')!r}"
        cells, answers = student.get("cells", {}), student.get("answers", "reference")
        unknown = [*(student.keys() - KEYS), *((cells.keys() | common.keys()) - reference.keys())]
        if unknown or answers not in ("reference", "untouched"):
            known = ", ".join(reference)
            raise FormError(
                f"{where}: {', '.join(unknown) or answers} is unknown; the solution cells are {known}"
            )
        filled = (reference | common if answers == "reference" else {}) | cells
        notebook = fill(nbformat.read(release, as_version=4), filled)
        text = nbformat.writes(notebook).encode()
        place = folder / student["name"] / assignment
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        kept = student.get("content", "").encode() or text[: round(len(text) * student.get("keep", 1))]
        (place / student.get("file", f"{assignment}.ipynb")).write_bytes(kept)
    return {student["name"]: student["about"] for student in students}


def answers_of(source: NotebookNode) -> dict[str, str]:
    """The solution cells of a source notebook by grade_id, without nbgrader's markers."""
    return {grade_id(cell): _without_markers(cell.source) for cell in source.cells if is_solution(cell)}


def fill(release: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """A copy of the exercise with these texts in its solution cells."""
    notebook = deepcopy(release)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source).rstrip("\n")
    return notebook


def _without_markers(source: str) -> str:
    return "\n".join(line for line in source.split("\n") if line.strip() not in MARKERS)
