"""Submissions as they come: each gets a verdict in words, none stops the class. Nothing is run or changed.

What is taken from a student's file is the cells' text. Everything that grading relies on (points, locks, the
text of graded cells, the kernel) is taken from the assignment's source, whatever a submission says about it.

Read in order: `Submission`, `find_submissions` (folders), `ingest` (one student), `read` and `belongs` (one
file); then restore.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import parse_utc

from .form import grade_id
from .restore import NEW_CELL, restore

LARGEST = 20_000_000  # bytes; a notebook with figures has about a hundredth of it


class FolderError(ValueError):
    """A folder that holds no class; `str(error)` says what is expected."""


@dataclass(frozen=True)
class Submission:
    """One student's work, ready to run if `notebook` is not None."""

    student: str
    assignment: str
    verdict: str  # "ok", "renamed", or why it cannot be graded, in a word or three
    says: str = ""  # the verdict as a sentence
    notes: tuple[str, ...] = ()  # what was repaired
    notebook: NotebookNode | None = None
    sha256: str = ""
    timestamp: str = ""


class Unusable(ValueError):
    """A file that cannot be graded: (verdict, sentence)."""


def find_submissions(folder: Path, assignment: str) -> dict[str, list[Path]]:
    """Student -> notebooks, in FOLDER/<student>/<assignment>/ or FOLDER/<student>/. Raises `FolderError`."""
    place = f"{folder}/<student>"
    expected = f"expected {place}/{assignment}/{assignment}.ipynb, or {place}/{assignment}.ipynb"
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder; {expected}")
    students = [
        place
        for place in sorted(folder.iterdir())
        if place.is_dir() and not place.name.startswith((".", "__"))
    ]
    found = {}
    for place in students:
        inner = place / assignment
        files = (inner if inner.is_dir() else place).glob("*.ipynb")
        found[place.name] = sorted(file for file in files if file.is_file() and not file.is_symlink())
    if not students:
        raise FolderError(f"{folder} holds no student's folder; {expected}")
    return found


def ingest(
    student: str, files: list[Path], assignment: str, source: NotebookNode, others: dict[str, set[str]]
) -> Submission:
    """Read what a student handed in. `others`: grade ids of the other assignments, to name a wrong one."""
    blank = Submission(student, assignment, "missing", f"no notebook of {assignment} was handed in")
    if set("[]*?") & set(student):
        says = "nbgrader cannot take the characters [ ] * ? in a student's folder name; rename the folder"
        return replace(blank, verdict="folder name", says=says)
    refused = None
    # The file with the right name first; others only if that one is not usable.
    for file in sorted(files, key=lambda file: (file.stem != assignment, file.name)):
        try:
            content = file.read_bytes()
            notebook, notes = read(file.name, content)
            notes += belongs(file, notebook, assignment, source, others)
            notebook, repaired = restore(notebook, source)
        except Unusable as error:
            verdict, says = error.args
            refused = refused or replace(blank, verdict=verdict, says=says)
            continue
        except Exception as error:  # whatever else is wrong with a file, the next student's is read
            says = f"{file.name} could not be read: {type(error).__name__}: {error}"
            refused = refused or replace(blank, verdict="unreadable", says=says)
            continue
        left = [other.name for other in files if other != file]
        notes += repaired + ([f"not looked at: {', '.join(left)}"] if left else [])
        renamed = file.stem != assignment
        says = f"{file.name} was recognised by its cells as {assignment}.ipynb" if renamed else "read"
        stamp, late = timestamp(file.parent)
        return Submission(
            student,
            assignment,
            "renamed" if renamed else "ok",
            says,
            tuple(notes + late),
            notebook,
            hashlib.sha256(content).hexdigest(),
            stamp,
        )
    return refused or blank


def read(name: str, content: bytes) -> tuple[NotebookNode, list[str]]:
    """A notebook made anew from the cells' text in `content`, and what was repaired. Raises `Unusable`."""
    if not content.strip():
        raise Unusable("empty file", f"{name} is empty ({len(content)} bytes); ask for the file again")
    if len(content) > LARGEST:
        raise Unusable(
            "too large",
            f"{name} has {len(content) / 1e6:.0f} MB (at most {LARGEST / 1e6:.0f}); clear its outputs",
        )
    try:
        raw = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Unusable(
            "not text", f"{name}: byte {error.start + 1} is not UTF-8 text; save it again in JupyterLab"
        ) from error
    except json.JSONDecodeError as error:
        cut = (
            "; the file breaks off, it was probably cut in transfer"
            if error.pos >= len(error.doc.rstrip()) - 1
            else ""
        )
        if error.msg.startswith("Unterminated string"):
            cut = "; the file probably was cut in transfer"
        where = f"line {error.lineno}, column {error.colno}"
        raise Unusable("not JSON", f"{name} is not valid JSON at {where}: {error.msg}{cut}") from error
    except RecursionError as error:
        raise Unusable("not JSON", f"{name} is nested too deeply to be a notebook") from error
    notes = []
    if isinstance(raw, dict) and isinstance(raw.get("worksheets"), list):
        raw = nbformat.convert(nbformat.from_dict(raw), 4)
        notes.append("an old notebook format was upgraded")
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise Unusable("not a notebook", f"{name} is JSON, but not a notebook: it has no cells")
    cells, odd = [], 0
    for number, cell in enumerate(raw["cells"]):
        text = cell.get("source", "") if isinstance(cell, dict) else None
        text = "".join(map(str, text)) if isinstance(text, list) else text
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        if kind not in NEW_CELL or not isinstance(text, str):
            odd += 1
            continue
        kept = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        marks = kept.get("nbgrader")
        fresh = NEW_CELL[kind](text, id=f"cell-{number}")
        if isinstance(marks, dict):
            fresh.metadata.nbgrader = nbformat.from_dict(marks)
        if isinstance(cell.get("attachments"), dict):
            fresh.attachments = cell["attachments"]
        cells.append(fresh)
    if odd:
        notes.append(f"{odd} cells that were no notebook cells were left out")
    return nbformat.v4.new_notebook(cells=cells), notes


def belongs(
    file: Path, notebook: NotebookNode, assignment: str, source: NotebookNode, others: dict[str, set[str]]
) -> list[str]:
    """Refuse a notebook of another assignment; returns notes. Raises `Unusable`."""
    own = {grade_id(cell) for cell in notebook.cells} - {""}
    wanted = {grade_id(cell) for cell in source.cells} - {""}
    right_name = file.stem == assignment
    if own & wanted and (right_name or len(own & wanted) * 2 >= len(own)):
        return []
    alike = max(others, key=lambda other: len(others[other] & own), default="")
    if alike and others[alike] & own:
        raise Unusable("wrong assignment", f"{file.name} is the notebook of {alike}, not of {assignment}")
    raise Unusable(
        "wrong assignment",
        f"{file.name} has none of the marked cells of {assignment}; was it written in a new notebook?",
    )


def timestamp(folder: Path) -> tuple[str, list[str]]:
    """nbgrader's time of submission beside the notebook, "" if there is none; and a note if it is no time."""
    file = folder / "timestamp.txt"
    if not file.is_file() or file.is_symlink():
        return "", []
    text = file.read_bytes()[:100].decode("utf-8", "replace").strip()
    try:
        parse_utc(text)
    except Exception:
        return "", [f"timestamp.txt holds no time ({text[:30]!r}); the work counts as in time"]
    return text, []


def stage(submission: Submission, course: Path) -> None:
    """Write a readable submission into nbgrader's course folder, under the name that nbgrader expects."""
    place = course / "submitted" / submission.student / submission.assignment
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    nbformat.write(submission.notebook, place / f"{submission.assignment}.ipynb")
    if submission.timestamp:
        (place / "timestamp.txt").write_text(submission.timestamp + "\n")
