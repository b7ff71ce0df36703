"""One training loop for every property model of the course (slides 24, 50).

AdamW with a one-cycle learning rate on the mean absolute error of the standardised target; the epoch is
chosen on the validation part. Read in order: `budget`, `fit`, `Trained`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mg9.a_crystal import batch_graphs
from mg9.a_errors import EmptyList
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
        """The property of each graph (B,), in the target's unit. Errors: `EmptyList`."""
        if len(graphs) == 0:
            raise EmptyList("no graphs to predict; give at least one")
        self.model.eval()
        with torch.no_grad():
            parts = [
                self.model(batch) for batch in _batches(graphs, _dealt(np.arange(len(graphs)), batch_size))
            ]
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
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-4)
    steps = len(_dealt(split.train, batch_size))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, epochs * steps, pct_start=0.2)
    trained = Trained(model, mean, scale, history=[], best_epoch=-1)
    run = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "target and split": _fingerprint(values, split),
    }
    best = _resume(checkpoint, run, trained, optimizer, schedule) or _copy(model)
    rows = tqdm(range(len(trained.history), epochs), desc="training", unit="epoch", disable=not progress)
    try:
        for epoch in rows:
            if patience is not None and trained.history and epoch - 1 - trained.best_epoch >= patience:
                break  # also when a finished run is read from its checkpoint
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
    parts = _dealt(order, batch_size)
    for rows, batch in zip(parts, _batches(graphs, parts), strict=True):
        wanted, predicted = target[rows], model(batch)
        if predicted.shape != wanted.shape:
            raise ValueError(
                f"the model returned shape {tuple(predicted.shape)} for {len(rows)} graphs; "
                "it must return one number for each"
            )
        loss = nn.functional.l1_loss(predicted, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * len(wanted)
    return total / len(order)


def _dealt(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches of `batch_size`; a last one with a single crystal, perhaps of one atom, joins the one
    before, since
    batch normalisation needs two."""
    parts = np.split(order, range(batch_size, len(order), batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def _batches(graphs: Sequence[Data], parts: list[np.ndarray]):
    for rows in parts:
        yield batch_graphs([graphs[k] for k in rows])


def _fingerprint(values: Tensor, split: Split) -> str:
    parts = [np.asarray(split.train), np.asarray(split.validation)]
    arrays = [*parts, *(values[part].numpy() for part in parts)]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


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


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


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
        "random": torch.get_rng_state(),
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
    try:
        state = torch.load(checkpoint, weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{checkpoint} is not a checkpoint; delete it or choose another name") from error
    if state["run"] != run or _shapes(state["model"]) != _shapes(trained.model.state_dict()):
        raise ValueError(
            f"{checkpoint} belongs to another run ({state['run']}); delete it or choose another name"
        )
    torch.set_rng_state(state["random"])
    trained.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    trained.history = [tuple(row) for row in state["history"]]
    trained.best_epoch = state["best_epoch"]
    return state["best"]
