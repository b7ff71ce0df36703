"""Checks: statements of physics about a function or class that a student wrote.

A graded cell is one call, ``check("convolution.sum", GatedConvolution)``. The check feeds the object with
crystals, compares what comes back, and either prints one line or raises `CheckFailed`, which says what is
wrong, on which crystal, what was expected, what usually causes it, and which slide to reread.

Read in order: `Check` and `register` (how a check is written), `Local` (the five verbs by which a check
touches the student's object, and nothing else), `check` (what a cell calls), then the checks by topic:
`graph.py`, `convolution.py`, `evaluation.py`; `magpie.py`, `ladder.py`, `report.py`.

A check never uses the student's object directly. It goes through an adapter with five verbs; `Local` runs
in the student's own notebook. Values that cross are numbers, strings, arrays, tensors, and tuples and
dicts of these.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["REGISTRY", "Check", "CheckFailed", "Local", "check", "find", "register"]


class CheckFailed(AssertionError):
    """What does not hold, where, expected and got (with units), the usual cause, the slide."""

    def __init__(self, what: str, *, crystal: str = "", expected: object = None, got: object = None) -> None:
        super().__init__(what)
        self.what, self.crystal, self.expected, self.got = what, crystal, expected, got
        self.name, self.cause, self.slide = "", "", 0
        self.student_lines: list[str] = []

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.what}" if self.name else self.what]
        if self.crystal:
            lines.append(f"  where: {self.crystal}")
        if self.expected is not None:
            lines.append(f"  expected {self.expected}, got {self.got}")
        if self.cause:
            lines.append(f"  usual cause: {self.cause}")
        if self.slide:
            lines.append(f"  reread slide {self.slide:02d}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a stack of the grader's own frames."""
        return str(self).splitlines() + [f"  in your code: {line}" for line in self.student_lines]


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


class Local:
    """The five verbs, in the student's own process."""

    def call(self, f: Callable[..., Any], *values: Any) -> Any:
        """`f(*values)` on copies, so that a function that changes its input in place harms nobody."""
        with _in_float64():
            return _guarded(f, lambda: f(*copy.deepcopy(values)))

    def make(self, cls: type[nn.Module], seed: int, dtype: torch.dtype, **arguments: Any) -> nn.Module:
        """`cls(**arguments)` with the given seed and dtype; the caller's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _guarded(cls, lambda: cls(**arguments).to(dtype))

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's parameters and buffers by name, as copies."""
        return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Give the module these parameters; another set of names or shapes is a failed check that lists
        them."""
        own = {name: tuple(t.shape) for name, t in module.state_dict().items()}
        wanted = {name: tuple(t.shape) for name, t in state.items()}
        if own != wanted:
            raise CheckFailed("the parameters have other names or shapes", expected=wanted, got=own)
        module.load_state_dict(state)

    def vjp(self, f: Callable[..., Any], values: tuple, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """d(cotangent . f(*values)) / d(value) for each floating-point value; None where f does not depend
        on it."""
        values = tuple(v.clone().requires_grad_() if _differentiable(v) else v for v in values)
        wanted = [v for v in values if _differentiable(v)]

        def gradients() -> tuple[Tensor | None, ...]:
            return torch.autograd.grad((f(*values) * cotangent).sum(), wanted, allow_unused=True)

        with _in_float64():
            found = iter(_guarded(f, gradients))
        return tuple(next(found) if _differentiable(v) else None for v in values)


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
        says = found.function(Local(), rng, *objects)
    except CheckFailed as failure:
        failure.name, failure.slide, failure.cause = name, found.slide, found.cause
        raise
    print(f"passed  {name}: {says}")


@contextmanager
def _in_float64() -> Iterator[None]:
    """What the student's code makes with `torch.zeros(n)` has the type of what it is given."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _differentiable(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _guarded(f: Callable[..., Any], run: Callable[[], Any]) -> Any:
    """Run the student's code; an exception in it becomes a failed check that names the student's line."""
    try:
        return run()
    except CheckFailed:
        raise
    except Exception as error:
        title = getattr(f, "__name__", type(f).__name__)
        failure = CheckFailed(f"{title} raised {type(error).__name__}: {error}")
        file, library = inspect.getsourcefile(check), os.path.dirname(torch.__file__)
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename != file and not frame.filename.startswith(library)
        ]
        failure.student_lines = [f"{frame.name}, line {frame.lineno}: {frame.line}" for frame in frames[:3]]
        raise failure from error
