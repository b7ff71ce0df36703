"""`mg9-course selftest [ASSIGNMENT]`: is the grader fit to be released? Exit code 1 if not."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attacks import Outcome
    from .suite import Table

EXAMPLES = """examples:
  mg9-course selftest              every assignment, then the attack corpus
  mg9-course selftest cgcnn        one assignment, and the attacks on it
  mg9-course selftest --attacks    the attack corpus alone
  mg9-course selftest --jobs 4     in four processes, of up to 2 GB each

exit codes: 0 fit for release; 1 not; 2 wrong usage; 130 interrupted (nothing is kept)
"""

COLUMNS = ["assignment", "reference accepted", "rewrites accepted", "untouched refused", "mutants killed"]
COLUMNS += ["attacks refused", "undeserved points", "points lost", "classes aborted"]
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def add(commands: argparse._SubParsersAction) -> None:
    """Enter the command."""
    command = commands.add_parser(
        "selftest",
        help="hold the grader to right code, wrong code and attacks",
        description="Right code must score in full, mutants must fail by name, attacks must gain nothing.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("assignment", nargs="?", help="default: all, and the attack corpus")
    command.add_argument("--attacks", action="store_true", help="the attack corpus alone")
    command.add_argument(
        "--jobs",
        type=int,
        choices=range(1, 65),
        metavar="N",
        default=min(2, os.cpu_count() or 1),
        help="processes that grade at a time (default %(default)s)",
    )
    command.add_argument("--seed", type=int, default=0, help="what checks draw from (default %(default)s)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """A table for each assignment, a line for each fault; 1 if there is one."""
    from course.grader.sandbox import refuse_without_sandbox

    refuse_without_sandbox()
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("\nmg9-course: interrupted; nothing is kept, and one assignment can be named", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    from course.grader.execution import NoKernel
    from course.grader.form import FormError, assignments
    from course.grader.ingest import FolderError

    from .attacks import run_attacks
    from .corpus import TARGET

    start, fit, lines = time.monotonic(), True, []
    there = assignments(options.root)
    if options.assignment not in (None, *there):
        raise FolderError(f"no assignment {options.assignment!r}; in solutions/ are {', '.join(there)}")
    names = [options.assignment] if options.assignment else there
    names = [] if options.attacks else names
    for number, name in enumerate(names, start=1):
        try:
            table, attacks = _one(options, name, f"{name} ({number} of {len(names)})")
        except (FormError, NoKernel) as error:
            print(f"{name}: {error}")
            fit = False
            lines.append(line(name))
            continue
        print(f"{table}\n{'':12} {attacks}" if attacks.attacks else table, flush=True)
        fit &= not table.faults and not attacks.faults
        lines.append(line(name, table, attacks))
    if options.attacks or not options.assignment:
        corpus = run_attacks(jobs=options.jobs, seed=options.seed)
        print(f"{TARGET:12} {corpus}")
        fit &= not corpus.faults
        lines.append(line(TARGET, None, corpus))
    print("\n".join(["", HEAD, *lines, ""]))
    minutes = f"{(time.monotonic() - start) / 60:.0f} min, {options.jobs} jobs"
    print(f"the grader is {'fit' if fit else 'NOT fit'} for release ({minutes})")
    return 0 if fit else 1


def _one(options: argparse.Namespace, name: str, title: str) -> tuple[Table, Outcome]:
    """One assignment and the attacks on it."""
    from course.grader.terms import Terms

    from .attacks import run_attacks
    from .suite import read_suite, run_suite

    # Generous limits: a slow machine is no reason to call right code wrong.
    terms = Terms(seed=options.seed, cell_seconds=900, total_seconds=3600)
    table = run_suite(read_suite(options.root, name), terms, options.jobs, title)
    return table, run_attacks(assignment=name, jobs=options.jobs, seed=options.seed)


def line(name: str, table: Table | None = None, attacks: Outcome | None = None) -> str:
    """One assignment in the summary; a dash stands for what it has none of."""
    kinds = ("reference", "rewrites", "untouched", "mutants")
    cells = ["{}/{}".format(*table.counts[kind]) if table else "-" for kind in kinds]
    if attacks and attacks.attacks:
        cells += [f"{attacks.refused}/{len(attacks.attacks)}", f"{attacks.undeserved:g}", f"{attacks.lost:g}"]
        cells.append(str(int(attacks.aborted)))
    return f"| {' | '.join([name, *cells, *['-'] * (8 - len(cells))])} |"
