"""A run of training in a file (slide 50): written after each epoch, read again after the kernel died.

Read in order: `save`, `resume`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def save(path: Path | None, label: dict, model: nn.Module, best: State, progress: dict, parts: dict) -> None:
    """Write beside, then replace: a kernel that dies while writing leaves the previous checkpoint (slide 50).

    path: None writes nothing; label: what makes this run another than others; progress: plain values; parts:
    objects with a state_dict, the optimizer for instance.
    """
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    state = {"run": label, "progress": progress, "best": best, "random": torch.get_rng_state()}
    state |= {"model": model.state_dict()} | {name: part.state_dict() for name, part in parts.items()}
    torch.save(state, beside)
    beside.replace(path)


def resume(path: Path | None, label: dict, model: nn.Module, parts: dict) -> tuple[State, dict[str, Any]]:
    """The best state and the progress of an earlier part of this run; sets model and parts (slide 50).

    Where there is none: the model as it is, and an empty dict. Errors: ValueError for a file of another run.
    """
    if path is None or not path.exists():
        return copy_of(model), {}
    try:
        state = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is not a checkpoint; delete it or choose another name") from error
    if state["run"] != label or _shapes(state["model"]) != _shapes(model.state_dict()):
        raise ValueError(f"{path} belongs to another run ({state['run']}); delete it or choose another name")
    torch.set_rng_state(state["random"])
    model.load_state_dict(state["model"])
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["best"], state["progress"]


def copy_of(model: nn.Module) -> State:
    """The state of a model as it is now, untouched by further training."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def fingerprint(arrays: Iterable[np.ndarray]) -> str:
    """Sixteen characters that differ where the arrays do."""
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
