"""`mg9-course status FOLDER`: who has handed in, whose work is graded, who can be answered.

Nothing is run and nothing is written. A student is answered once nothing is left to mark by hand and the page
in feedback/ says what the gradebook says now.

Read in order: `Standing` (one student), `standings`, `table`, `left` (what to do next).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from .classes import Class
from .feedback import page
from .ingest import FolderError, Submission
from .marks import Row
from .record import Record

GRADED, CHANGED, NEW = "graded", "another file", "new"
READY, STALE, WAITS = "answered", "old page", "to mark"


@dataclass(frozen=True)
class Standing:
    """How far one student is; "" where a step is not reached."""

    student: str
    handed_in: str = ""  # when, or "yes"
    graded: str = ""  # GRADED, CHANGED (since it was graded), NEW, or the verdict on a file that cannot be
    by_hand: float = 0.0  # points that a person has yet to give
    answered: str = ""  # READY, STALE (the marks changed since), WAITS (for marks by hand)
    when: str = ""  # of the last run that was graded


def standings(the_class: Class, out: Path, roster: list[str]) -> list[Standing]:
    """All who are in the class's folder, in the folder of marks or on the roster, sorted by name.

    Raises `FolderError` if the marks in `out` are another assignment's.
    """
    rows: dict[str, Row] = {}
    if (out / "log.jsonl").is_file():
        record = Record(out)
        if record.assignment != the_class.assignment:
            raise FolderError(f"{out} holds the marks of {record.assignment}; give --out")
        rows = {row.student: row for row in record.rows()}
    handed_in = {one.student: one for one in the_class.submissions}
    names = sorted(handed_in.keys() | rows.keys() | set(roster))
    return [_standing(name, handed_in.get(name), rows.get(name), the_class.assignment, out) for name in names]


def _standing(
    student: str, submission: Submission | None, row: Row | None, assignment: str, out: Path
) -> Standing:
    there = submission is not None and submission.verdict != "missing"
    handed_in = submission.timestamp[:16] or "yes" if there else ""
    if row is None or not row.marks:
        readable = there and submission.notebook is not None
        return Standing(student, handed_in, NEW if readable else submission.verdict if there else "")
    same = not there or submission.sha256 == row.line["sha256"]
    file = out / "feedback" / f"{student}.html"
    current = file.is_file() and file.read_text(encoding="utf-8") == page(row, assignment)
    answered = WAITS if row.outstanding else READY if current else STALE
    when = row.line["time"][:16].replace("T", " ")
    return Standing(
        student, handed_in, GRADED if same else CHANGED, row.outstanding, answered if same else "", when
    )


def table(found: list[Standing]) -> str:
    """A line a student, and the sums."""
    width = max(7, *(len(one.student) for one in found))
    lines = [f"{'student':{width}}  {'handed in':16}  {'graded':30}  {'by hand':>9}  answered"]
    for one in found:
        graded = f"{one.graded} {one.when}".strip() if one.graded in (GRADED, CHANGED) else one.graded
        by_hand = f"{one.by_hand:g} to mark" if one.by_hand else "-"
        columns = f"{one.student:{width}}  {one.handed_in or '-':16}  {graded or '-':30}  {by_hand:>9}"
        lines.append(f"{columns}  {one.answered or '-'}")
    sums = (
        f"{sum(bool(one.handed_in) for one in found)} handed in",
        f"{sum(one.graded == GRADED for one in found)} graded",
        f"{sum(one.answered == READY for one in found)} answered",
    )
    return "\n".join([*lines, f"{len(found)} students: {', '.join(sums)}"])


def left(found: list[Standing], grade: str, out: Path) -> list[str]:
    """What to do next, a line each, with the command; `grade` is the command that grades."""
    lines = []
    new = [one.student for one in found if one.graded in (NEW, CHANGED)]
    if new:
        lines.append(f"to grade: {_few(new)}: {grade}")
    waits = [one.student for one in found if one.answered == WAITS]
    if waits:
        lines.append(f"to mark by hand: {_few(waits)}: formgrader, in {out}")
    stale = [one.student for one in found if one.answered == STALE]
    if stale:
        lines.append(f"pages to write again: {_few(stale)}: mg9-course feedback {out}")
    refused = [one.student for one in found if one.graded not in ("", GRADED, CHANGED, NEW)]
    if refused:
        lines.append(f"files to ask for again: {_few(refused)}")
    return lines


def read_roster(file: Path) -> list[str]:
    """Names, one a line; of a CSV file the first column. Raises `FolderError`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            names = [row[0].strip() for row in csv.reader(text) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(f"--roster {file}: {error}; wanted: a name a line, or CSV") from None
    return [name for name in names if name and name.lower() not in ("name", "student")]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return ", ".join(names[:3]) + more
