"""Training of a model that aligns crystals with texts (slide 42). Read `fit_aligned`, then `vectors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.checkpoint import fingerprint
from mg9.descent import Run, batches, descend
from mg9.splits import Split

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

    from mg9.g_text import Aligned


def fit_aligned(
    model: Aligned,
    graphs: Sequence[Data],
    numbers: Tensor,
    split: Split,
    *,
    epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    seed: int = 0,
    progress: bool = True,
) -> Run:
    """Train down `Aligned.loss`; the epoch with the least loss on `split.validation` is kept (slide 42).

    numbers (len(graphs), L): the words of each crystal's text. The errors of the history are that loss.
    Errors: ValueError where texts and graphs are not equally many.
    """
    if len(numbers) != len(graphs):
        raise ValueError(f"{len(numbers)} texts for {len(graphs)} graphs; give one for each, in their order")

    def loss(batch: Batch, rows: np.ndarray) -> Tensor:
        return model.loss(batch, numbers[rows])

    def validate() -> float:
        model.eval()
        with torch.no_grad():
            s, t = vectors(model, graphs, numbers, split.validation)
            return float(model.loss_of(s, t, numbers[split.validation]))

    label = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    label["texts and split"] = fingerprint([split.train, split.validation, numbers.numpy()])
    run = Run(model)
    descend(run, graphs, split, loss, validate, label, None, None, progress, measure="validation loss")
    return run


@torch.no_grad()
def vectors(
    model: Aligned, graphs: Sequence[Data], numbers: Tensor, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """s and t of these rows, (len(rows), F) each (slide 42)."""
    model.eval()
    parts = [model.crystals(batch) for batch in batches(graphs, rows, 256)]
    normalize = torch.nn.functional.normalize
    return normalize(torch.cat(parts), dim=1), normalize(model.texts(numbers[rows]), dim=1)
