"""The class as a table: on the terminal and as marks.csv."""

from __future__ import annotations

import csv
from pathlib import Path

from .record import Row


def table(rows: list[Row]) -> str:
    """A line a student: points of checks, points by hand, the verdict, the first checks that do not hold."""
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
        failed = [mark.question.grade_id for mark in row.marks if mark.question.check and not mark.score]
        if failed:
            more = f" and {len(failed) - 3} more" if failed[3:] else ""
            verdict += f"; not passed: {', '.join(failed[:3])}{more}"
        lines.append(f"{row.student:{width}}  {checks:>9}  {by_hand:>9}  {verdict}")
        lines += [f"{'':{width}}  note: {note}" for note in row.notes]
    return "\n".join(lines)


def write_csv(rows: list[Row], file: Path) -> None:
    """One line a student: totals, verdict, the points of each question (empty where nothing was graded)."""
    asked = next((row.marks for row in rows if row.marks), ())
    names = [mark.question.grade_id for mark in asked]
    head = [
        "student",
        "checks",
        "checks_max",
        "by_hand",
        "by_hand_max",
        "by_hand_outstanding",
        "verdict",
        "says",
        "notes",
    ]
    with file.open("w", newline="", encoding="utf-8") as target:
        table = csv.writer(target)
        table.writerow(head + names)
        for row in rows:
            totals = (
                [*row.points(by_hand=False), *row.points(by_hand=True), row.outstanding]
                if row.marks
                else [""] * 5
            )
            scores = [mark.score for mark in row.marks] or [""] * len(names)
            table.writerow([row.student, *totals, row.verdict, row.says, "; ".join(row.notes), *scores])
