"""Students' objects as they are when they live in another process, to hold checks to the five verbs."""

import numpy as np
import torch

from mg9.checks import Local


class Handle:
    """Stands for a student's object that lives in another process: it can be passed on and nothing else."""

    def __init__(self, thing) -> None:
        object.__setattr__(self, "_Handle__thing", thing)

    def __getattribute__(self, name):
        if name in ("_Handle__thing", "__class__"):
            return object.__getattribute__(self, name)
        raise AttributeError(f"a check used .{name} of a student's object")


def thing_of(handle: Handle):
    return handle._Handle__thing


def handed(thing):
    """As the grader hands it to a check: what can be called stays in the other process."""
    return Handle(thing) if callable(thing) else thing


def plain(value) -> bool:
    """May cross between processes: numbers, strings, arrays, tensors, and tuples, lists, dicts of these."""
    if isinstance(value, tuple | list):
        return all(plain(part) for part in value)
    if isinstance(value, dict):
        return all(plain(key) and plain(part) for key, part in value.items())
    return value is None or isinstance(value, bool | int | float | str | np.ndarray | torch.Tensor)


class Across:
    """The five verbs with handles; whatever else crosses must be plain values."""

    budget = "full"

    def __init__(self) -> None:
        self.local = Local()

    def call(self, f, *values):
        assert plain(values), values
        answer = self.local.call(thing_of(f), *values)
        assert plain(answer), answer
        return answer

    def make(self, cls, seed, dtype, **arguments):
        assert plain(arguments)
        return Handle(self.local.make(thing_of(cls), seed, dtype, **arguments))

    def state(self, module):
        return self.local.state(thing_of(module))

    def load(self, module, state):
        assert plain(state)
        self.local.load(thing_of(module), state)

    def vjp(self, f, values, cotangent):
        assert plain(values) and plain(cotangent)
        return self.local.vjp(thing_of(f), values, cotangent)
