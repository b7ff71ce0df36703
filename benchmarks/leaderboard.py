"""The course's leaderboard: every model on the same crystals, with what training and a prediction cost
(slides 45, 47).

    python -m benchmarks.leaderboard

Formation energies of all 3,938 crystals, by the splits of `benchmarks.evaluation`: random, and one family of
compounds held out. Chalcogenides are that family, since their elements all occur in training, in sulfates for
instance; with oxides held out, the element O has never been seen, and rows of weights that no training has
touched decide. Those without a training by steps are measured there, too.

Every network gets BUDGET seconds of processor time on one thread: the epochs that these pay for, by the
cost of a step, which is measured for all networks in turns (a row's own training takes longer where other
programs run). Its learning rate is one of two, by the validation part of seed 0 of the random
split after a third of the epochs; the epoch is chosen on the validation part; nothing on a test part.
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
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import leaderboard_figure
from benchmarks.contenders import COMPARED, CONTENDERS, FROZEN
from benchmarks.evaluation import Task
from benchmarks.peers import machine
from mg9.a_graph import batch_graphs
from mg9.report.models import Network, fitted, predicted
from mg9.splits import Split

FILE = Path(__file__).parents[1] / "course" / "figures" / "leaderboard.json"
BUDGET, BATCH = 20.0, 64  # seconds of processor time for each training; crystals in a batch
COSTS = "step (s a crystal)"
RATES, PILOT = (2e-3, 6e-3), 1 / 3
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


def read() -> dict:
    head = {
        "command": "python -m benchmarks.leaderboard",
        "run with": "1 threads" + machine().partition("threads")[2],
        "budget": f"{BUDGET:.0f} s of processor time for each training of a network",
        "leakage": {FROZEN: CONTENDERS[FROZEN].leaks},
    }
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() and FILE.stat().st_size else {}
    return head | {COSTS: {}, "choices": [], "rows": []} | stored


def store(kind: str, row: dict) -> None:
    """Append a row, or set the costs of a step, while no other process does."""
    with FILE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = read()
        if kind == COSTS:
            record[kind] = row
        else:
            record[kind].append(row)
        file.truncate(0)
        file.write(json.dumps(record, indent=1) + "\n")


def best_rate(record: dict, model: str) -> float:
    """Of the learning rates, the one with the least validation error."""
    mine = [row for row in record["choices"] if row["model"] == model]
    return min(mine, key=lambda row: row["validation"])["learning rate"]


def prepare(reader: Reader, model: str) -> None:
    """What the learning rate of a network is chosen by, where the record does not have it."""
    cost = read()[COSTS][model]
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
        if not read()[COSTS]:
            store(COSTS, step_costs(reader.task.structures))
        for key in wanted:
            if time.perf_counter() - started > options.seconds:
                break
            if CONTENDERS[key[0]].network:
                prepare(reader, key[0])
                record = read()
                with_ = {"cost": record[COSTS][key[0]], "rate": best_rate(record, key[0])}
            else:
                with_ = {}
            row = measured(reader, key, **with_)
            store("rows", row)
            print(row, flush=True)
    leaderboard_figure.draw(read())


if __name__ == "__main__":
    main()
