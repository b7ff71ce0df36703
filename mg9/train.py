"""One training loop for every property model of the course (slides 24, 50).

AdamW with a one-cycle learning rate on the mean absolute error of the standardised target; the epoch is
chosen on the validation part. Read in order: `budget`, `fit`, `Trained`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mg9.a_crystal import batch_graphs
from mg9.splits import Split

if TYPE_CHECKING:
    from torch_geometric.data import Data


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
class Trained:
    """A model with the mean and scale of its training targets (slide 50).

    history: a row (epoch, training MAE, validation MAE, learning rate) per epoch, MAE in the target's unit.
    """

    model: nn.Module
    mean: float
    scale: float
    history: list[tuple[int, float, float, float]]
    best_epoch: int
    interrupted: bool = False

    def predict(self, graphs: Sequence[Data], *, batch_size: int = 64) -> Tensor:
        """The property of each graph (B,), in the target's unit."""
        self.model.eval()
        with torch.no_grad():
            parts = [self.model(batch) for batch in _batches(graphs, np.arange(len(graphs)), batch_size)]
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
    mean, scale = float(values[split.train].mean()), float(values[split.train].std()) or 1.0
    standardised = (values - mean) / scale
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    steps = -(-len(split.train) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, epochs * steps, pct_start=0.2)
    trained = Trained(model, mean, scale, history=[], best_epoch=-1)
    run = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "mean": mean,
    }
    best = _resume(checkpoint, run, trained, optimizer, schedule) or _copy(model)
    rows = tqdm(range(len(trained.history), epochs), desc="training", unit="epoch", disable=not progress)
    try:
        for epoch in rows:
            order = np.random.default_rng([seed, epoch]).permutation(split.train)
            error = (
                _train_one_epoch(model, graphs, standardised, order, batch_size, optimizer, schedule) * scale
            )
            validation = float(
                (trained.predict([graphs[k] for k in split.validation]) - values[split.validation])
                .abs()
                .mean()
            )
            if not trained.history or validation < trained.history[trained.best_epoch][2]:
                trained.best_epoch, best = epoch, _copy(model)
            trained.history.append((epoch, error, validation, schedule.get_last_lr()[0]))
            rows.set_postfix_str(
                f"validation MAE {validation:.3f}, best {trained.history[trained.best_epoch][2]:.3f}"
            )
            _save(checkpoint, run, trained, best, optimizer, schedule)
            if patience is not None and epoch - trained.best_epoch >= patience:
                break
    except KeyboardInterrupt:
        trained.interrupted = True
    model.load_state_dict(best)
    model.eval()
    return trained


def _train_one_epoch(
    model: nn.Module,
    graphs: Sequence[Data],
    target: Tensor,
    order: np.ndarray,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """The mean absolute error over the epoch, standardised."""
    model.train()
    total = 0.0
    for k, batch in enumerate(_batches(graphs, order, batch_size)):
        wanted = target[order[k * batch_size : (k + 1) * batch_size]]
        loss = nn.functional.l1_loss(model(batch), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(wanted)
    return total / len(order)


def _batches(graphs: Sequence[Data], order: np.ndarray, batch_size: int):
    for start in range(0, len(order), batch_size):
        yield batch_graphs([graphs[k] for k in order[start : start + batch_size]])


def _checked_target(target: Sequence[float], n_graphs: int, split: Split) -> Tensor:
    values = torch.as_tensor(np.asarray(target, dtype=float), dtype=torch.get_default_dtype())
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


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _save(checkpoint, run, trained: Trained, best, optimizer, schedule) -> None:
    """Write beside, then replace: a kernel that dies while writing leaves the previous checkpoint."""
    if checkpoint is None:
        return
    path = Path(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    state = {"run": run, "history": trained.history, "best_epoch": trained.best_epoch, "best": best}
    state |= {
        "model": trained.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    torch.save(state, beside)
    beside.replace(path)


def _resume(checkpoint, run, trained: Trained, optimizer, schedule) -> dict[str, Tensor] | None:
    """The best state of an earlier part of this run, or None; sets model, optimizer, schedule and history
    to where it was."""
    if checkpoint is None or not Path(checkpoint).exists():
        return None
    state = torch.load(checkpoint, weights_only=True)
    if state["run"] != run or state["model"].keys() != trained.model.state_dict().keys():
        raise ValueError(
            f"{checkpoint} belongs to another run ({state['run']}); delete it or choose another name"
        )
    trained.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    trained.history = [tuple(row) for row in state["history"]]
    trained.best_epoch = state["best_epoch"]
    return state["best"]
