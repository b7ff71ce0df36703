"""Run one submission and say which graded cells hold. `grade` is the one function that touches student code.

`grade(submission, terms) -> Run` depends on its arguments only: it opens no gradebook and leaves nothing
behind, so that any number of them can run at once, here or elsewhere, and another way to execute can take its
place.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.utils import is_grade, is_solution

from .ingest import Submission
from .result import Result


@dataclass(frozen=True)
class Terms:
    """The conditions under which a class is graded; recorded with each mark."""

    full: bool = False  # the notebook's full training budget instead of the tiny one
    seed: int = 0  # checks draw their crystals and rotations from it
    cell_seconds: int = 120
    total_seconds: int = 600
    threads: int = 1


@dataclass(frozen=True)
class Run:
    """What came of it: the notebook with outputs (`error` outputs in the graded cells that do not hold)."""

    notebook: NotebookNode
    stopped: str  # why not all cells were run, "" if they were
    seconds: float
    results: dict[str, Result] = field(default_factory=dict)  # by grade id, in the notebook's order
    sandboxed: bool = False


def grade(submission: Submission, terms: Terms) -> Run:
    """Run the submission's cells in a kernel of their own, in an empty folder, under `terms`.

    A graded cell holds if it ran to its end without an error. What it prints on stderr costs nothing; a cell
    that was not run, for whatever reason, does not hold.
    """
    notebook, start, ran = deepcopy(submission.notebook), time.monotonic(), set()
    stopped = ""

    def executed(cell: NotebookNode, cell_index: int, execute_reply: dict) -> None:
        content = execute_reply["content"]
        if content["status"] == "ok":
            ran.add(cell_index)
        elif not any(output.output_type == "error" for output in cell.outputs):
            cell.outputs.append(_error(content.get("ename", "Error"), content.get("evalue", "")))

    with tempfile.TemporaryDirectory(prefix="mg9-grade-", ignore_cleanup_errors=True) as place:
        work = Path(place) / "work"
        work.mkdir()
        client = NotebookClient(
            notebook,
            resources={"metadata": {"path": str(work)}},
            kernel_name="python3",
            extra_arguments=["--HistoryManager.hist_file=:memory:", "--log-level=40"],
            allow_errors=True,
            timeout_func=lambda _: int(
                max(1, min(terms.cell_seconds, start + terms.total_seconds - time.monotonic()))
            ),
            interrupt_on_timeout=True,
            error_on_timeout={
                "ename": "TimeLimit",
                "evalue": f"stopped after {terms.cell_seconds} s",
                "traceback": [],
            },
            iopub_timeout=5,
            raise_on_iopub_timeout=True,
            shutdown_kernel="immediate",
            on_cell_executed=executed,
        )
        try:
            client.execute(env=environment(terms, place))
        except DeadKernelError:
            stopped = "the kernel died: out of memory, or the code ended it"
        except CellTimeoutError:
            stopped = "a cell ran on after its time was over"
        except Exception as error:
            stopped = f"the kernel could not be used: {type(error).__name__}: {error}"
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            _settle(cell, number in ran, stopped)
    return Run(notebook, stopped, time.monotonic() - start)


def environment(terms: Terms, place: str) -> dict[str, str]:
    """The variables of the student's process. IPython's own folder is empty, so that no startup file runs."""
    return os.environ | {
        "MG9_BUDGET": "full" if terms.full else "tiny",
        "MG9_CHECK_SEED": str(terms.seed),
        "NBGRADER_EXECUTION": "autograde",
        "IPYTHONDIR": os.path.join(place, "ipython"),
        "OMP_NUM_THREADS": str(terms.threads),
    }


def _settle(cell: NotebookNode, ran: bool, stopped: str) -> None:
    """Leave in a graded cell what its points follow from: nothing but output on stdout, or one error."""
    for output in cell.outputs:
        if output.output_type == "error":
            output.evalue = re.sub(r"\x1b\[[0-9;]*m", "", output.evalue)
    if not is_grade(cell) or is_solution(cell):
        return
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if not ran and not errors:
        errors = [_error("NotRun", stopped or "this cell was not run")]
    printed = [
        output for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
    ]
    cell.outputs = errors[:1] or printed


def _error(name: str, message: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])
