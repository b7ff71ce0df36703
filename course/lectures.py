"""Run the lectures, and store what they print and draw: python -m course.lectures lectures/D_cgcnn.ipynb

A lecture is committed with its outputs. This command runs it from a fresh kernel, takes out of the outputs
what belongs to one machine or one moment, writes the time and memory that it took into its header and the
registry's figures into its quotations, and stores it. Where a cell tagged "nbval-check-output" prints
something else than before, or a cell fails, it stores nothing and says which cell; --accept stores the new
output.

Read in order: `refresh`, `run`, `clean`, `state_measured`, `quote`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

from course.registry import Figure, literature

CHECKED, LIVE = "nbval-check-output", "live"  # tags: printed the same everywhere; differs with every run
MEASURED = re.compile(r"^\| \*\*Measured\*\* \|.*\|$", re.M)
QUOTED = re.compile(r"^> \*\*The paper\*\* \(`([\w-]+)`\).*$", re.M)
USED = """import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)"""


class Changed(RuntimeError):
    """A checked cell printed something else than what is stored."""


def refresh(path: Path, *, accept: bool = False) -> str:
    """Run a lecture, store its outputs, and return a line about it.

    Errors: `Changed`; nbclient's CellExecutionError, which holds the cell and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    before = {cell.id: printed(cell) for cell in notebook.cells if CHECKED in tags(cell)}
    seconds, gigabytes = run(notebook, path.parent)
    clean(notebook)
    changed = [cell for cell in notebook.cells if before.get(cell.id) not in (None, "", printed(cell))]
    if changed and not accept:
        cell = changed[0]
        raise Changed(f"cell {cell.id} printed\n{printed(cell)}instead of\n{before[cell.id]}")
    state_measured(notebook, seconds, gigabytes)
    quote(notebook)
    nbformat.write(notebook, path)
    return f"{path.name}: {seconds:.0f} s, {gigabytes:.1f} GB, {len(before)} checked cells"


def run(notebook: NotebookNode, folder: Path) -> tuple[float, float]:
    """Run every cell in its folder, in a fresh kernel: its processor time in seconds, which other users
    of the machine hardly change, and its largest memory in GB."""
    client = NotebookClient(
        notebook,
        timeout=900,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
    )
    notebook.metadata.pop("widgets", None)
    with client.setup_kernel():
        for number, cell in enumerate(tqdm(notebook.cells, desc=folder.name, unit="cell")):
            client.execute_cell(cell, number)
        notebook.cells.append(nbformat.v4.new_code_cell(USED))
        used = printed(client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1))
        notebook.cells.pop()
    seconds, memory = map(float, used.split())
    return seconds, memory / (2**30 if sys.platform == "darwin" else 2**20)  # bytes there, else kilobytes


def clean(notebook: NotebookNode) -> None:
    """Leave in the outputs only what is the same for every reader: no warnings and progress bars, no live
    widgets, nothing of cells tagged "live"."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in ("slideshow", "tags") if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            drop = LIVE in tags(cell)
            cell.outputs = [] if drop else [one for one in cell.outputs if one.get("name") != "stderr"]
            for output in cell.outputs:
                if output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None):
                    output.data.pop("text/plain", None)  # names Python objects; of a progress bar it is all
            cell.outputs = joined([one for one in cell.outputs if one.get("data", True)])


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """What was printed in several pieces, as the kernel happened to send it, in one."""
    whole: list[NotebookNode] = []
    for output in outputs:
        if whole and output.output_type == whole[-1].output_type == "stream":
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def state_measured(notebook: NotebookNode, seconds: float, gigabytes: float) -> None:
    """Write what was measured into the line "| **Measured** | ... |" of the header: seconds rounded up to
    tens, so that another run seldom changes it."""
    took = f"{10 * math.ceil(seconds / 10)} s of processor time"
    line = f"| **Measured** | {took}, {math.ceil(10 * gigabytes) / 10:.1f} GB of memory, no GPU |"
    notebook.cells[0].source = MEASURED.sub(line, notebook.cells[0].source)


def quote(notebook: NotebookNode) -> None:
    """Bring every line "> **The paper** (`key`)..." up to date with literature.toml."""
    figures = literature()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = QUOTED.sub(lambda found: quotation(figures[found[1]]), cell.source)


def quotation(figure: Figure) -> str:
    """A figure of literature.toml as a line of a lecture, with its data set, size and split."""
    about = [figure.data, f"{figure.train:,} training examples" if figure.train else "", figure.split]
    values = figure.value if isinstance(figure.value, tuple) else (figure.value,)  # two: a range
    number = " to ".join(one if isinstance(one, str) else f"{one:,.12g}" for one in values)
    value = " ".join(filter(None, (number, figure.unit)))
    source = ", ".join(filter(None, (figure.source, figure.where)))
    line = f"> **The paper** (`{figure.key}`): {figure.quantity}: {value}"
    line += f" ({'; '.join(filter(None, about))})" if any(about) else ""
    line += f" [{source}{'' if figure.verified else '; second-hand'}]."
    return line + (f" It differs from the slide: {figure.differs}." if figure.differs else "")


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def printed(cell: NotebookNode) -> str:
    """All text that a cell printed."""
    return "".join(one.get("text", "") for one in cell.get("outputs", []) if one.output_type == "stream")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m course.lectures",
        description="Run lectures at the full training budget and store their outputs.",
        epilog="Example: python -m course.lectures --accept lectures/D_cgcnn.ipynb",
    )
    parser.add_argument("notebook", type=Path, nargs="+")
    parser.add_argument("--accept", action="store_true", help="store what checked cells print now")
    options = parser.parse_args()
    failed = False
    for path in options.notebook:
        try:
            print(refresh(path, accept=options.accept), flush=True)
        except (Changed, CellExecutionError) as error:
            failed = True
            print(f"{path}: not stored: {error}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
