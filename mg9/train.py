"""Training for every model of the course, properties and potentials (slides 24, 31, 50).

AdamW with a one-cycle learning rate; the epoch is chosen on the validation part. Properties are trained on
the mean absolute error of the standardised target, potentials on the three-term loss. Read in order:
`budget`, `fit`, `Trained`, `fit_potential`. The loop is in `descent.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mg9.a_errors import EmptyList
from mg9.checkpoint import fingerprint
from mg9.descent import Run, batches, descend
from mg9.splits import Split

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

    from mg9.potential import Potential


def budget(*, full: dict[str, Any], tiny: dict[str, Any]) -> dict[str, Any]:
    """`full`, or `tiny` where the environment variable MG9_BUDGET says so, as automatic runs do (slide 50).

    Errors: ValueError for another value of MG9_BUDGET.
    """
    chosen = os.environ.get("MG9_BUDGET", "full")
    if chosen not in ("full", "tiny"):
        raise ValueError(
            f"MG9_BUDGET is {chosen!r}; set it to 'full' or 'tiny', or leave it unset for 'full'"
        )
    return full if chosen == "full" else tiny


@dataclass
class Trained(Run):
    """A model with the mean and scale of its training targets; errors are MAEs in their unit (slide 50)."""

    mean: float
    scale: float

    def predict(self, graphs: Sequence[Data], *, batch_size: int = 64) -> Tensor:
        """The property of each graph (B,), in the target's unit. Errors: `EmptyList`."""
        if len(graphs) == 0:
            raise EmptyList("no graphs to predict; give at least one")
        self.model.eval()
        with torch.no_grad():
            parts = [self.model(batch) for batch in batches(graphs, np.arange(len(graphs)), batch_size)]
        return torch.cat(parts) * self.scale + self.mean


def fit(
    model: nn.Module,
    graphs: Sequence[Data],
    target: Sequence[float],
    split: Split,
    *,
    epochs: int = 40,
    batch_size: int = 64,
    learning_rate: float = 5e-3,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train `model` on `split.train`, keep the state with the least error on `split.validation` (slide 50).

    target (len(graphs),) in any unit; patience: stop after so many epochs without improvement; checkpoint:
    a file that is written after each epoch and from which the same run goes on after the kernel died.
    Ctrl-C returns the best state so far.
    Errors: ValueError for targets of another length or not finite, and for a checkpoint of another run.
    """
    values = _checked_target(target, len(graphs), split)
    mean = float(values[split.train].mean())
    scale = float(values[split.train].std()) if len(split.train) > 1 else 0.0
    scale = scale or 1.0
    standardised = (values - mean) / scale
    trained = Trained(model, mean, scale)

    def loss(batch: Batch, rows: np.ndarray) -> Tensor:
        wanted, predicted = standardised[rows], model(batch)
        if predicted.shape != wanted.shape:
            raise ValueError(
                f"the model returned shape {tuple(predicted.shape)} for {len(rows)} graphs; "
                "it must return one number for each"
            )
        return nn.functional.l1_loss(predicted, wanted)

    def validate() -> float:
        predicted = trained.predict([graphs[k] for k in split.validation])
        return float((predicted - values[split.validation]).abs().mean())

    label = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    parts = [split.train, split.validation]
    label["target and split"] = fingerprint([*parts, *(values[part].numpy() for part in parts)])
    path = Path(checkpoint) if checkpoint else None
    descend(
        trained,
        graphs,
        split,
        loss,
        validate,
        label,
        path,
        patience,
        progress,
        unit=scale,
        measure="validation MAE",
    )
    return trained


def fit_potential(
    potential: Potential,
    graphs: Sequence[Data],
    split: Split,
    *,
    weights: Mapping[str, float] | None = None,
    epochs: int = 40,
    batch_size: int = 8,
    learning_rate: float = 5e-3,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Run:
    """Train a potential on energies, forces and stresses; references and scale are fitted first, on
    `split.train` only (slides 31, 50).

    graphs: from `potential.labelled`; weights: of `potential.three_term_loss`, {"forces": 10.0} for instance.
    The errors of the history are that loss. Everything else as for `fit`.
    Errors: `NoReference` for a validation element that training lacks; ValueError as for `fit`.
    """
    from mg9.potential import three_term_loss

    potential.fit_references([graphs[k] for k in split.train])
    weights = dict(weights or {})

    def loss(batch: Batch, rows: np.ndarray | None) -> Tensor:
        return three_term_loss(potential(batch), batch, **weights)

    def validate() -> float:
        potential.eval()
        parts = batches(graphs, split.validation, batch_size)
        losses = [batch.num_graphs * float(loss(batch, None)) for batch in parts]
        return sum(losses) / len(split.validation)

    label = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    energies = [[float(graphs[k].energy) for k in part] for part in (split.train, split.validation)]
    label |= {"weights": weights, "target and split": fingerprint([split.train, split.validation, *energies])}
    run, path = Run(potential), Path(checkpoint) if checkpoint else None
    descend(run, graphs, split, loss, validate, label, path, None, progress, measure="validation loss")
    return run


def _checked_target(target: Sequence[float], n_graphs: int, split: Split) -> Tensor:
    values = torch.as_tensor(np.array(target, dtype=float), dtype=torch.get_default_dtype())
    if values.dim() != 1:
        raise ValueError(f"the target has shape {tuple(values.shape)}; give one number for each graph")
    if len(values) != n_graphs:
        raise ValueError(
            f"{len(values)} targets for {n_graphs} graphs; give one target for each graph, in the same order"
        )
    used = np.concatenate([split.train, split.validation])
    if used.max() >= n_graphs:
        raise ValueError(
            f"the split names row {used.max()}, but there are {n_graphs} graphs; split the same table"
        )
    if not torch.isfinite(values[used]).all():
        row = used[int(torch.nonzero(~torch.isfinite(values[used]))[0])]
        raise ValueError(f"the target of row {row} is NaN or infinite; drop the row or mend it")
    return values
