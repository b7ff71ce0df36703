"""The five verbs against a student's process: what `mg9.checks.Local` is in a notebook, for the grader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mg9.checks import CheckFailed, WrongKind
from mg9.checks.wire import Handle

from .kernel import Kernel


class Remote:
    """Asks the kernel; `seconds()` is how long the next call may take."""

    def __init__(self, kernel: Kernel, budget: str, seconds: Callable[[], float]) -> None:
        self.kernel, self.budget, self.seconds = kernel, budget, seconds

    def object(self, name: str) -> Any:
        """An object of the student's namespace: a value, or a `Handle` of what can be called."""
        return self.kernel.ask("object", name, seconds=self.seconds())

    def call(self, f: Handle, *values: Any) -> Any:
        """`f(*values)`."""
        return self._ask("call", f, *values)

    def make(self, cls: Handle, seed: int, dtype: torch.dtype, **arguments: Any) -> Handle:
        """`cls(**arguments)` with the given seed and dtype."""
        return self._ask("make", cls, seed, str(dtype).removeprefix("torch."), arguments)

    def state(self, module: Handle) -> dict[str, Tensor]:
        """The module's parameters and buffers by name."""
        return self._ask("state", module)

    def load(self, module: Handle, state: dict[str, Tensor]) -> None:
        """Give the module these parameters."""
        self._ask("load", module, state)

    def vjp(self, f: Handle, values: tuple, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """d(cotangent . f(*values)) / d(value) for each floating-point value."""
        found = self._ask("vjp", f, values, cotangent)
        if not isinstance(found, tuple) or len(found) != len(values):
            raise WrongKind("the gradients did not come back")
        return found

    def _ask(self, verb: str, thing: Any, *values: Any) -> Any:
        if not isinstance(thing, Handle):
            raise WrongKind(
                "a function or class is needed here", expected="def or class", got=type(thing).__name__
            )
        try:
            return self.kernel.ask(verb, thing, *values, seconds=self.seconds())
        except CheckFailed as failure:
            if failure.state == "time":
                failure.what = f"{thing.title}: {failure.what}"
            raise
