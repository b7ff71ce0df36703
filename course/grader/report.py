"""The class in words and numbers: the table on the terminal, what changed, marks.csv and other exports.

Read in order: `table`, `one_student`, `changes`, `COLUMNS` (what can be exported), `write_csv`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

from .form import Question
from .ingest import FolderError, Submission
from .marks import Row
from .terms import Run


def table(rows: list[Row]) -> str:
    """A line a student: points of checks, points by hand, the verdict, the first checks that do not hold."""
    if not rows:
        return "no student"
    width = max(len(row.student) for row in rows)
    lines = [f"{'student':{width}}  {'checks':>9}  {'by hand':>9}  verdict"]
    for row in rows:
        checks, by_hand = "-", "-"
        if row.marks:
            checks = "{:g}/{:g}".format(*row.points(by_hand=False))
            by_hand = "{:g}/{:g}".format(*row.points(by_hand=True))
        if row.outstanding:
            by_hand = f"{row.outstanding:g} to mark"
        verdict = row.verdict if row.verdict == "ok" else f"{row.verdict}: {row.says}"
        if row.late.days:
            verdict += f"; {row.late.days} days late, {row.late.percent:g} % off"
        failed = [mark.question.grade_id for mark in row.marks if mark.question.check and not mark.score]
        if failed:
            more = f" and {len(failed) - 3} more" if failed[3:] else ""
            verdict += f"; not passed: {', '.join(failed[:3])}{more}"
        lines.append(f"{row.student:{width}}  {checks:>9}  {by_hand:>9}  {verdict}")
        lines += [f"{'':{width}}  note: {note}" for note in row.notes]
    return "\n".join(lines)


def one_student(submission: Submission, run: Run | str | None, asked: list[Question]) -> str:
    """What a dry run has to say: the verdict, then a line a question."""
    verdict, says = submission.verdict, submission.says
    if isinstance(run, str):
        verdict, says = "not graded", run
    elif run is not None and run.stopped:
        verdict, says = "stopped", run.stopped
    lines = [f"{submission.student}: {verdict}: {says}", *(f"  note: {note}" for note in submission.notes)]
    checked = [question for question in asked if question.check]
    if isinstance(run, Run):
        results = run.results
        passed = {name for name, result in results.items() if result.state == "passed"}
        for question in checked:
            result = results[question.grade_id]
            points = question.points if question.grade_id in passed else 0
            lines.append(f"  {question.grade_id}: {points:g}/{question.points:g}  {result.state}")
            if result.state != "passed":
                lines += [f"      {line}" for line in result.says.splitlines()]
        got = sum(question.points for question in checked if question.grade_id in passed)
        lines.append(f"  checks: {got:g}/{sum(q.points for q in checked):g} in {run.seconds:.0f} s")
    return "\n".join(lines + ["  a dry run: nothing was recorded"])


def changes(before: list[Row], after: list[Row]) -> list[str]:
    """What a run has changed in marks that were there before it, a line a student."""
    old, lines = {row.student: row for row in before if row.marks}, []
    for row in after:
        if row.student not in old or not row.marks:
            continue
        was = {mark.question.grade_id: (mark.score, mark.question.points) for mark in old[row.student].marks}
        now = {mark.question.grade_id: (mark.score, mark.question.points) for mark in row.marks}
        parts = [
            f"{name} {'{:g}/{:g}'.format(*was[name]) if name in was else 'none'} -> "
            f"{'{:g}/{:g}'.format(*now[name]) if name in now else 'none'}"
            for name in [*now, *(was.keys() - now.keys())]
            if was.get(name) != now.get(name)
        ]
        if old[row.student].counts != row.counts and row.late != old[row.student].late:
            parts.append(f"counts {old[row.student].counts:g} -> {row.counts:g}, for the time of submission")
        if parts:
            lines.append(f"changed: {row.student}: {', '.join(parts)}")
    if old:
        same = sum(row.student in old and bool(row.marks) for row in after) - len(lines)
        lines.append(f"{len(lines)} students' marks changed, {same} stayed as they were")
    return lines


def _marked(value: Callable[[Row], object]) -> Callable[[Row], object]:
    """The value where something was graded, else an empty cell."""
    return lambda row: value(row) if row.marks else ""


COLUMNS: dict[str, Callable[[Row], object]] = {
    "student": lambda row: row.student,
    "total": _marked(lambda row: row.points()[0]),
    "total_max": _marked(lambda row: row.points()[1]),
    "counts": _marked(lambda row: row.counts),
    "checks": _marked(lambda row: row.points(by_hand=False)[0]),
    "checks_max": _marked(lambda row: row.points(by_hand=False)[1]),
    "by_hand": _marked(lambda row: row.points(by_hand=True)[0]),
    "by_hand_max": _marked(lambda row: row.points(by_hand=True)[1]),
    "by_hand_outstanding": _marked(lambda row: row.outstanding),
    "late_days": _marked(lambda row: row.late.days),
    "late_percent": _marked(lambda row: row.late.percent),
    "verdict": lambda row: row.verdict,
    "says": lambda row: row.says,
    "notes": lambda row: "; ".join(row.notes),
    "handed_in": lambda row: row.line["handed_in"],
    "graded": lambda row: row.line["time"],
    "sha256": lambda row: row.line["sha256"],
    "seed": lambda row: row.line["terms"]["seed"],
    "sandboxed": lambda row: row.line["sandboxed"],
    "seconds": lambda row: row.line["seconds"],
}
DEFAULT = "student total total_max counts checks checks_max by_hand by_hand_max by_hand_outstanding"
DEFAULT += " late_days late_percent verdict says notes questions"


def write_csv(rows: list[Row], file: Path, columns: list[str] | None = None) -> None:
    """One line a student. A column is a name of `COLUMNS`, a grade id, "outcome3", or "questions" for all of
    these; "name=Heading" gives it another heading. Raises `FolderError` for an unknown one."""
    asked = next((row.marks for row in rows if row.marks), ())
    names = [mark.question.grade_id for mark in asked]
    outcomes = sorted({number for row in rows for number in row.outcomes})
    known = COLUMNS | {name: _points_of(name) for name in names}
    known |= {f"outcome{number}": _outcome(number) for number in outcomes}
    chosen = []
    for column in columns or DEFAULT.split():
        name, _, heading = column.partition("=")
        chosen += [(n, n) for n in names] if name == "questions" else [(name, heading or name)]
    unknown = [name for name, _ in chosen if name not in known]
    if unknown:
        raise FolderError(
            f"no column is called {', '.join(unknown)}; there are questions, {', '.join(known)}"
        )
    with file.open("w", newline="", encoding="utf-8") as target:
        table = csv.writer(target)
        table.writerow([_safe(heading) for _, heading in chosen])
        table.writerows([[_safe(known[name](row)) for name, _ in chosen] for row in rows])


def _points_of(name: str) -> Callable[[Row], object]:
    return lambda row: next((mark.score for mark in row.marks if mark.question.grade_id == name), "")


def _outcome(number: int) -> Callable[[Row], object]:
    return lambda row: row.outcomes.get(number, ("",))[0]


def _safe(value: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return "'" + value if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value) else value
