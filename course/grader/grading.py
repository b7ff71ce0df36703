"""A class, from a folder of submissions to a folder of marks: ingest, execute, record, report.

Whatever goes wrong with one submission becomes that submission's verdict. What is graded is recorded as it
comes; the same command goes on where it was interrupted.

Read in order: `read_class` in classes.py, `grade_class`, `_record` (one run), `dry_run`, `report`.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from .classes import Class
from .feedback import write_pages
from .form import questions
from .ingest import FINE, Submission
from .journal import only_writer
from .marks import Row
from .record import Record
from .report import changes, one_student, table, write_csv
from .terms import Run, Terms
from .workers import Done, graded


def grade_class(
    root: Path,
    the_class: Class,
    out: Path,
    terms: Terms,
    run: Callable[[list[Submission], Terms], Done],
    *,
    again: bool = False,
) -> int:
    """Grade what is new into OUT (`again`: everything) and print the table; `run` is one of workers.py.

    Returns how many submissions could not be graded in full. Raises `FolderError` and `FormError` before
    anything is run.
    """
    record = Record(out)
    with only_writer(out):
        before = record.rows() if record.journal.lines() else []
        record.open(root, the_class.assignment)
        unreadable = [one for one in the_class.submissions if one.notebook is None]
        for submission in unreadable:
            record.enter(submission, None, terms)
        runnable = [one for one in the_class.submissions if one.notebook is not None]
        reasons = {one.student: again and "again" or record.reason(one, terms) for one in runnable}
        to_run = [one for one in runnable if reasons[one.student]]
        kinds = Counter(filter(None, reasons.values()))
        if len(to_run) < len(runnable) or kinds.keys() != {"new"}:
            what = ", ".join(f"{count} {reason}" for reason, count in kinds.items()) or "nothing new"
            print(f"to grade: {what}; {len(runnable) - len(to_run)} are graded already", file=sys.stderr)
        for one in runnable:
            if not reasons[one.student] and record.enter_time(one):
                print(f"{one.student}: the time of submission is {one.timestamp} now", file=sys.stderr)
        about = {"total": len(to_run), "unit": "student", "desc": the_class.assignment, "file": sys.stderr}
        bar = tqdm(run(to_run, terms), **about, disable=not to_run)
        for submission, came in bar:
            with _not_now():
                _record(record, submission, came, terms)
        return report(record, only={one.student for one in the_class.submissions}, before=before)


def _record(record: Record, submission: Submission, run: Run | str, terms: Terms) -> None:
    """Enter one run; an error in the grader (a string, or one raised here) is this submission's verdict."""
    if not isinstance(run, str):
        try:
            return record.enter(submission, run, terms)
        except Exception as error:
            run = f"{type(error).__name__}: {error}"
    record.enter(replace(submission, verdict="not graded", says=run, notebook=None), None, terms)


@contextmanager
def _not_now() -> Iterator[None]:
    """Ctrl-C waits until one submission is recorded as a whole: nbgrader would take it for a failure."""
    pressed = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def dry_run(the_class: Class, terms: Terms) -> int:
    """Grade one student, print what each check says, record nothing; 1 if not graded in full."""
    (submission,) = the_class.submissions
    run = None if submission.notebook is None else graded(submission, terms, more=False)
    print(one_student(submission, run, questions(the_class.source)))
    return int(not isinstance(run, Run) or bool(run.stopped))


def report(record: Record, only: set[str] | None = None, before: list[Row] | None = None) -> int:
    """Table on the terminal, pages, marks.csv; returns how many submissions could not be graded in full."""
    rows = record.rows()
    write_pages(rows, record.assignment, record.folder)
    write_csv(rows, record.folder / "marks.csv")
    shown = [row for row in rows if only is None or row.student in only]
    print(table(shown))
    for line in [*changes(before or [], rows), *record.strangers()]:
        print(line)
    for name in ("marks.csv", "class.html", "feedback"):
        print(f"{name:10} {record.folder / name}")
    return sum(row.verdict not in FINE for row in shown)
