"""The command `mg9`: `doctor` examines an installation, `check` scores a notebook, `embed` makes vectors of
crystals."""

import argparse
import shutil
import sys
import textwrap
import warnings
from pathlib import Path

import mg9

EXAMPLES = """\
examples:
  mg9 doctor                                   what is wrong with this installation, and what to do
  mg9 check exercises/cgcnn/cgcnn.ipynb        the visible checks and the score so far
  mg9 embed *.cif -o vectors.npz               a vector for each crystal, by MACE-MP-0
"""

CHECK_EXAMPLES = """\
examples:
  mg9 check cgcnn.ipynb                        with a tiny training budget, in about a minute
  mg9 check cgcnn.ipynb --full                 with the budget of the exercise
  mg9 check cgcnn.ipynb --save done.ipynb      keep the executed notebook, with its outputs

exit status: 0 if all visible checks passed, 1 if one failed or did not run, 2 if there is nothing to score.
The file NOTEBOOK itself is not changed. What its cells write goes where they would write it in Jupyter.
"""

EMBED_EXAMPLES = """\
examples:
  mg9 embed quartz.cif POSCAR -o vectors.npz   two crystals
  mg9 embed run.xyz -o vectors.csv             every frame of an extended xyz file, "run.xyz:0" and so on
  mg9 embed *.cif -o v.npz --backbone m3gnet-mp-2021

read them with: from mg9.embeddings import Embeddings; Embeddings.read("vectors.npz").nearest("quartz.cif")

exit status: 0 if every crystal has a vector; 1 if the potential is not there or refuses a crystal; 2 if a
file is not readable, or FILE ends in something else than .npz and .csv. FILE is written only if all is well.
"""

DOCTOR_EPILOG = """\
exit status: 0 if all is well, 1 if there is a problem; each line that starts with "problem" says what to do.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("mg9: stopped", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(prog="mg9", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    top.add_argument("--version", action="version", version=f"mg9 {mg9.__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    about = "say what is wrong with this installation, in about ten seconds"
    doctor = commands.add_parser(
        "doctor", help=about, description=about, epilog=DOCTOR_EPILOG, formatter_class=raw
    )
    doctor.set_defaults(run=run_doctor)

    about = "run a notebook's visible checks and print the score so far"
    check = commands.add_parser(
        "check", help=about, description=about, epilog=CHECK_EXAMPLES, formatter_class=raw
    )
    check.add_argument("notebook", type=Path, metavar="NOTEBOOK", help="the exercise, an .ipynb file")
    check.add_argument("--full", action="store_true", help="train with the full budget, not the tiny one")
    check.add_argument(
        "--timeout",
        type=int,
        default=600,
        metavar="SECONDS",
        help="stop a cell that takes longer (default: %(default)s)",
    )
    check.add_argument("--save", type=Path, metavar="FILE", help="write the executed notebook to FILE")
    check.set_defaults(run=run_check)

    about = "write a vector for each crystal, from a pretrained potential"
    embed = commands.add_parser(
        "embed", help=about, description=about, epilog=EMBED_EXAMPLES, formatter_class=raw
    )
    embed.add_argument(
        "structures", type=Path, nargs="+", metavar="STRUCTURES", help="CIF, POSCAR or extended xyz files"
    )
    embed.add_argument("-o", type=Path, required=True, dest="output", metavar="FILE", help=".npz or .csv")
    embed.add_argument(
        "--backbone", default="mace-mp-0-small", metavar="NAME", help="the potential (default: %(default)s)"
    )
    embed.set_defaults(run=run_embed)
    return top


def run_doctor(options: argparse.Namespace) -> int:
    """Print one line for each thing that is examined."""
    from mg9.doctor import diagnose

    problems = 0
    for works, line in diagnose():
        problems += not works
        print(f"{'ok' if works else 'problem':8} {line}", flush=True)
    print("all is well" if not problems else f"{problems} problem{'s' * (problems > 1)} to solve")
    return int(problems > 0)


def run_check(options: argparse.Namespace) -> int:
    """Execute a notebook in a kernel of its own and print a table of its graded cells."""
    import nbformat

    from mg9 import score

    warnings.filterwarnings("ignore", module="nbformat")
    try:
        notebook = score.read(options.notebook)
        if not score.questions(notebook):
            raise score.UnreadableNotebook(
                f"{options.notebook}: has no graded cells; exercises/ has the notebooks that have"
            )
    except score.UnreadableNotebook as error:
        print(f"mg9 check: {error}", file=sys.stderr)
        return 2
    stopped = score.run(
        notebook, options.notebook.resolve().parent, full=options.full, timeout=options.timeout
    )
    if options.save:
        nbformat.write(notebook, options.save)

    results = score.questions(notebook)
    print(table(results))
    for name in score.copies(notebook):
        print(f"note: two cells have the grade id {name!r}; delete the copy, only the first counts here")
    if stopped:
        print(f"note: {stopped}; the cells after that did not run")
    elif error := score.first_error(notebook):
        print(f"note: the first cell that failed is {error}")
    print(summary(results))
    return 0 if all(q.passed for q in results if q.kind == "visible") and not stopped else 1


def run_embed(options: argparse.Namespace) -> int:
    """Read crystals, embed them, write one file."""
    import numpy as np

    from mg9 import embeddings
    from mg9.a_errors import CrystalError
    from mg9.data.cache import ChecksumError, FetchError

    def failed(error: Exception, status: int) -> int:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"mg9 embed: {message}", file=sys.stderr)
        return status

    if options.output.suffix not in embeddings.FORMATS:
        ending = " or ".join(embeddings.FORMATS)
        return failed(ValueError(f"{options.output}: the file to write must end in {ending}"), 2)
    warnings.simplefilter("ignore", UserWarning)  # pymatgen's, of files and of noble gases
    try:
        names, structures = embeddings.read_structures(options.structures)
    except CrystalError as error:
        return failed(error, 2)
    from mg9.g_foundation import load

    try:
        vectors = load(options.backbone).embed(structures).double().numpy()
    except (CrystalError, FetchError, ChecksumError, ImportError, KeyError, NotImplementedError) as error:
        return failed(error, 1)
    formulas = [one.reduced_formula for one in structures]
    embeddings.Embeddings(np.array(names), np.array(formulas), vectors, options.backbone).save(options.output)
    print(f"{options.output}: {len(names)} crystals, {vectors.shape[1]} numbers each, by {options.backbone}")
    return 0


def table(results: list) -> str:
    """One row for each question; what a failed check says is indented below its row."""
    width = max(shutil.get_terminal_size().columns, 60)
    first = max(len("question"), *(len(q.id) for q in results))
    second = max(len("check"), *(len(q.check) for q in results))
    rows = [f"{'question':{first}}  {'check':{second}}  result   points"]
    for q in results:
        result = (
            {True: "passed", False: "failed", None: "not run"}[q.passed] if q.kind == "visible" else q.kind
        )
        points = f"{q.points * bool(q.passed):g} of {q.points:g}" if q.kind == "visible" else f"{q.points:g}"
        rows.append(f"{q.id:{first}}  {q.check or '-':{second}}  {result:7}  {points}")
        for line in q.message.splitlines():
            rows.append(textwrap.fill(line, width, initial_indent="    ", subsequent_indent="      "))
    return "\n".join(rows)


def summary(results: list) -> str:
    """ "visible points 14 of 20; 12 more are decided by hidden checks; 5 by hand"."""
    total = {
        kind: sum(q.points for q in results if q.kind == kind) for kind in ("visible", "hidden", "by hand")
    }
    earned = sum(q.points for q in results if q.passed)
    parts = [f"visible points {earned:g} of {total['visible']:g}"]
    if total["hidden"]:
        parts.append(f"{total['hidden']:g} more are decided by hidden checks")
    if total["by hand"]:
        parts.append(f"{total['by hand']:g} by hand")
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
