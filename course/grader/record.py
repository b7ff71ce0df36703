"""A folder of marks: nbgrader's course folder, and a log to which lines are only added. One writer.

    gradebook.db submitted/ autograded/   nbgrader's own; formgrader opens on this folder
    log.jsonl     one line a submission and run: its hash, seed, versions, verdict, seconds
    marks.csv feedback/ nbgrader.log      written from these

Read in order: `Mark` and `Row` (what is known of a student), `Record.enter` (one submission), `Record.rows`.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute

from .build import CONFIG, generate, run_nbgrader
from .execution import Run, Terms
from .form import FormError, Question, grade_id, questions, source_file
from .ingest import Submission, stage


@dataclass(frozen=True)
class Mark:
    """One question of one student."""

    question: Question
    score: float
    outstanding: bool  # a person has yet to give the points
    message: str  # what the check said
    comment: str  # what a person wrote


@dataclass(frozen=True)
class Row:
    """One student: the verdict on the file, and the marks if it could be graded."""

    student: str
    verdict: str
    says: str
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]

    def points(self, *, by_hand: bool) -> tuple[float, float]:
        """(points got, points possible) of the questions that a person grades, or of those of the checks."""
        chosen = [mark for mark in self.marks if by_hand == (not mark.question.check)]
        return sum(mark.score for mark in chosen), sum(mark.question.points for mark in chosen)

    @property
    def outstanding(self) -> float:
        """Points that a person has yet to give."""
        return sum(mark.question.points for mark in self.marks if mark.outstanding)


class Record:
    """The marks of one assignment in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder.absolute(), folder.absolute() / "log.jsonl"

    def open(self, root: Path, assignment: str) -> None:
        """Enter the assignment into the gradebook. Raises `FormError`, also if another's marks are here."""
        other = [place.name for place in (self.folder / "solutions").glob("*") if place.name != assignment]
        if other:
            raise FormError(f"{self.folder} holds the marks of {other[0]}; choose another folder with --out")
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CONFIG, self.folder / CONFIG.name)
        try:
            generate(root, assignment, self.folder)
        except FormError as error:
            if "submissions associated" in str(error):
                error = FormError(
                    f"{self.folder} holds marks of an older version of {assignment}; choose another --out"
                )
            raise error from None

    @property
    def assignment(self) -> str:
        """The assignment whose marks these are. Raises `FormError` if there are none."""
        found = [place.name for place in (self.folder / "solutions").glob("*")]
        if len(found) != 1 or not self.log.is_file():
            raise FormError(f"{self.folder} is not a folder that `mg9-course grade` has written")
        return found[0]

    def enter(self, submission: Submission, run: Run | None, terms: Terms) -> None:
        """Let nbgrader score the outputs of `run` (None: nothing was run) and log the verdict."""
        verdict, says = submission.verdict, submission.says
        if run is None:
            with self._gradebook() as gradebook:
                gradebook.update_or_create_student(submission.student)
        else:
            stage(submission, self.folder)
            failure = self._autograde(submission, run.notebook)
            if failure:
                verdict, says = "not recorded", failure
            elif run.stopped:
                verdict, says = "stopped", run.stopped
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "student": submission.student,
            "assignment": submission.assignment,
            "verdict": verdict,
            "says": says,
            "notes": submission.notes,
            "graded": run is not None and verdict != "not recorded",
            "sha256": submission.sha256,
            "terms": asdict(terms),
            "seconds": round(run.seconds, 1) if run else 0,
            "versions": {name: version(name) for name in ("mg9", "nbgrader", "torch")},
        }
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def rows(self) -> list[Row]:
        """The latest verdict on each student and the marks that the gradebook has now, sorted by name."""
        assignment = self.assignment
        asked = questions(nbformat.read(source_file(self.folder, assignment), as_version=4))
        latest = {
            line["student"]: line
            for line in map(json.loads, self.log.read_text(encoding="utf-8").splitlines())
        }
        rows = []
        with self._gradebook() as gradebook:
            for student, line in sorted(latest.items()):
                marks = self._marks(gradebook, student, assignment, asked) if line["graded"] else ()
                rows.append(Row(student, line["verdict"], line["says"], tuple(line["notes"]), marks))
        return rows

    def _marks(
        self, gradebook: Gradebook, student: str, assignment: str, asked: list[Question]
    ) -> tuple[Mark, ...]:
        graded = nbformat.read(
            self.folder / "autograded" / student / assignment / f"{assignment}.ipynb", as_version=4
        )
        cells = {grade_id(cell): cell for cell in graded.cells}
        marks = []
        for question in asked:
            grade = gradebook.find_grade(question.grade_id, assignment, assignment, student)
            try:
                comment = gradebook.find_comment(question.grade_id, assignment, assignment, student).comment
            except MissingEntry:
                comment = ""
            message = said(cells[question.grade_id]) if question.check else ""
            outstanding = bool(grade.needs_manual_grade)
            marks.append(Mark(question, float(grade.score), outstanding, message, comment or ""))
        return tuple(marks)

    def _autograde(self, submission: Submission, ran: NotebookNode) -> str:
        """nbgrader's autograde, its execution replaced by the outputs of `ran`; "" or what failed."""
        outputs = {
            cell.id: (cell.outputs, cell.execution_count) for cell in ran.cells if cell.cell_type == "code"
        }

        def write_outputs(notebook: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = outputs[cell.id]
            return notebook, resources

        steps = [
            write_outputs if step is Execute else step for step in Autograde.autograde_preprocessors.default()
        ]
        failure, log = run_nbgrader(
            Autograde,
            self.folder,
            submission.assignment,
            student=submission.student,
            autograde_preprocessors=steps,
        )
        with (self.folder / "nbgrader.log").open("a", encoding="utf-8") as file:
            file.write(f"== {submission.student}\n{log}\n")
        return failure and f"nbgrader could not score it ({failure}); nbgrader.log has the details"

    def _gradebook(self) -> Gradebook:
        return Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}")


def said(cell: NotebookNode) -> str:
    """What a graded cell that has run says: the check's line if it holds, the error's message if not."""
    for output in cell.outputs:
        if output.output_type == "error":
            own = output.ename in ("CheckFailed", "NotRun", "TimeLimit")
            return output.evalue if own else f"{output.ename}: {output.evalue}"
    return "".join(output.text for output in cell.outputs if output.output_type == "stream").strip()
