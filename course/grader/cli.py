"""The command `mg9-course`: what instructors run."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from pathlib import Path

from course.selftest import command as selftest

EXAMPLES = """examples:
  mg9-course build                       generate exercises/ from solutions/
  mg9-course build --check cgcnn         exit 1 if exercises/cgcnn is out of date
  mg9-course grade submitted --assignment cgcnn
                                         grade submitted/<student>/cgcnn/cgcnn.ipynb into gradebook/cgcnn
  mg9-course grade submitted --assignment magpie --only amira --out /tmp/try
  mg9-course feedback gradebook/cgcnn    write pages and marks.csv again, after marking by hand in formgrader
  mg9-course demo                        grade the small class that comes with the course
  mg9-course selftest cgcnn              right code, wrong code and attacks against the grader

exit codes: 0 all done; 1 a submission could not be graded, or an assignment is refused or out of date;
2 wrong usage
"""


def main(arguments: list[str] | None = None) -> int:
    """Run `mg9-course`; returns the exit code (see `EXAMPLES`)."""
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

    command = commands.add_parser("grade", help="grade a folder of submissions")
    command.add_argument(
        "folder", type=Path, help="holds <student>/<assignment>/*.ipynb or <student>/*.ipynb"
    )
    command.add_argument("--assignment", help="which one of those in solutions/ (default: the only one)")
    command.add_argument("--only", metavar="STUDENT", help="this student alone")
    _grading(command)
    command.set_defaults(run=grade)

    command = commands.add_parser("feedback", help="write pages and marks.csv again, after marking by hand")
    command.add_argument("folder", type=Path, help="a folder that `grade` has written")
    command.set_defaults(run=feedback)

    command = commands.add_parser(
        "demo", help="make the small class that comes with the course, and grade it"
    )
    _grading(command)
    command.set_defaults(run=demo)

    selftest.add(commands)

    options = parser.parse_args(arguments)
    root = options.root or (Path.cwd() if Path("solutions").is_dir() else Path(__file__).parents[2])
    options.root = root.absolute()
    if not (options.root / "solutions").is_dir():
        return _refused(f"{options.root} has no folder solutions/; run in the course's folder or give --root")
    from .form import FormError
    from .ingest import FolderError

    try:
        return options.run(options)
    except FolderError as error:
        return _refused(str(error))
    except FormError as error:
        print(f"mg9-course: refused\n{error}", file=sys.stderr)
        return 2 if options.run is not build else 1
    except KeyboardInterrupt:
        print("mg9-course: interrupted; what was graded so far is recorded", file=sys.stderr)
        return 130


def build(options: argparse.Namespace) -> int:
    """`mg9-course build [--check] [ASSIGNMENT]`."""
    from .build import build
    from .form import assignments

    stale = 0
    for assignment in [options.assignment] if options.assignment else assignments(options.root):
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
    from .execution import Terms
    from .grading import grade_class

    assignment = options.assignment or _only_assignment(options.root)
    out = options.out or options.root / "gradebook" / assignment
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    terms = Terms(options.full, seed, *((900, 3600) if options.full else (120, 600)), threads)
    bad = grade_class(
        options.root, assignment, options.folder, out.absolute(), terms, jobs=options.jobs, only=options.only
    )
    return 1 if bad else 0


def feedback(options: argparse.Namespace) -> int:
    """`mg9-course feedback FOLDER`."""
    from .grading import report
    from .record import Record

    report(Record(options.folder))
    return 0


def demo(options: argparse.Namespace) -> int:
    """`mg9-course demo`: a class of typical submissions, made and graded anew."""
    from course.demo.classroom import described_assignment, make_class

    place = options.out or options.root / "demo"
    options.folder, options.out, options.only = place / "submitted", place / "marks", None
    options.assignment = described_assignment()
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
        "--jobs",
        type=_positive,
        default=min(2, os.cpu_count() or 1),
        help="kernels at a time (default %(default)s)",
    )


def _whole(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def _positive(text: str) -> int:
    return _whole(text, least=1)


def _only_assignment(root: Path) -> str:
    from .form import FormError, assignments

    there = assignments(root)
    if len(there) != 1:
        raise FormError(f"say which with --assignment; in solutions/ are {', '.join(there) or 'none'}")
    return there[0]


def _refused(text: str) -> int:
    print(f"mg9-course: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
