"""Checks: statements of physics about a function or class that a student wrote.

A graded cell is one call, ``check("convolution.sum", GatedConvolution)``. The check feeds the object with
crystals, compares what comes back, and either prints one line or raises `CheckFailed`, which says what is
wrong, on which crystal, what was expected, what usually causes it, and which slide to reread.

Read in order: `Check`, `register` and `check` here; `local.py`, the five verbs by which a check touches the
student's object, and nothing else; `failures.py`, what a student reads; `wire.py`, what may cross; then the
checks by topic, such as `graph.py` and `convolution.py`.

A check never uses the student's object directly. It goes through an adapter with five verbs: `Local` in the
student's own notebook, and in the grader one that asks another process, where `agent.py` answers. The same
values cross in both: numbers, text, arrays, tensors, and tuples and dictionaries of these.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from mg9.checks.failures import CheckFailed, Raised, Refused, WrongKind
from mg9.checks.local import Local, copied

__all__ = [
    "REGISTRY",
    "Check",
    "CheckFailed",
    "Local",
    "Raised",
    "Refused",
    "WrongKind",
    "check",
    "find",
    "register",
]


CheckFunction = Callable[..., str]


@dataclass(frozen=True)
class Check:
    """One registered statement: `function(student, rng, *objects)` returns the line to print or raises
    `CheckFailed`."""

    name: str
    slide: int
    outcome: int
    cause: str
    function: CheckFunction


REGISTRY: dict[str, Check] = {}


def register(name: str, *, slide: int, outcome: int, cause: str) -> Callable[[CheckFunction], CheckFunction]:
    """Enter a check into `REGISTRY`: the slide to reread, the learning outcome of slide 03, and the usual
    cause of a failure."""

    def enter(function: CheckFunction) -> CheckFunction:
        if name in REGISTRY and REGISTRY[name].function.__module__ != function.__module__:
            raise ValueError(f"two checks are called {name!r}; rename one")
        REGISTRY[name] = Check(name, slide, outcome, cause, function)
        return function

    return enter


def find(name: str) -> Check:
    """The check of that name: the visible ones of `mg9.checks`, then those of installed packages (the
    instructors' hidden ones)."""
    for topic in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{topic.name}")
    if name not in REGISTRY:
        for plugin in entry_points(group="mg9.checks"):
            plugin.load()
    if name not in REGISTRY:
        raise KeyError(f"no check is called {name!r}; the visible ones are {', '.join(sorted(REGISTRY))}")
    return REGISTRY[name]


def check(name: str, *objects: Any) -> None:
    """Hold `objects` to the check `name`: print one line if it holds, raise `CheckFailed` if not.

    Random crystals and rotations are drawn from the seed in the environment variable MG9_CHECK_SEED (0 in
    a notebook).
    """
    found = find(name)
    rng = np.random.default_rng(int(os.environ.get("MG9_CHECK_SEED", "0")))
    try:
        says = found.function(Local(), rng, *(copied(thing) for thing in objects))
    except CheckFailed as failure:
        failure.told_by(found)
        raise
    print(f"passed  {name}: {says}")
