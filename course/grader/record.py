"""A folder of marks: nbgrader's course folder, and a log to which lines are only added. One writer.

    gradebook.db submitted/ autograded/   nbgrader's own; formgrader opens on this folder (scores.py)
    log.jsonl                             one line a submission and run (journal.py)
    late.toml                             yours, if late work costs points (late.py)
    marks.csv class.html feedback/        written from these

Read in order: marks.py (what is known of a student), `Record.reason` (is there anything to grade),
`Record.enter` (one submission), `Record.rows`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import scores
from .form import grade_id, questions, read_source, source_file
from .ingest import FolderError, Submission
from .journal import Journal
from .late import Lateness, read_policy
from .marks import Row, marks_of
from .registered import registered
from .result import Result
from .terms import Run, Terms

LONGEST = 2000  # characters of what a check says that are kept


class Record:
    """The marks of one assignment in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.journal = Journal(self.folder)
        self.print = ""  # the assignment's fingerprint, once it is open

    def open(self, root: Path, assignment: str) -> None:
        """Enter the assignment into the gradebook. Raises `FormError`; `FolderError` if another's is here."""
        other = [place.name for place in (self.folder / "solutions").glob("*") if place.name != assignment]
        if other:
            raise FolderError(
                f"{self.folder} holds the marks of {other[0]}; choose another folder with --out"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.print = fingerprint(root, assignment)
        if self._entered() != self.print or not scores.has_assignment(self.folder, assignment):
            scores.enter_assignment(root, assignment, self.folder)
            (self.folder / "assignment.sha256").write_text(self.print)

    @cached_property
    def entered(self) -> set[str]:
        """Students with a submission in the gradebook."""
        return set(scores.marks(self.folder, self.assignment, set(self.journal.latest_graded())))

    @property
    def assignment(self) -> str:
        """The assignment whose marks these are. Raises `FolderError` if there are none."""
        found = [place.name for place in (self.folder / "solutions").glob("*")]
        if len(found) != 1 or not self.journal.file.is_file():
            raise FolderError(f"{self.folder} is not a folder that `mg9-course grade` has written")
        return found[0]

    def reason(self, submission: Submission, terms: Terms) -> str:
        """Why it is to be run; "" if its marks are here: same file, same terms, same assignment."""
        line = self.journal.latest_graded().get(submission.student)
        if line is None:
            return "new"
        if line["sha256"] != submission.sha256:
            return "another file"
        if line["exercise"] != self.print:
            return "the assignment changed"
        if _lasting(line["terms"]) != _lasting(asdict(terms)):
            return "other terms"
        if submission.student not in self.entered:
            return "not in the gradebook"
        return ""

    def enter_time(self, submission: Submission) -> bool:
        """Log another time of submission of a file that was graded before; whether there is one."""
        line = self.journal.latest_graded()[submission.student]
        if not submission.timestamp or line["handed_in"] == submission.timestamp:
            return False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.journal.append(line | {"time": now, "handed_in": submission.timestamp})
        return True

    def enter(self, submission: Submission, run: Run | None, terms: Terms) -> None:
        """Let nbgrader score the results of `run` (None: nothing was run), then log the verdict."""
        verdict, says, notes = submission.verdict, submission.says, list(submission.notes)
        texts: dict[str, str] = {}
        if run is None:
            scores.add_student(self.folder, submission.student)
        else:
            texts, settled, again = self._written_answers(submission)
            failure = scores.score(self.folder, submission, run.notebook, run.results, settled)
            if failure:
                verdict, says, run = "not recorded", failure, None
            elif run.stopped:
                verdict, says = "stopped", run.stopped
            notes += [f"{name} changed since a person marked it; mark it again" for name in again]
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "student": submission.student,
            "assignment": submission.assignment,
            "verdict": verdict,
            "says": says,
            "notes": notes,
            "graded": run is not None,
            "sha256": submission.sha256,
            "handed_in": submission.timestamp,
            "exercise": self.print,
            "terms": asdict(terms),
            "sandboxed": bool(run and run.sandboxed),
            "seconds": round(run.seconds, 1) if run else 0,
            "results": [_kept(result) for result in run.results.values()] if run else [],
            "raised": raised(run.notebook) if run else [],
            "answers": texts,
            "versions": _versions(),
        }
        last = self.journal.latest().get(submission.student, {})
        if run is not None or any(last.get(key) != line[key] for key in ("verdict", "says", "sha256")):
            self.journal.append(line)
        if run is not None:
            self.entered.add(submission.student)

    def _written_answers(self, submission: Submission) -> tuple[dict[str, str], set[str], list[str]]:
        """Hashes of the answers that a person marks; which are marked already; which changed since."""
        by_hand = {q.grade_id for q in questions(submission.notebook) if not q.check}
        texts = scores.answers(submission.notebook, by_hand)
        before = self.journal.latest_graded().get(submission.student, {"answers": {}})["answers"]
        marked = scores.marked_by_hand(self.folder, submission.assignment, submission.student) & by_hand
        settled = {name for name in marked if texts[name] == before.get(name)}
        return texts, settled, sorted(marked - settled)

    def rows(self) -> list[Row]:
        """The latest verdict on each student and the marks that the gradebook has now, sorted by name."""
        assignment, policy = self.assignment, read_policy(self.folder)
        asked = questions(nbformat.read(source_file(self.folder, assignment), as_version=4))
        latest, graded = self.journal.latest(), self.journal.latest_graded()
        found = scores.marks(self.folder, assignment, set(graded))
        exercise = self.print or self._entered()
        rows = []
        for student, line in sorted(latest.items()):
            notes, of = list(line["notes"]), graded.get(student)
            marks = marks_of(asked, of, found[student]) if of and student in found else ()
            if marks and of is not line:
                notes.append(f"the marks are those of the file graded before, on {of['time'][:10]}")
            if marks and of["exercise"] != exercise:
                notes.append(f"graded with another version of {assignment}: grade it again")
            if marks and not of["sandboxed"]:
                notes.append("graded without a sandbox")
            late = policy.of(student, of["handed_in"]) if marks else Lateness()
            errors = tuple(of["raised"]) if marks else ()
            rows.append(
                Row(student, line["verdict"], line["says"], tuple(notes), marks, errors, late, of or line)
            )
        return rows

    def strangers(self) -> list[str]:
        """A line for each name in late.toml of which nothing is here: it may be misspelt."""
        names = read_policy(self.folder).extension_days.keys() - self.journal.latest().keys()
        return [f"note: late.toml extends {name}, of whom nothing is here" for name in sorted(names)]

    def _entered(self) -> str:
        file = self.folder / "assignment.sha256"
        return file.read_text() if file.is_file() else ""

    def forget(self, student: str) -> list[str]:
        """Remove all that is stored of a student; returns what there was."""
        gone = scores.forget(self.folder, student)
        lines = self.journal.forget(student)
        page = self.folder / "feedback" / f"{student}.html"
        if page.exists():
            page.unlink()
            gone.append(f"feedback/{student}.html")
        if (self.folder / "export.csv").exists():
            (self.folder / "export.csv").unlink()
            gone.append("export.csv, of all students")
        return gone + ([f"{lines} lines of log.jsonl"] if lines else [])


def fingerprint(root: Path, assignment: str) -> str:
    """sha256 of what a mark depends on besides submission and terms: source, its files, its checks."""
    source = read_source(root, assignment)
    digest = hashlib.sha256()
    for cell in source.cells:
        part = [cell.cell_type, cell.source, cell.metadata.get("nbgrader"), cell.metadata.get("tags")]
        digest.update(json.dumps(part, sort_keys=True).encode())
    folder = source_file(root, assignment).parent
    files = {file for file in folder.rglob("*") if file.is_file() and file.suffix != ".ipynb"}
    files = {file for file in files if not any(p.startswith((".", "__")) for p in file.parts[-2:])}
    names = {question.check for question in questions(source)} - {""}
    files |= {registered(name).file for name in names}
    for file in sorted(files):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def raised(notebook: NotebookNode) -> list[str]:
    """Errors in cells that are not graded, with the cell; what is not answered is left out."""
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        name = grade_id(cell) or f"cell {number}"
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
            for output in cell.outputs:
                if output.output_type == "error" and output.ename != "NotImplementedError":
                    says = re.sub(r"\(\S+, line (\d+)\)$", r"(line \1)", output.evalue[:300])
                    found.append(f"{name}: {output.ename}: {says}")
    return found[:10]


@cache
def _versions() -> dict[str, str]:
    """Of what a mark depends on."""
    return {name: version(name) for name in ("mg9", "nbgrader", "torch")}


def _kept(result: Result) -> dict:
    """The result as it goes into the log."""
    kept = asdict(result)
    return {key: value[:LONGEST] if isinstance(value, str) else value for key, value in kept.items()}


def _lasting(terms: dict) -> dict:
    """Terms that a mark may depend on: not the number of threads, which follows from the machine."""
    kept = {key: value for key, value in json.loads(json.dumps(terms)).items() if key != "threads"}
    return {key: _lasting(value) if isinstance(value, dict) else value for key, value in kept.items()}


def said(cell: NotebookNode) -> str:
    """What a graded cell that has run says: the check's line if it holds, the error's message if not."""
    for output in cell.outputs:
        if output.output_type == "error":
            own = output.ename in ("CheckFailed", "NotRun", "TimeLimit", "Refused", "Error")
            return output.evalue if own else f"{output.ename}: {output.evalue}"
    return "".join(output.text for output in cell.outputs if output.output_type == "stream").strip()
