"""A row of the leaderboard: a model is trained on a split, tested, and its costs are taken (slides 45, 47).

Read in order: `Cost`, `SmallCells`, `Reader`, `step_costs`, `epochs`, `measured`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.contenders import CONTENDERS
from benchmarks.evaluation import Task
from mg9.a_graph import batch_graphs
from mg9.report.models import Network, fitted, predicted
from mg9.splits import Split

BUDGET, BATCH = 12.0, 64  # seconds of processor time for each training; crystals in a batch
MOST_ATOMS = 8
NETWORKS = [name for name, one in CONTENDERS.items() if one.network]


class Cost:
    """Seconds of processor time of a block."""

    def __enter__(self) -> Cost:
        self.start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.start


class SmallCells(Task):
    """The crystals of at most MOST_ATOMS atoms."""

    def __init__(self) -> None:
        super().__init__()
        small = self.dataset.table["nsites"].to_numpy() <= MOST_ATOMS
        self.names = self.dataset.table.index[small]
        self.formulas = list(self.dataset.table["formula"][small])
        self.target, self.family = self.target[small], self.family[small]

    @cached_property
    def structures(self) -> list:
        return self.dataset.structures(self.names)


class Reader:
    """What each contender reads of all crystals, computed once, with its cost for a crystal in seconds."""

    def __init__(self) -> None:
        self.task = SmallCells()
        self.known: dict[Callable, tuple[Sequence, float]] = {}

    def __call__(self, model: str) -> tuple[Sequence, float]:
        reads, structures = CONTENDERS[model].reads, self.task.structures
        if reads not in self.known:
            reads(structures[:8])  # imports, and weights that are read from a file
            with Cost() as cost:
                inputs = reads(structures)
            self.known[reads] = inputs, cost.seconds / len(structures)
        return self.known[reads]


def step_costs(structures: Sequence) -> dict[str, float]:
    """Seconds of a training step for each crystal of its batch, of every network: the least of five rounds,
    in turns, so that what else the machine does falls on all of them alike."""
    rows = np.random.default_rng(0).permutation(len(structures))[: 3 * BATCH]
    some, ready, found = [structures[row] for row in rows], {}, {}
    for model in NETWORKS:
        torch.manual_seed(0)
        network, inputs = CONTENDERS[model].make(), CONTENDERS[model].reads(some)
        ready[model] = network, torch.optim.AdamW(network.parameters()), inputs
    for _ in tqdm(range(5), desc="cost of a step", unit="round"):
        for model, (network, optimizer, inputs) in ready.items():
            with Cost() as cost:
                for start in range(0, len(inputs), BATCH):
                    loss = network(batch_graphs(inputs[start : start + BATCH])).abs().mean()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            found[model] = min(found.get(model, np.inf), round(cost.seconds / len(inputs), 6))
    return found


def epochs(cost: float, split: Split, part: float = 1.0) -> int:
    """That the budget pays for: steps, and a look at the validation part, which has no backward pass."""
    crystals = len(split.train) + len(split.validation) / 3
    return max(1, int(part * BUDGET / (cost * crystals)))


def measured(reader: Reader, key: tuple, *, cost: float = 0.0, rate: float = 0.0, part: float = 1.0) -> dict:
    """A row of the record; a pilot (part < 1) never sees the test part."""
    model, split, seed = key
    one, (inputs, reading), truth = CONTENDERS[model], reader(model), reader.task.target
    (parts,) = reader.task.splits(split, seed)
    settings = {"learning_rate": rate, "batch_size": BATCH, "progress": False}
    if one.network:
        settings["epochs"] = epochs(cost, parts, part)
        fresh = Network(one.make, seed, settings)
    else:
        fresh = one.make(seed)
    with Cost() as training:
        fit = fitted(fresh, inputs, truth, parts)
    seen = len(parts.train) + (len(parts.validation) if one.network else 0)
    row = {"model": model, "split": split, "seed": seed}
    if one.network:
        run = fit.trained_
        row |= {"learning rate": rate, "epochs": settings["epochs"], "best epoch": run.best_epoch + 1}
        row["parameters"] = sum(weight.numel() for weight in run.model.parameters())
        row["validation"] = round(run.history[run.best_epoch][2], 5)
    if part == 1.0:
        row |= errors(predicted(fit, inputs, parts.test) - truth[parts.test])
        row["prediction (ms)"] = round(1e3 * (reading + least_cost(fit, inputs, parts.test[:128])), 3)
    row["training (s)"] = round(training.seconds + reading * seen, 1)
    return row | {"load": round(os.getloadavg()[0], 1), "date": date.today().isoformat()}


def least_cost(fit: Any, inputs: Sequence, rows: np.ndarray) -> float:
    """Seconds of a prediction for each crystal, the least of three times."""
    found = []
    for _ in range(3):
        with Cost() as cost:
            predicted(fit, inputs, rows)
        found.append(cost.seconds / len(rows))
    return min(found)


def errors(off: np.ndarray) -> dict[str, float]:
    """Of the residuals of a test part, in eV/atom: mean absolute and mean error, median and 95th percentile
    of the absolute ones."""
    size = np.abs(off)
    found = {
        "MAE": size.mean(),
        "bias": off.mean(),
        "median": np.median(size),
        "95 %": np.quantile(size, 0.95),
    }
    return {"test crystals": len(off)} | {name: round(float(value), 5) for name, value in found.items()}
