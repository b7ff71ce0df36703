"""Commands on nbgrader's exchange folder: release, collect, return. How a class in a hub gets its work."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Enter the commands into the parser of `mg9-course`."""
    command = commands.add_parser("release", help="put exercises into the exchange, for students to fetch")
    command.add_argument("assignments", nargs="*", metavar="ASSIGNMENT", help="default: all")
    command.set_defaults(run=release)

    command = commands.add_parser("collect", help="take what was handed in into submitted/")
    command.add_argument("assignment")
    command.set_defaults(run=collect)

    command = commands.add_parser("return", help="put the pages of feedback where students fetch them")
    command.add_argument("folder", type=Path, help="a folder that `grade` has written")
    command.add_argument("--submitted", type=Path, help="what was collected (default: submitted/)")
    command.set_defaults(run=give_back)


def release(options: argparse.Namespace) -> int:
    """`mg9-course release [ASSIGNMENT ...]`."""
    from .exchange import release

    print(f"released: {', '.join(release(options.root, options.assignments))}")
    return 0


def collect(options: argparse.Namespace) -> int:
    """`mg9-course collect ASSIGNMENT`."""
    from .exchange import collect

    says = collect(options.root, options.assignment)
    print("\n".join(says) or f"nobody has handed in {options.assignment} yet")
    return 0


def give_back(options: argparse.Namespace) -> int:
    """`mg9-course return FOLDER [--submitted FOLDER]`."""
    from .exchange import give_back

    given = give_back(options.folder, options.submitted or options.root / "submitted")
    print(f"returned to {len(given)} students: {', '.join(given)}" if given else "no page to return")
    return 0
