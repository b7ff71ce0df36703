"""The command `mg9-course`: what instructors run."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from course.selftest import command as selftest

from . import desk

if TYPE_CHECKING:
    from .classes import Class
    from .terms import Terms

EXAMPLES = """examples:
  mg9-course build                       generate exercises/ from solutions/
  mg9-course build --check cgcnn         exit 1 if exercises/cgcnn is out of date
  mg9-course grade submitted             grade submitted/<student>/cgcnn/cgcnn.ipynb into gradebook/cgcnn;
                                         again: what is new, or what an interruption left
  mg9-course grade submitted --only amira        a dry run: prints what the checks say, records nothing
  mg9-course grade submitted --again             everything anew with the same seed; says what changed
  mg9-course feedback gradebook/cgcnn    write pages and marks.csv again, after marking by hand in formgrader
  mg9-course export gradebook/cgcnn --columns student=Name,counts=Points --out points.csv
  mg9-course log gradebook/cgcnn --student amira
  mg9-course forget gradebook/cgcnn amira --yes
  mg9-course demo                        grade the small class that comes with the course
  mg9-course selftest cgcnn              right code, wrong code and attacks against the grader

exit codes: 0 all done; 1 a submission could not be graded, or an assignment is refused or out of date;
2 wrong usage; 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Run `mg9-course`; returns the exit code (see `EXAMPLES`)."""
    options = _parser().parse_args(arguments)
    root = options.root or (Path.cwd() if Path("solutions").is_dir() else Path(__file__).parents[2])
    options.root = root.absolute()
    if not (options.root / "solutions").is_dir():
        return _refused(f"{options.root} has no folder solutions/; run in the course's folder or give --root")
    from .form import FormError
    from .ingest import FolderError
    from .sandbox import NoSandbox

    try:
        return options.run(options)
    except (FolderError, NoSandbox) as error:
        return _refused(str(error))
    except FormError as error:
        print(f"mg9-course: refused\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "what was graded is recorded, and the same command goes on from there"
        print(f"\nmg9-course: interrupted; {again}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mg9-course",
        description="Build assignments, grade a class, write feedback.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="the course's folder, with solutions/ and exercises/ (default: the one here)",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("build", help="generate exercises/ from solutions/")
    command.add_argument("assignment", nargs="?", help="default: all")
    command.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if exercises/ is out of date"
    )
    command.set_defaults(run=build)

    command = commands.add_parser("grade", help="grade what is new in a folder of submissions")
    command.add_argument(
        "folder", type=Path, help="holds <student>/<assignment>/*.ipynb or <student>/*.ipynb"
    )
    command.add_argument("--assignment", help="default: the only one in solutions/, or in the folder")
    command.add_argument(
        "--only", metavar="STUDENT", help="this student alone, as a dry run (with --again it is recorded)"
    )
    command.add_argument(
        "--again", action="store_true", help="grade what is graded already, too; says what changed"
    )
    _grading(command)
    command.set_defaults(run=grade)
    desk.add_commands(commands)

    command = commands.add_parser(
        "demo", help="make the small class that comes with the course, and grade it"
    )
    _grading(command)
    command.set_defaults(run=demo)
    command = commands.add_parser("doctor", help="try the sandbox: which of its limits hold here")
    command.set_defaults(run=doctor)
    selftest.add(commands)
    return parser


def build(options: argparse.Namespace) -> int:
    """`mg9-course build [--check] [ASSIGNMENT]`."""
    from .build import build
    from .form import assignments

    stale = 0
    chosen = [_assignment(options)] if options.assignment else assignments(options.root)
    for assignment in chosen:
        changed = build(options.root, assignment, write=not options.check)
        stale += len(changed)
        for file in changed:
            print(
                f"{file} is out of date: run `mg9-course build {assignment}`"
                if options.check
                else f"wrote {file}"
            )
        if not changed:
            print(f"exercises/{assignment} is up to date")
    return 1 if options.check and stale else 0


def grade(options: argparse.Namespace) -> int:
    """`mg9-course grade FOLDER`."""
    from .sandbox import refuse_without_sandbox
    from .workers import Crew, on_dask

    if not options.unsandboxed:
        refuse_without_sandbox()
    if options.only and not options.again:
        from .grading import dry_run

        the_class, _, terms = _read(options)
        return dry_run(the_class, terms)
    if options.scheduler:
        return _record(options, partial(on_dask, address=options.scheduler))
    with Crew(options.jobs) as crew:
        return _record(options, crew.grade, crew.prepare)


def _record(options: argparse.Namespace, run: Callable, prepare: Callable | None = None) -> int:
    from .journal import Journal

    the_class, out, terms = _read(options)
    if prepare:
        known = set() if options.again else {line["sha256"] for line in Journal(out).lines()}
        prepare([one for one in the_class.submissions if one.sha256 not in known], terms)
    from .grading import grade_class  # here, so that kernels start while nbgrader is imported

    return int(grade_class(options.root, the_class, out, terms, run, again=options.again) > 0)


def _read(options: argparse.Namespace) -> tuple[Class, Path, Terms]:
    """(the submissions, the folder of marks, the terms). Raises `FolderError` and `FormError`."""
    from .bubblewrap import Limits
    from .classes import read_class
    from .ingest import FolderError
    from .journal import Journal
    from .terms import Terms

    assignment, folder = _assignment(options), options.folder
    out = (options.out or options.root / "gradebook" / assignment).absolute()
    if out.is_relative_to(folder.absolute()) or set("[]*?+") & set(str(out)):
        raise FolderError(f"--out {out}: choose a folder outside {folder}, without the characters [ ] * ? +")
    seeds = (options.seed, Journal(out).seed, secrets.randbelow(2**31))
    seed = next(seed for seed in seeds if seed is not None)
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    seconds, limits = (900, 3600) if options.full else (120, 600), Limits(threads=threads)
    terms = Terms(options.full, seed, *seconds, threads, limits=limits, unsandboxed=options.unsandboxed)
    return read_class(options.root, assignment, folder, options.only), out, terms


def doctor(options: argparse.Namespace) -> int:
    """`mg9-course doctor`."""
    from .doctor import doctor

    return doctor()


def demo(options: argparse.Namespace) -> int:
    """`mg9-course demo`: a class of typical submissions, made and graded anew."""
    from course.demo.classroom import described_assignment, make_class

    place = options.out or options.root / "demo"
    options.folder, options.out, options.only = place / "submitted", place / "marks", None
    options.assignment, options.again = described_assignment(), False
    options.seed = 0 if options.seed is None else options.seed
    students = make_class(options.root, options.folder)
    if (options.out / "log.jsonl").is_file():
        shutil.rmtree(options.out)
    print(f"the class, in {options.folder}:")
    print("".join(f"  {student:8} {about}\n" for student, about in students.items()))
    grade(options)
    pages = sorted((options.out / "feedback").glob("*.html"))
    print("\nopen a page of feedback in a browser, for example")
    print("\n".join(f"  {page}" for page in pages[:3]))
    return 0


def _grading(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", type=Path, help="where the marks go (default: gradebook/ASSIGNMENT; demo: demo)"
    )
    command.add_argument(
        "--full", action="store_true", help="train with the full budget instead of the tiny one"
    )
    command.add_argument(
        "--seed",
        type=_whole,
        help="what hidden inputs are drawn from; recorded (default: a new one; demo: 0)",
    )
    command.add_argument(
        "--unsandboxed",
        action="store_true",
        help="run students' code as yourself, without a sandbox; each mark says so",
    )
    command.add_argument(
        "--jobs",
        type=_positive,
        default=min(2, os.cpu_count() or 1),
        help="worker processes on this machine (default %(default)s)",
    )
    command.add_argument(
        "--scheduler", metavar="ADDRESS", help="run on the workers of this Dask scheduler, tcp://HOST:8786"
    )


def _whole(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _assignment(options: argparse.Namespace) -> str:
    """The assignment that is named, or the only one there is, or the only one in the folder of submissions.

    Raises `FolderError`: wrong usage.
    """
    from .form import assignments
    from .ingest import FolderError

    there = assignments(options.root)
    if options.assignment in there:
        return options.assignment
    known = f"in solutions/ are {', '.join(there) or 'none'}"
    if options.assignment is not None:
        raise FolderError(f"no assignment {options.assignment!r}; {known}")
    handed_in = {file.stem for file in options.folder.glob("*/**/*.ipynb")}
    handed_in |= {place.name for place in options.folder.glob("*/*") if place.is_dir()}
    found = [name for name in there if name in handed_in] if len(there) > 1 else there
    if len(found) != 1:
        raise FolderError(f"say which with --assignment; {known}")
    return found[0]


def _refused(text: str) -> int:
    print(f"mg9-course: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
