"""Commands on a folder of marks: feedback, export, log, forget. What an instructor does after grading."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Enter the commands into the parser of `mg9-course`."""
    command = commands.add_parser("feedback", help="write pages and marks.csv again, after marking by hand")
    _folder(command)
    command.set_defaults(run=feedback)

    command = commands.add_parser("export", help="write the marks as CSV, with the columns that you need")
    _folder(command)
    command.add_argument(
        "--columns",
        help="separated by commas, each NAME or NAME=HEADING; an unknown name lists what there is "
        "(default: those of marks.csv)",
    )
    command.add_argument("--out", type=Path, help="the file (default: export.csv in the folder of marks)")
    command.set_defaults(run=export)

    command = commands.add_parser("log", help="print what was graded, when, and how")
    _folder(command)
    command.add_argument("--student", help="this student alone")
    command.set_defaults(run=log)

    command = commands.add_parser(
        "forget", help="delete all that is stored of a student in a folder of marks"
    )
    _folder(command)
    command.add_argument("student")
    command.add_argument("--yes", action="store_true", help="really; it cannot be undone")
    command.set_defaults(run=forget)


def feedback(options: argparse.Namespace) -> int:
    """`mg9-course feedback FOLDER`."""
    from .grading import report

    report(_record(options))
    return 0


def export(options: argparse.Namespace) -> int:
    """`mg9-course export FOLDER [--columns ...] [--out FILE]`."""
    from .report import write_csv

    record, file = _record(options), options.out or options.folder / "export.csv"
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else None
    rows = record.rows()
    write_csv(rows, file, columns)
    print(f"wrote {len(rows)} students to {file}")
    return 0


def log(options: argparse.Namespace) -> int:
    """`mg9-course log FOLDER [--student STUDENT]`."""
    lines = _record(options).journal.lines()
    _known(options.student, lines)
    for line in lines:
        if options.student not in (None, line["student"]):
            continue
        passed = sum(result["state"] == "passed" for result in line["results"])
        what = f"{passed}/{len(line['results'])} checks" if line["graded"] else "not graded"
        where = "sandboxed" if line["sandboxed"] else "unsandboxed" if line["graded"] else "-"
        about = (
            f"{line['seconds']:g} s, seed {line['terms']['seed']}, {where}, file {line['sha256'][:12] or '-'}"
        )
        says = "" if line["verdict"] == "ok" else f": {line['says']}"
        print(f"{line['time']}  {line['student']}  {what}, {about}; {line['verdict']}{says}")
    return 0


def forget(options: argparse.Namespace) -> int:
    """`mg9-course forget FOLDER STUDENT --yes`."""
    from .grading import report
    from .ingest import FolderError
    from .journal import only_writer

    record = _record(options)
    _known(options.student, record.journal.lines())
    if not options.yes:
        raise FolderError(f"forget deletes {options.student}'s marks for good; say --yes if you mean it")
    with only_writer(record.folder):
        gone = record.forget(options.student)
        report(record)
    print(f"deleted of {options.student}: {', '.join(gone)}")
    print("not deleted: the files that were handed in, copies of marks.csv or pages that you made, late.toml")
    return 0


def _folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, help="a folder that `grade` has written")


def _record(options: argparse.Namespace):
    from .record import Record

    record = Record(options.folder)
    record.assignment  # noqa: B018  (raises FolderError if there is none)
    return record


def _known(student: str | None, lines: list[dict]) -> None:
    from .ingest import FolderError

    there = sorted({line["student"] for line in lines})
    if student is not None and student not in there:
        raise FolderError(f"no student {student!r} here; there are {', '.join(there)}")
