"""What is agreed before a submission is run, and what comes of it. Data only: it imports next to nothing.

Read in order: `Terms`, `Run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nbformat import NotebookNode

from .bubblewrap import Limits
from .result import Result


@dataclass(frozen=True)
class Terms:
    """The conditions under which a class is graded; recorded with each mark."""

    full: bool = False  # the notebook's full training budget instead of the tiny one
    seed: int = 0  # checks draw their crystals and rotations from it
    cell_seconds: int = 120
    total_seconds: int = 600
    threads: int = 1
    call_seconds: int = 60  # one call of a student's function by a check
    restarts: int = 5  # how many times a kernel that died is replaced
    limits: Limits = Limits()
    unsandboxed: bool = False

    @property
    def budget(self) -> str:
        """As in the environment variable MG9_BUDGET."""
        return "full" if self.full else "tiny"


@dataclass(frozen=True)
class Run:
    """What came of it: the notebook with outputs (one line or one error in each graded cell)."""

    notebook: NotebookNode
    stopped: str  # what ended the student's process, or why not all cells were run; "" if nothing
    seconds: float
    results: dict[str, Result] = field(default_factory=dict)  # by grade id, in the notebook's order
    sandboxed: bool = False
