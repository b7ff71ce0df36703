"""The command `mg9-course`: what instructors run."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from pathlib import Path

from course.selftest import command as selftest

from . import author, desk, handing
from . import commands as does

EXAMPLES = """examples:
  mg9-course build                       generate exercises/ from solutions/
  mg9-course build --check cgcnn         exit 1 if exercises/cgcnn is out of date
  mg9-course grade submitted             grade submitted/<student>/cgcnn/cgcnn.ipynb into gradebook/cgcnn;
                                         again: what is new, or what an interruption left
  mg9-course grade submitted --only amira        a dry run: prints what the checks say, records nothing
  mg9-course grade submitted --again             everything anew with the same seed; says what changed
  mg9-course feedback gradebook/cgcnn    write pages and marks.csv again, after marking by hand in formgrader
  mg9-course release cgcnn, collect cgcnn, return gradebook/cgcnn        through a hub's exchange folder
  mg9-course export gradebook/cgcnn --columns student=Name,counts=Points --out points.csv
  mg9-course log gradebook/cgcnn --student amira
  mg9-course forget gradebook/cgcnn amira --yes
  mg9-course status submitted            who has handed in, whose work is graded, who is answered
  mg9-course new phonons                 the skeleton of an assignment
  mg9-course package                     what students install: mg9, lectures, exercises, a lock
  mg9-course demo                        grade the small class that comes with the course
  mg9-course selftest cgcnn              right code, wrong code and attacks against the grader

exit codes: 0 all done; 1 a submission could not be graded, or an assignment is refused or out of date;
2 wrong usage; 130 interrupted
"""


def command() -> None:
    """`main` as a process of its own. Python would take a third of a second to take its modules apart."""
    codes: list[int] = []

    def leave() -> None:
        if codes:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(codes[0])

    atexit.register(leave)  # the first that is registered, so the last that is called
    codes.append(main())
    sys.exit(codes[0])


def main(arguments: list[str] | None = None) -> int:
    """Run `mg9-course`; returns the exit code (see `EXAMPLES`)."""
    options = _parser().parse_args(arguments)
    gc.set_threshold(
        100_000, 20, 20
    )  # modules that are imported are not garbage; looking takes a fifth longer
    root = options.root or (Path.cwd() if Path("solutions").is_dir() else Path(__file__).parents[2])
    options.root = root.absolute()
    if not (options.root / "solutions").is_dir():
        return _refused(f"{options.root} has no folder solutions/; run in the course's folder or give --root")
    try:
        return options.run(options)
    except KeyboardInterrupt:
        again = "what was graded is recorded, and the same command goes on from there"
        print(f"\nmg9-course: interrupted; {again}", file=sys.stderr)
        return 130
    except Exception as error:
        from .form import FormError  # here, because these take longer to import than what some commands do
        from .ingest import FolderError
        from .sandbox import NoSandbox

        if isinstance(error, (FolderError, NoSandbox)):
            return _refused(str(error))
        if isinstance(error, FormError):
            print(f"mg9-course: refused\n{error}", file=sys.stderr)
            return 1
        raise


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
    command.set_defaults(run=does.build)

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
    command.set_defaults(run=does.grade)
    desk.add_commands(commands)
    handing.add_commands(commands)
    author.add_commands(commands)

    command = commands.add_parser(
        "demo", help="make the small class that comes with the course, and grade it"
    )
    _grading(command)
    command.set_defaults(run=does.demo)
    command = commands.add_parser("doctor", help="try the sandbox: which of its limits hold here")
    command.set_defaults(run=does.doctor)
    selftest.add(commands)
    return parser


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


def _refused(text: str) -> int:
    print(f"mg9-course: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    command()
