"""What nbgrader keeps: gradebook.db, submitted/ and autograded/, on which formgrader opens. One writer.

nbgrader's Autograde runs unchanged but for its execution: the graded cells' outputs are written from the
results, and nbgrader scores them.

Read in order: `enter_assignment`, `score` (one submission), `marks`, `forget`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from .build import CONFIG, generate, run_nbgrader
from .form import grade_id, is_grade, is_solution, source_file
from .ingest import FolderError, Submission, stage
from .result import Result


@dataclass(frozen=True)
class Score:
    """One question in the gradebook."""

    points: float
    outstanding: bool  # a person has yet to give the points
    comment: str  # what a person wrote


def enter_assignment(root: Path, assignment: str, folder: Path) -> None:
    """Enter the assignment into the gradebook of `folder`. Raises `FolderError` and `FormError`."""
    database = folder / "gradebook.db"
    if database.is_file():
        _same_cells(root, assignment, folder)
        shutil.copyfile(database, folder / "gradebook.before.db")  # as it was before this run
    shutil.copyfile(CONFIG, folder / CONFIG.name)
    with _without_waiting_for_the_disk(folder):
        generate(root, assignment, folder)


def has_assignment(folder: Path, assignment: str) -> bool:
    """Whether there is a gradebook with this assignment in it."""
    if not (folder / "gradebook.db").is_file():
        return False
    with open_gradebook(folder) as gradebook:
        return assignment in [entered.name for entered in gradebook.assignments]


def _same_cells(root: Path, assignment: str, folder: Path) -> None:
    """nbgrader cannot add or remove cells of an assignment to which there are submissions."""

    def cells(root: Path) -> set[tuple]:
        file = source_file(root, assignment)
        there = nbformat.read(file, as_version=4).cells if file.is_file() else []
        return {(grade_id(cell), is_grade(cell), is_solution(cell)) for cell in there if grade_id(cell)}

    with open_gradebook(folder) as gradebook:
        if cells(folder) != cells(root) and gradebook.assignment_submissions(assignment):
            what = f"{folder} holds marks of {assignment} with other marked cells"
            raise FolderError(f"{what}; choose another folder with --out")


def score(
    folder: Path, submission: Submission, ran: NotebookNode, results: Mapping[str, Result], settled: set[str]
) -> str:
    """Let nbgrader score `results`; returns what failed, "" if nothing.

    `settled`: questions that a person has marked and whose answer is the same; their marks stay as they are.
    """
    stage(submission, folder)

    def write_outputs(notebook: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        for cell, run in zip(notebook.cells, ran.cells, strict=True):
            if cell.cell_type == "code":
                result = results.get(grade_id(cell))
                cell.outputs = result.outputs() if result else run.outputs
                cell.execution_count = run.execution_count
        return notebook, resources

    steps = [
        write_outputs if step is Execute else step for step in Autograde.autograde_preprocessors.default()
    ]
    with _without_waiting_for_the_disk(folder):
        failure, log = run_nbgrader(
            Autograde,
            folder,
            submission.assignment,
            student=submission.student,
            autograde_preprocessors=steps,
        )
        if not failure:
            _settle(folder, submission, settled)
    with (folder / "nbgrader.log").open("a", encoding="utf-8") as file:
        file.write(f"== {submission.student}\n{log}\n")
    return failure and f"nbgrader could not score it ({failure}); nbgrader.log has the details"


def _settle(folder: Path, submission: Submission, settled: set[str]) -> None:
    """nbgrader asks a person to look again at all that was ever marked; only what changed needs that."""
    with open_gradebook(folder) as gradebook:
        for name in settled:
            place = (name, submission.assignment, submission.assignment, submission.student)
            gradebook.find_grade(*place).needs_manual_grade = False
        gradebook.db.commit()


def add_student(folder: Path, student: str) -> None:
    """Enter a student of whom nothing was graded."""
    with open_gradebook(folder) as gradebook:
        gradebook.update_or_create_student(student)


def marks(folder: Path, assignment: str, students: set[str]) -> dict[str, dict[str, Score]]:
    """Student -> grade id -> what the gradebook has now; without those who have no submission in it."""
    found = {}
    with open_gradebook(folder) as gradebook:
        for student in sorted(students):
            try:
                notebook = gradebook.find_submission_notebook(assignment, assignment, student)
            except MissingEntry:
                continue
            comments = {comment.name: comment.comment or "" for comment in notebook.comments}
            found[student] = {
                grade.name: Score(
                    float(grade.score), bool(grade.needs_manual_grade), comments.get(grade.name, "")
                )
                for grade in notebook.grades
            }
    return found


def marked_by_hand(folder: Path, assignment: str, student: str) -> set[str]:
    """Questions to which a person has given points that need no second look."""
    try:
        with open_gradebook(folder) as gradebook:
            grades = gradebook.find_submission_notebook(assignment, assignment, student).grades
            return {g.name for g in grades if g.manual_score is not None and not g.needs_manual_grade}
    except MissingEntry:
        return set()


def answers(notebook: NotebookNode, by_hand: set[str]) -> dict[str, str]:
    """Grade id -> sha256 of the text of the answers that a person marks."""
    cells = {grade_id(cell): cell.source for cell in notebook.cells}
    return {name: hashlib.sha256(cells.get(name, "").encode()).hexdigest() for name in sorted(by_hand)}


def forget(folder: Path, student: str) -> list[str]:
    """Remove a student from the gradebook and the folders of nbgrader; returns what there was."""
    gone = []
    with open_gradebook(folder) as gradebook:
        try:
            gradebook.remove_student(student)
            gone.append("gradebook.db")
        except MissingEntry:
            pass
        gradebook.db.execute(text("VACUUM"))  # else the bytes stay in the file until they are overwritten
    for place in ("submitted", "autograded"):
        if (folder / place / student).exists():
            shutil.rmtree(folder / place / student)
            gone.append(f"{place}/{student}")
    (folder / "gradebook.before.db").unlink(missing_ok=True)
    (folder / "nbgrader.log").unlink(missing_ok=True)  # names students, and holds nothing that is needed
    return gone


def open_gradebook(folder: Path) -> Gradebook:
    """The gradebook of a folder of marks."""
    return Gradebook(f"sqlite:///{folder / 'gradebook.db'}")


@contextmanager
def _without_waiting_for_the_disk(folder: Path) -> Iterator[None]:
    """nbgrader commits fifty times a submission, and waits for the disk each time: wait once, here.

    A power cut in this moment can cost gradebook.db, hence the copy that `enter_assignment` makes.
    """

    def connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    try:
        yield
    finally:
        event.remove(Engine, "connect", connected)
        if (folder / "gradebook.db").is_file():
            with (folder / "gradebook.db").open("rb") as file:
                os.fsync(file.fileno())
