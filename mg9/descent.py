"""The loop down a loss (slide 50): batches, epochs, the best state, Ctrl-C.

Read in order: `Run`, `descend`, `batches`. What the loss is, `train.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mg9.a_graph import batch_graphs
from mg9.checkpoint import copy_of, resume, save
from mg9.splits import Split

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


@dataclass
class Run:
    """A model with the story of its training (slide 50).

    history: a row (epoch, training error, validation error, learning rate) per epoch.
    """

    model: nn.Module
    history: list[tuple[int, float, float, float]] = field(default_factory=list, kw_only=True)
    best_epoch: int = field(default=-1, kw_only=True)
    interrupted: bool = field(default=False, kw_only=True)


def descend(
    run: Run,
    graphs: Sequence[Data],
    split: Split,
    loss: Callable[[Batch, np.ndarray], Tensor],
    validate: Callable[[], float],
    label: dict[str, Any],
    checkpoint: Path | None,
    patience: int | None,
    progress: bool,
    *,
    unit: float = 1.0,
    measure: str,
) -> None:
    """AdamW with one cycle of the learning rate down `loss`; `run` gets the history and the best state.

    label: epochs, batch_size, learning_rate, seed, and what else makes this run another than others; unit: of
    the loss; measure: what the bar calls the validation error.
    """
    model, epochs, batch_size = run.model, label["epochs"], label["batch_size"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=label["learning_rate"], weight_decay=1e-4)
    steps = len(dealt(split.train, batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, label["learning_rate"], epochs * steps, pct_start=0.2
    )
    parts = {"optimizer": optimizer, "schedule": schedule}
    best, earlier = resume(checkpoint, label, model, parts)
    run.history = [tuple(row) for row in earlier.get("history", [])]
    run.best_epoch = earlier.get("best_epoch", -1)
    rows = tqdm(range(len(run.history), epochs), desc="training", unit="epoch", disable=not progress)
    try:
        for epoch in rows:
            if patience is not None and run.history and epoch - 1 - run.best_epoch >= patience:
                break  # also when a finished run is read from its checkpoint
            order = np.random.default_rng([label["seed"], epoch]).permutation(split.train)
            model.train()
            error = unit * _one_epoch(graphs, order, batch_size, loss, optimizer, schedule)
            validation = validate()
            if not run.history or validation < run.history[run.best_epoch][2]:
                run.best_epoch, best = epoch, copy_of(model)
            run.history.append((epoch, error, validation, schedule.get_last_lr()[0]))
            rows.set_postfix_str(f"{measure} {validation:.3f}, best {run.history[run.best_epoch][2]:.3f}")
            done = {"history": run.history, "best_epoch": run.best_epoch}
            save(checkpoint, label, model, best, done, parts)
    except KeyboardInterrupt:
        run.interrupted = True
    model.load_state_dict(best)
    model.eval()


def _one_epoch(
    graphs: Sequence[Data],
    order: np.ndarray,
    batch_size: int,
    loss: Callable[[Batch, np.ndarray], Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """The mean loss over the epoch."""
    total = 0.0
    for rows, batch in zip(dealt(order, batch_size), batches(graphs, order, batch_size), strict=True):
        value = loss(batch, rows)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        total += value.item() * len(rows)
    return total / len(order)


def dealt(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches of `batch_size`; a last one with a single crystal, perhaps of one atom, joins the one before,
    since batch normalisation needs two."""
    parts = np.split(order, range(batch_size, len(order), batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def batches(graphs: Sequence[Data], order: np.ndarray, batch_size: int) -> Iterator[Batch]:
    for rows in dealt(order, batch_size):
        yield batch_graphs([graphs[k] for k in rows])
