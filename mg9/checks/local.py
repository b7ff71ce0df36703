"""The five verbs by which a check touches a student's object, in the student's own process."""

from __future__ import annotations

import copy
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mg9.checks import wire
from mg9.checks.failures import CheckFailed, Raised, Refused, WrongKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


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
        modules = [sys.modules.get(name) for name in (__name__, "torch", "numpy")]
        libraries = tuple(os.path.dirname(module.__file__) for module in modules if module)
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(libraries)
        ]
        failure.student_lines = [f"{frame.name}, line {frame.lineno}: {frame.line}" for frame in frames[:3]]
        raise failure from error
