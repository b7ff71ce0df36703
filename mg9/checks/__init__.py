"""Checks: statements of physics about a function or class that a student wrote.

A graded cell is one call, ``check("convolution.sum", GatedConvolution)``. The check feeds the object with
crystals, compares what comes back, and either prints one line or raises `CheckFailed`, which says what is
wrong, on which crystal, what was expected, what usually causes it, and which slide to reread.

Read in order: `Check` and `register` (how a check is written), `Local` (the five verbs by which a check
touches the student's object, and nothing else), `check` (what a cell calls), `wire.py` (what may cross), then
the checks by topic: `graph.py`, `convolution.py`, `evaluation.py`; `magpie.py`, `ladder.py`, `report.py`.

A check never uses the student's object directly. It goes through an adapter with five verbs: `Local` in the
student's own notebook, and in the grader one that asks another process, where `agent.py` answers. The same
values cross in both: numbers, text, arrays, tensors, and tuples and dictionaries of these.
"""

from __future__ import annotations

import copy
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from mg9.checks import wire

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

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


class CheckFailed(AssertionError):
    """What does not hold, where, expected and got (with units), the usual cause, the slide.

    `cause` takes the place of the check's usual one. `figure` is a picture in plain numbers, for the page of
    feedback: {"kind": "parity", "x": [...], "y": [...], "unit": "eV/atom"}.
    """

    state = "failed"

    def __init__(
        self,
        what: str,
        *,
        crystal: str = "",
        expected: object = None,
        got: object = None,
        cause: str | None = None,
        figure: dict | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.crystal, self.expected, self.got = what, crystal, expected, got
        self.name, self.cause, self.slide, self.figure = "", cause, 0, figure
        self.student_lines: list[str] = []

    def told_by(self, check: Check) -> CheckFailed:
        """The same failure with the name and the slide of the check, and its usual cause if that fits."""
        self.name, self.slide = check.name, check.slide
        self.cause = check.cause if self.cause is None else self.cause
        return self

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


class WrongKind(CheckFailed):
    """Not the kind of thing that was asked for (None, a list, whole numbers); a check's usual cause does not
    explain that."""

    def __init__(self, what: str, **more: Any) -> None:
        super().__init__(what, **({"cause": ""} | more))


class Raised(WrongKind):
    """The student's code raised an exception."""

    state = "error"


class Refused(WrongKind):
    """A value that may not cross (see `wire.py`)."""

    state = "refused"


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

    @property
    def budget(self) -> str:
        """ "full" or "tiny": how much the student's network was trained."""
        return os.environ.get("MG9_BUDGET", "full")

    def call(self, f: Callable[..., Any], *values: Any) -> Any:
        """`f(*values)` on copies, so that a function that changes its input in place harms nobody. What comes
        back is a copy, too: a plain value as `wire.py` lists them, or what can be called."""
        with _in_float64():
            return copied(_guarded(f, lambda: f(*copy.deepcopy(values))))

    def make(self, cls: type[nn.Module], seed: int, dtype: torch.dtype, **arguments: Any) -> nn.Module:
        """`cls(**arguments)` with the given seed and dtype; the caller's random state is left as it was."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _guarded(cls, lambda: cls(**arguments).to(dtype))

    def state(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's parameters and buffers by name, as copies."""
        return _guarded(module, lambda: {k: t.detach().clone() for k, t in module.state_dict().items()})

    def load(self, module: nn.Module, state: dict[str, Tensor]) -> None:
        """Give the module these parameters; another set of names or shapes is a failed check that lists
        them."""
        own = {name: tuple(t.shape) for name, t in self.state(module).items()}
        wanted = {name: tuple(t.shape) for name, t in state.items()}
        if own != wanted:
            raise WrongKind("the parameters have other names or shapes", expected=wanted, got=own)
        _guarded(module, lambda: module.load_state_dict(state))

    def vjp(self, f: Callable[..., Any], values: tuple, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """d(cotangent . f(*values)) / d(value) for each floating-point value; None where f does not depend
        on it. As in `call`, f may change its arguments in place."""
        import torch

        leaves = [v.clone().requires_grad_() if _differentiable(v) else v for v in values]
        wanted = [v for v in leaves if _differentiable(v)]

        def gradients() -> tuple[Tensor | None, ...]:
            answer = f(*(v.clone() if isinstance(v, torch.Tensor) else v for v in leaves))
            return torch.autograd.grad((answer * cotangent).sum(), wanted, allow_unused=True)

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
        says = found.function(Local(), rng, *(copied(thing) for thing in objects))
    except CheckFailed as failure:
        failure.told_by(found)
        raise
    print(f"passed  {name}: {says}")


def copied(value: Any) -> Any:
    """A plain value as a copy, what can be called as it is. Raises `Refused`, as the grader does."""
    if callable(value):
        return value
    kept: list[Any] = []

    def keep(thing: Any) -> wire.Handle:
        kept.append(thing)
        return wire.Handle(len(kept) - 1, "")

    try:
        return wire.decode(*wire.encode(value, keep), lambda handle: kept[handle.number])
    except wire.CannotCross as error:
        raise Refused(str(error)) from None


@contextmanager
def _in_float64() -> Iterator[None]:
    """What the student's code makes with `torch.zeros(n)` has the type of what it is given."""
    torch = sys.modules.get("torch")
    if torch is None:  # then the student's code does not use it either
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _differentiable(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor) and value.is_floating_point()


def _guarded(f: Callable[..., Any], run: Callable[[], Any]) -> Any:
    """Run the student's code; an exception in it becomes a failed check that names the student's line."""
    try:
        return run()
    except CheckFailed:
        raise
    except (Exception, SystemExit) as error:
        title = getattr(f, "__name__", type(f).__name__)
        failure = Raised(f"{title} raised {type(error).__name__}: {error}")
        torch = sys.modules.get("torch")
        libraries = tuple(os.path.dirname(file) for file in (__file__, torch and torch.__file__) if file)
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(libraries)
        ]
        failure.student_lines = [f"{frame.name}, line {frame.lineno}: {frame.line}" for frame in frames[:3]]
        raise failure from error
