"""Commands beside grading: new (an assignment), package (for students), status (of a class)."""

from __future__ import annotations

import argparse
from pathlib import Path

NEW = """examples:
  mg9-course new phonons         solutions/, exercises/, checks and self-test of the assignment phonons
  mg9-course selftest phonons    it passes as it is; change it from here

exit codes: 0 written; 2 the name is taken or cannot be one
"""
PACKAGE = """examples:
  mg9-course package                    dist/mg9-student-VERSION/ and .zip
  mg9-course package --out somewhere    somewhere/ and somewhere.zip

Then it searches what it wrote for solutions, rubrics, hidden checks and blind labels.

exit codes: 0 written, nothing found; 1 something is in it that students must not have; 2 wrong usage
"""
STATUS = """examples:
  mg9-course status submitted                            the class against gradebook/<assignment>
  mg9-course status submitted --assignment cgcnn --roster names.csv
  mg9-course status submitted --out other/marks          marks that `grade --out` put elsewhere

answered: nothing is left to mark, and the page in feedback/ says what the gradebook says. What is left to do
is listed at the end, with the command. Nothing is run or written.

exit codes: 0 all that was handed in is answered; 1 something is left to do; 2 wrong usage
"""


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Enter the commands into the parser of `mg9-course`."""
    raw = argparse.RawDescriptionHelpFormatter
    about = "make the skeleton of an assignment, which passes the self-test"
    command = commands.add_parser("new", help=about, description=about, epilog=NEW, formatter_class=raw)
    command.add_argument("name", metavar="NAME", help="lower-case letters, digits and _")
    command.set_defaults(run=new)

    about = "make the student package and search it for what students must not have"
    command = commands.add_parser(
        "package", help=about, description=about, epilog=PACKAGE, formatter_class=raw
    )
    command.add_argument("--out", type=Path, help="the folder to write (default: dist/mg9-student-VERSION)")
    command.set_defaults(run=package)

    about = "who has handed in, whose work is graded, who is answered"
    command = commands.add_parser("status", help=about, description=about, epilog=STATUS, formatter_class=raw)
    command.add_argument("folder", type=Path, help="the folder of submissions, as for `grade`")
    command.add_argument("--assignment", help="default: the only one in solutions/, or in the folder")
    command.add_argument("--out", type=Path, help="the folder of marks (default: gradebook/ASSIGNMENT)")
    command.add_argument(
        "--roster", type=Path, metavar="FILE", help="all students: a name a line, or CSV with names first"
    )
    command.set_defaults(run=status)


def new(options: argparse.Namespace) -> int:
    """`mg9-course new NAME`."""
    from .skeleton import NEXT, new

    for file in new(options.root, options.name):
        print(f"wrote {file}")
    print(NEXT.replace("NAME", options.name))
    return 0


def package(options: argparse.Namespace) -> int:
    """`mg9-course package`."""
    import mg9

    from .leaks import leaks
    from .student import archive, package

    folder = options.out or options.root / "dist" / f"mg9-student-{mg9.__version__}"
    files = package(options.root, folder.absolute())
    found = leaks(folder, options.root)
    if found:
        print("\n".join(found))
        print(f"{len(found)} leaks in {folder}: nothing was packed")
        return 1
    file = archive(folder)
    print(f"{folder}: {len(files)} files, nothing found that students must not have")
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB; students unpack it and read README.md")
    return 0


def status(options: argparse.Namespace) -> int:
    """`mg9-course status FOLDER`."""
    from .classes import read_class
    from .commands import chosen
    from .status import left, read_roster, standings, table

    assignment = chosen(options)
    out = (options.out or options.root / "gradebook" / assignment).absolute()
    the_class = read_class(options.root, assignment, options.folder)
    found = standings(the_class, out, read_roster(options.roster) if options.roster else [])
    print(table(found))
    grade = f"mg9-course grade {options.folder} --assignment {assignment}"
    todo = left(found, grade + (f" --out {options.out}" if options.out else ""), out)
    print("\n".join(todo) if todo else "nothing is left to do")
    return int(bool(todo))
