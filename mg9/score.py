"""What a student's notebook earns so far: run it in a kernel of its own, then read its graded cells.

A graded cell is locked and carries its points in the metadata of nbgrader. Three kinds:

- visible: the cell calls `check("name", ...)`; it passed if it ran without an error;
- hidden:  the cell shows no such call; the grader decides later;
- by hand: the student writes an answer, an instructor reads it.
"""

import asyncio
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm

CHECK_CALL = re.compile(r"""^[ \t]*(?:\w+[ \t]*=[ \t]*)?(?:\w+\.)?check\(\s*["']([^"']+)["']""", re.MULTILINE)
QUIET_KERNEL = ["--IPKernelApp.log_level=CRITICAL"]  # no warnings that a student can do nothing about
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class UnreadableNotebook(ValueError):
    """The file is not a notebook that can be scored; the message says why and what to do."""


@dataclass(frozen=True)
class Question:
    """One graded cell. `passed` is None where the cell did not run, or does not show its check."""

    id: str
    kind: Literal["visible", "hidden", "by hand"]
    points: float
    check: str = ""
    passed: bool | None = None
    message: str = ""


def read(path: Path) -> NotebookNode:
    """The notebook at `path` in nbformat 4, or UnreadableNotebook."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnreadableNotebook(f"{path}: no such file; check the spelling and the folder") from None
    except IsADirectoryError:
        raise UnreadableNotebook(f"{path}: is a folder; name the notebook (.ipynb) in it") from None
    except UnicodeDecodeError:
        raise UnreadableNotebook(
            f"{path}: not a text file, so not a notebook; export it again as .ipynb"
        ) from None
    except OSError as error:
        raise UnreadableNotebook(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises whatever a malformed tree runs into
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UnreadableNotebook(
            f"{path}: not a valid notebook ({reason}); download it again, or copy your cells into a fresh one"
        ) from None
    return notebook


def run(notebook: NotebookNode, folder: Path, *, full: bool = False, timeout: int = 600) -> str:
    """Execute `notebook` in place, in `folder`, going on after errors.

    The training budget is tiny unless `full`. A cell that takes longer than `timeout` seconds is interrupted.
    Returns an empty string, or in words why the rest of the notebook did not run.
    """
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=timeout,
        interrupt_on_timeout=True,
        allow_errors=True,
        extra_arguments=QUIET_KERNEL,
        kernel_name="python3",  # the Python that mg9 is installed in, whatever the notebook was made with
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        return asyncio.run(_execute(client, os.environ | {"MG9_BUDGET": "full" if full else "tiny"}))
    except KeyboardInterrupt:
        return "stopped by a second Ctrl-C"


async def _execute(client: NotebookClient, environment: dict[str, str]) -> str:
    """All of a run in one task, which asyncio.run cancels on Ctrl-C.

    nbclient's own blocking calls leave their task pending on Ctrl-C; it wakes while the kernel is shut down
    and complains on stderr that the kernel died.
    """
    where = "before the first cell"
    client.create_kernel_manager()
    try:
        await client.async_start_new_kernel(env=environment)
        await client.async_start_new_kernel_client()
        with tqdm(client.nb.cells, desc="running", unit="cell", disable=None, leave=False) as bar:
            for index, cell in enumerate(bar):
                where = f"in cell {index + 1}"
                bar.set_postfix_str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))
                await client.async_execute_cell(cell, index)
    except (asyncio.CancelledError, DeadKernelError, RuntimeError):
        if asyncio.current_task().cancelling():  # nbclient reports a cancelled cell as a dead kernel
            return f"stopped by Ctrl-C {where}"
        return f"the kernel died {where}: out of memory, or ended by the cell; `mg9 doctor` tries a kernel"
    finally:
        await client._async_cleanup_kernel()
    return ""


def questions(notebook: NotebookNode) -> list[Question]:
    """The graded cells of an executed notebook, in its order; the copy of a cell does not count twice."""
    found: dict[str, Question] = {}
    for number, cell in enumerate(notebook.cells, 1):
        graded = cell.metadata.get("nbgrader", {})
        if not (graded.get("grade") or graded.get("task")):
            continue
        name = graded.get("grade_id", f"cell {number}")
        points = graded.get("points", 0)
        call = CHECK_CALL.search(cell.source)
        if graded.get("solution") or graded.get("task"):
            question = Question(name, "by hand", points)
        elif call is None:
            question = Question(name, "hidden", points)
        else:
            error = error_of(cell)
            passed = not error if cell.execution_count is not None else None
            question = Question(name, "visible", points, call[1], passed, error)
        found.setdefault(name, question)
    return list(found.values())


def copies(notebook: NotebookNode) -> list[str]:
    """Grade ids that more than one cell carries."""
    ids = (cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells)
    return [name for name, count in Counter(ids).items() if name and count > 1]


def error_of(cell: NotebookNode) -> str:
    """What went wrong in an executed cell, in words; empty if nothing did."""
    for output in cell.get("outputs", []):
        if output.output_type != "error":
            continue
        text = TERMINAL_COLOURS.sub("", output.evalue).strip()
        match output.ename:
            case "CheckFailed":  # its traceback is the message for students, with their own lines
                return "\n".join(output.traceback) or text
            case "AssertionError":
                return text or "an assertion does not hold"
            case "NotImplementedError":
                return f"not written yet{': ' * bool(text)}{text}"
            case "KeyboardInterrupt":
                return "took too long and was stopped (--timeout allows more)"
            case name:
                return f"{name}: {text}" if text else name
    return ""


def first_error(notebook: NotebookNode) -> str:
    """The first cell outside the graded ones that failed: what fails later often follows from it."""
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("grade"):
            if error := error_of(cell):
                name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
                return f"cell {number}{f' ({name})' * bool(name)}: {error}"
    return ""
