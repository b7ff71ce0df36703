"""A class, from a folder of submissions to a folder of marks: ingest, execute, record, report.

Whatever goes wrong with one submission becomes that submission's verdict.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from .execution import Run, Terms, grade
from .feedback import write_pages
from .form import assignments, grade_ids, read_source
from .ingest import FolderError, Submission, find_submissions, ingest
from .record import Record
from .report import table, write_csv


def grade_class(
    root: Path,
    assignment: str,
    folder: Path,
    out: Path,
    terms: Terms,
    *,
    jobs: int = 1,
    only: str | None = None,
) -> int:
    """Grade FOLDER into OUT and print the table; returns how many submissions could not be graded in full.

    `only` names one student. Raises `FolderError` and `FormError` before anything is run.
    """
    source = read_source(root, assignment)
    students = find_submissions(folder, assignment)
    if only is not None and only not in students:
        raise FolderError(f"{folder} has no student {only!r}; there are {', '.join(students)}")
    if only is not None:
        students = {only: students[only]}
    if out.is_relative_to(folder.absolute()) or set("[]*?+") & set(str(out)):
        raise FolderError(f"--out {out}: choose a folder outside {folder}, without the characters [ ] * ? +")
    record = Record(out)
    record.open(root, assignment)
    others = {name: grade_ids(root, name) for name in assignments(root) if name != assignment}
    submissions = (ingest(student, files, assignment, source, others) for student, files in students.items())
    with tqdm(total=len(students), unit="student", desc=assignment, file=sys.stderr) as bar:
        for submission, run in _runs(submissions, terms, jobs):
            try:
                record.enter(submission, run, terms)
            except Exception as error:
                record.enter(_failed(submission, error), None, terms)
            bar.update()
    return report(record, only=set(students))


def _runs(
    submissions: Iterable[Submission], terms: Terms, jobs: int
) -> Iterator[tuple[Submission, Run | None]]:
    """(submission, run or None) as they are done, `jobs` kernels at a time."""
    pool, futures = ThreadPoolExecutor(jobs), {}
    try:
        for submission in submissions:
            if submission.notebook is None:
                yield submission, None
            else:
                futures[pool.submit(grade, submission, terms)] = submission
        for future in as_completed(futures):
            submission, error = futures[future], future.exception()
            yield (_failed(submission, error), None) if error else (submission, future.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _failed(submission: Submission, error: BaseException) -> Submission:
    return replace(submission, verdict="not graded", says=f"{type(error).__name__}: {error}", notebook=None)


def report(record: Record, only: set[str] | None = None) -> int:
    """Table on the terminal, pages, marks.csv; returns how many submissions could not be graded in full."""
    rows = record.rows()
    write_pages(rows, record.assignment, record.folder / "feedback")
    write_csv(rows, record.folder / "marks.csv")
    shown = [row for row in rows if only is None or row.student in only]
    print(table(shown))
    print(f"\nmarks {record.folder / 'marks.csv'}\npages {record.folder / 'feedback'}")
    return sum(row.verdict not in ("ok", "renamed") for row in shown)
