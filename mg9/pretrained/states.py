"""What the loaders of published weights share: files in the cache, and predictions in batches.

Read in order: `Property`, `ReleasedModel`; then the files: `placed`, `tensors`, `keep`, `read`, `ready`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mg9.a_graph import batch_graphs
from mg9.data.cache import ChecksumError, FetchError, folder
from mg9.data.store import write_atomically

if TYPE_CHECKING:
    from pymatgen.core import Structure
    from torch_geometric.data import Data


class Property(NamedTuple):
    """What a released model predicts, and how its output, scaled back, becomes that."""

    quantity: str
    unit: str
    from_output: Callable[[Tensor], Tensor] = lambda output: output


@dataclass(frozen=True, kw_only=True)
class ReleasedModel:
    """A network with its published weights.

    model: graph or batch to (B,); model(graph) * std + mean is the quantity that was trained on: eV/atom, eV,
    log10 of GPa, or for a classifier the logit. says: what that becomes. rule: how a graph was published to
    be made of a structure.
    """

    name: str
    model: nn.Module
    says: Property
    rule: Callable[..., Data]
    mean: float = 0.0
    std: float = 1.0

    @property
    def quantity(self) -> str:
        return self.says.quantity

    @property
    def unit(self) -> str:
        return self.says.unit

    def predict(
        self,
        structures: Structure | Sequence[Structure],
        *,
        graph: Callable[..., Data] | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """The property of each crystal (B,) in `unit`, float64, with a progress bar.

        graph: another rule for the graph. Errors: those of the rule, which name the structure by its place in
        the list (an atom without a neighbour, for one); `UnknownElement` where training did not show one.
        """
        from pymatgen.core import Structure
        from tqdm.auto import tqdm

        if isinstance(structures, Structure):
            structures = [structures]
        graph, dtype = graph or self.rule, next(self.model.parameters()).dtype
        parts = [torch.empty(0, dtype=torch.float64)]
        starts = range(0, len(structures), batch_size)
        for start in tqdm(starts, desc=self.quantity, unit="batch", delay=2, leave=False):
            chunk = enumerate(structures[start : start + batch_size], start)
            batch = batch_graphs([graph(one, name=f"structure {k}", dtype=dtype) for k, one in chunk])
            with torch.no_grad():
                parts.append(self.model(batch).double())
        return self.says.from_output(torch.cat(parts) * self.std + self.mean).numpy()


def verify_content(content: bytes, sha256: str, file: str) -> None:
    """Errors: `ChecksumError` if these bytes are not the pinned file."""
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise ChecksumError(f"{file} is not the pinned file: expected sha256 {sha256}, got {got}")


def placed(file: str, sha256: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a released file that is in no package and has to be put into the cache folder.

    Errors: `FetchError` with the advice if it is not there, `ChecksumError` if it is another file.
    """
    path = folder() / file
    if not path.exists():
        raise FetchError(f"{file} (sha256 {sha256}) is in no package: {advice} {folder()}")
    return tensors(path.read_bytes(), sha256, file)


def tensors(content: bytes, sha256: str, file: str) -> dict[str, Tensor]:
    """What a torch file holds. It is a pickle: it is held to its sha256 first; then torch revives tensors
    only."""
    verify_content(content, sha256, file)
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


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
