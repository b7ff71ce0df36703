"""What the loaders of published weights share: files in the cache, and predictions in batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from mg9.a_graph import batch_graphs
from mg9.data.cache import ChecksumError
from mg9.data.store import write_atomically

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data


class Property(NamedTuple):
    """What a released model predicts, and how its output, scaled back, becomes that."""

    quantity: str
    unit: str
    from_output: Callable[[Tensor], Tensor] = lambda output: output


def verify_content(content: bytes, sha256: str, file: str) -> None:
    """Errors: `ChecksumError` if these bytes are not the pinned file."""
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise ChecksumError(f"{file} is not the pinned file: expected sha256 {sha256}, got {got}")


def keep(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a converted state with what is known about it, as safetensors."""
    from safetensors.torch import save

    contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
    write_atomically(path, save(contiguous, metadata={"about": json.dumps(dict(about))}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state and what is known about it. Errors: ValueError for a damaged file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}
            return state, json.loads(file.metadata()["about"])
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it; it is then made again") from None


def ready(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """In the dtype asked for (torch's by default), for evaluation, its parameters fixed."""
    return model.to(dtype or torch.get_default_dtype()).eval().requires_grad_(False)


def in_batches(
    model: Callable[[Data], Tensor],
    structures: Structure | Sequence[Structure],
    graph: Callable[..., Data],
    *,
    batch_size: int,
    dtype: torch.dtype,
    label: str,
) -> Tensor:
    """The model's output for each structure, (B, ...) in float64, with a progress bar."""
    from pymatgen.core import Structure
    from tqdm.auto import tqdm

    if isinstance(structures, Structure):
        structures = [structures]
    parts = [torch.empty(0, dtype=torch.float64)]
    starts = range(0, len(structures), batch_size)
    for start in tqdm(starts, desc=label, unit="batch", delay=2, leave=False):
        chunk = enumerate(structures[start : start + batch_size], start)
        batch = batch_graphs([graph(one, name=f"structure {k}", dtype=dtype) for k, one in chunk])
        with torch.no_grad():
            parts.append(model(batch).double())
    return torch.cat(parts)
