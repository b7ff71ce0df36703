"""The course's leaderboard: every model on the same crystals, with what training and a prediction cost
(slides 45, 47).

    python -m benchmarks.leaderboard

Formation energies of all 3,938 crystals, by the splits of `benchmarks.evaluation`: random, and one family of
compounds held out. Chalcogenides are that family, since their elements all occur in training, in sulfates for
instance; with oxides held out, the element O has never been seen, and rows of weights that no training has
touched decide. Those without a training by steps are measured there, too.

Every network gets BUDGET seconds of processor time, one thread: the epochs that these pay for, from the
measured time of a step. Its learning rate is one of three, by the validation part of seed 0 of the random
split after a fifth of the epochs; the epoch is chosen on the validation part; nothing on a test part.
Costs hold what a model reads of the crystals, too: features, graphs or vectors.

Writes course/figures/leaderboard.json after each measurement and draws the figure beside it; what is there
already is not measured again, so that it can be stopped and go on, also in several processes.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import time
from collections.abc import Callable, Sequence
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks import leaderboard_figure
from benchmarks.contenders import COMPARED, CONTENDERS, FROZEN
from benchmarks.evaluation import Task
from benchmarks.peers import machine
from mg9.a_graph import batch_graphs
from mg9.report.models import Network, fitted, predicted, take
from mg9.splits import Split

FILE = Path(__file__).parents[1] / "course" / "figures" / "leaderboard.json"
BUDGET, BATCH = 45.0, 64  # seconds of processor time for each training; crystals in a batch
RATES, PILOT = (1e-3, 3e-3, 1e-2), 0.2
RANDOM, HELD_OUT, UNSEEN = "random", "chalcogenide", "oxide"
NETWORKS = [name for name, one in CONTENDERS.items() if one.network]
OTHERS = [name for name in CONTENDERS if name not in NETWORKS]
PLAN = [
    *product(OTHERS, (RANDOM, HELD_OUT, UNSEEN), range(3)),
    *product(NETWORKS, (RANDOM, HELD_OUT), (0,)),
    *product(COMPARED, (RANDOM, HELD_OUT), (1, 2)),
]


class Cost:
    """Seconds of processor time of a block."""

    def __enter__(self) -> Cost:
        self.start = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self.start


class Reader:
    """What each contender reads of all crystals, computed once, with its cost for a crystal in seconds."""

    def __init__(self) -> None:
        self.task = Task()
        self.known: dict[Callable, tuple[Sequence, float]] = {}

    def __call__(self, model: str) -> tuple[Sequence, float]:
        reads, structures = CONTENDERS[model].reads, self.task.structures
        if reads not in self.known:
            reads(structures[:8])  # imports, and weights that are read from a file
            with Cost() as cost:
                inputs = reads(structures)
            self.known[reads] = inputs, cost.seconds / len(structures)
        return self.known[reads]


def step_cost(model: str, inputs: Sequence) -> float:
    """Seconds of a training step for each crystal of its batch: the median of six steps."""
    torch.manual_seed(0)
    network, found = CONTENDERS[model].make(), []
    optimizer = torch.optim.AdamW(network.parameters())
    for rows in np.random.default_rng(0).permutation(len(inputs))[: 7 * BATCH].reshape(7, BATCH):
        with Cost() as cost:
            loss = network(batch_graphs(take(inputs, rows))).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found.append(cost.seconds / BATCH)
    return float(np.median(found[1:]))


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
        with Cost() as prediction:
            off = predicted(fit, inputs, parts.test) - truth[parts.test]
        row |= errors(off)
        row["prediction (ms)"] = round(1e3 * (reading + prediction.seconds / len(off)), 3)
    row["training (s)"] = round(training.seconds + reading * seen, 1)
    return row | {"load": round(os.getloadavg()[0], 1), "date": date.today().isoformat()}


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


def read() -> dict:
    head = {
        "command": "python -m benchmarks.leaderboard",
        "run with": "1 threads" + machine().partition("threads")[2],
        "budget": f"{BUDGET:.0f} s of processor time for each training of a network",
        "leakage": {FROZEN: CONTENDERS[FROZEN].leaks},
    }
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() and FILE.stat().st_size else {}
    return head | {"step (s a crystal)": {}, "choices": [], "rows": []} | stored


def store(kind: str, row: dict | float, model: str = "") -> None:
    """Append a row, or set a model's step cost, while no other process does."""
    with FILE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = read()
        if model:
            record[kind].setdefault(model, row)
        else:
            record[kind].append(row)
        file.truncate(0)
        file.write(json.dumps(record, indent=1) + "\n")


def best_rate(record: dict, model: str) -> float:
    """Of the learning rates, the one with the least validation error."""
    mine = [row for row in record["choices"] if row["model"] == model]
    return min(mine, key=lambda row: row["validation"])["learning rate"]


def prepare(reader: Reader, model: str) -> None:
    """The cost of a step and the learning rate of a network, where the record does not have them."""
    if model not in read()["step (s a crystal)"]:
        store("step (s a crystal)", round(step_cost(model, reader(model)[0]), 6), model)
    cost = read()["step (s a crystal)"][model]
    for rate in RATES:
        if (model, rate) not in {(row["model"], row["learning rate"]) for row in read()["choices"]}:
            key = (model, RANDOM, 0)
            store("choices", measured(reader, key, cost=cost, rate=rate, part=PILOT))


def missing(models: Sequence[str]) -> list[tuple]:
    done = {(row["model"], row["split"], row["seed"]) for row in read()["rows"]}
    return [key for key in sorted(PLAN, key=lambda key: key[2]) if key[0] in models and key not in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--models", nargs="*", choices=CONTENDERS, default=list(CONTENDERS), metavar="MODEL")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="start nothing more after so long (default: all)"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    if wanted := missing(options.models):
        reader = Reader()
        for key in wanted:
            if time.perf_counter() - started > options.seconds:
                break
            if CONTENDERS[key[0]].network:
                prepare(reader, key[0])
                record = read()
                with_ = {"cost": record["step (s a crystal)"][key[0]], "rate": best_rate(record, key[0])}
            else:
                with_ = {}
            row = measured(reader, key, **with_)
            store("rows", row)
            print(row, flush=True)
    leaderboard_figure.draw(read())


if __name__ == "__main__":
    main()
