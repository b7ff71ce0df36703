"""Submissions as they come: each gets a verdict in words, none stops the class. Nothing is run or changed.

What is taken from a student's file is the cells' text. Everything that grading relies on (points, locks, the
text of graded cells, the kernel) is taken from the assignment's source, whatever a submission says about it.

Read in order: `Submission`, `find_submissions` (folders), `ingest` (one student), `belongs`; then reading.py
(one file) and restore.py (its marked cells).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .form import grade_id
from .reading import Unusable, kind, read, regular, shown
from .restore import restore

MOST_FILES, MOST_NAMES = 50, 10_000  # of one student: that are looked at, that are listed
LONGEST_NAME = 200  # bytes; a page is called after its student
DEEPEST = 2  # folders below the student's
FINE = ("ok", "renamed")  # the verdicts that need nobody's attention


class FolderError(ValueError):
    """Wrong usage, most often a folder that is not what it should be; `str(error)` says what is expected."""


@dataclass(frozen=True)
class Submission:
    """One student's work, ready to run if `notebook` is not None."""

    student: str
    assignment: str
    verdict: str  # one of FINE, or why it cannot be graded, in a word or three
    says: str = ""  # the verdict as a sentence
    notes: tuple[str, ...] = ()  # what was repaired
    notebook: NotebookNode | None = None
    sha256: str = ""
    timestamp: str = ""


def find_submissions(folder: Path, assignment: str, others: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Student -> files, in FOLDER/<student>/<assignment>/ or FOLDER/<student>/ (not in those of `others`).

    A student's folder that is a symbolic link stands for itself in the list. Raises `FolderError`.
    """
    place = f"{folder}/<student>"
    expected = f"expected {place}/{assignment}/{assignment}.ipynb, or {place}/{assignment}.ipynb"
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder; {expected}")
    found = {}
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith((".", "__")):
            inner = place / assignment
            chosen = inner if inner.is_dir() and not inner.is_symlink() else place
            skipped = set(others) | {"__pycache__"}
            files = [place] if place.is_symlink() else _files(chosen, skipped, f"{assignment}.ipynb")
            found[called(place.name, found)] = files
    if not found:
        raise FolderError(f"{folder} holds no student's folder; {expected}")
    return found


def called(folder: str, others: Iterable[str]) -> str:
    """What a student is called whose folder has this name: nearly always the same. A name that cannot be
    printed, is too long to be that of a page, or has spaces at an end (which nbgrader takes off) gets a
    backslash, and with it a verdict in `ingest`."""
    name = shown(folder)
    if name != name.strip():
        name = name.strip() + "\\"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = name[:60] + "\\..."
    while name in others:
        name += "\\"
    return name


def _files(folder: Path, skipped: set[str], right: str) -> list[Path]:
    """Files and links in `folder` and the folders in it, links not followed, at most MOST_FILES: first the
    one with the right name, then other notebooks."""
    found: list[Path] = []
    for here, inner, files in os.walk(folder):
        depth = len(Path(here).relative_to(folder).parts)
        links = [name for name in inner if os.path.islink(os.path.join(here, name))]
        inner[:] = sorted(set(inner) - set(links) - skipped) if depth < DEEPEST else []
        inner[:] = [name for name in inner if not name.startswith(".")]
        names = sorted(name for name in files + links if name[0] != "." and name != "timestamp.txt")
        found += [Path(here, name) for name in names[:MOST_NAMES]]
        if len(found) > MOST_NAMES:
            break
    return sorted(found, key=lambda file: (file.name != right, *_rank(file)))[:MOST_FILES]


def ingest(
    student: str, files: list[Path], assignment: str, source: NotebookNode, others: dict[str, set[str]]
) -> Submission:
    """Read what a student handed in. `others`: grade ids of the other assignments, to name a wrong one."""
    blank = Submission(student, assignment, "missing", f"no notebook of {assignment} was handed in")
    if set("[]*?\\") & set(student):
        says = (
            "nbgrader cannot take the characters [ ] * ? \\ in a student's folder name, nor spaces at its "
            f"start or end, and a page none that cannot be printed and no more than {LONGEST_NAME} bytes; "
            "rename the folder"
        )
        return replace(blank, verdict="folder name", says=says)
    refused, strangers = None, []
    # The right name first, then other notebooks, then whatever may be a notebook under another name.
    for file in sorted(files, key=lambda file: (file.name != f"{assignment}.ipynb", *_rank(file))):
        try:
            content = regular(file)
            if file.suffix != ".ipynb" and not content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{"):
                strangers.append(kind(shown(file.name), content))
                continue
            notebook, notes = read(shown(file.name), content)
            notes += belongs(file, notebook, assignment, source, others)
            notebook, repaired = restore(notebook, source)
        except Unusable as error:
            verdict, says = error.args
            refused = refused or replace(blank, verdict=verdict, says=says)
            continue
        except Exception as error:  # whatever else is wrong with a file, the next student's is read
            says = shown(f"{file.name} could not be read: {type(error).__name__}: {error}")
            refused = refused or replace(blank, verdict="unreadable", says=says)
            continue
        left = [shown(other.name) for other in files if other != file and other.suffix == ".ipynb"]
        notes += repaired + ([f"not looked at: {', '.join(left)}"] if left else [])
        renamed = file.name != f"{assignment}.ipynb"
        says = f"{shown(file.name)} was recognised by its cells as {assignment}.ipynb" if renamed else "read"
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
    return refused or replace(blank, says="; ".join([blank.says, *strangers[:3]]))


def _rank(file: Path) -> tuple[bool, str]:
    return file.suffix != ".ipynb", file.name


def belongs(
    file: Path, notebook: NotebookNode, assignment: str, source: NotebookNode, others: dict[str, set[str]]
) -> list[str]:
    """Refuse a notebook of another assignment; returns notes. Raises `Unusable`."""
    own = {grade_id(cell) for cell in notebook.cells} - {""}
    wanted = {grade_id(cell) for cell in source.cells} - {""}
    name, right_name = shown(file.name), file.stem == assignment
    if own & wanted and (right_name or len(own & wanted) * 2 >= len(own)):
        return []
    alike = max(others, key=lambda other: len(others[other] & own), default="")
    if alike and others[alike] & own:
        raise Unusable("wrong assignment", f"{name} is the notebook of {alike}, not of {assignment}")
    raise Unusable(
        "wrong assignment",
        f"{name} has none of the marked cells of {assignment}; was it written in a new notebook?",
    )


def timestamp(folder: Path) -> tuple[str, list[str]]:
    """nbgrader's time of submission beside the notebook, "" if there is none; and a note if it is no time."""
    file = folder / "timestamp.txt"
    if not file.is_file() or file.is_symlink():
        return "", []
    text = regular(file)[:100].decode("utf-8", "replace").strip()
    from nbgrader.utils import parse_utc  # here, because it takes a second to import

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
