"""The course's leaderboard: every model on the same crystals, with what training and a prediction cost
(slides 45, 47).

Formation energies of the 1,526 crystals of at most eight atoms, by the splits of `benchmarks.evaluation`:
random, and one family of compounds held out. Chalcogenides are that family, since training still has their
elements in a few oxides and halides. With oxides held out training never shows O, and first weights decide:
the three that cost nothing to fit show what that is like.

Every network gets BUDGET seconds of processor time on one thread: the epochs that these pay for, by the
cost of a step, which is measured for all networks in turns (a row's own training takes longer where other
programs run). Its learning rate is one of two, by the validation part of seed 0 of the random split after a
third of the epochs; the epoch is chosen on the validation part; nothing is chosen on a test part.
Costs hold what a model reads of the crystals, too: features, graphs or vectors.

Writes course/figures/leaderboard.json after each measurement, then draws the figure beside it and writes the
table into the README. What is there already is not measured again, so that it can be stopped and go on, also
in several processes.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch

from benchmarks import leaderboard_figure
from benchmarks.contenders import COMPARED, CONTENDERS, FROZEN, MEAN
from benchmarks.leaderboard_rows import BUDGET, MOST_ATOMS, Reader, measured, step_costs
from benchmarks.peers import machine
from benchmarks.usage import command_line

FILE = Path(__file__).parents[1] / "course" / "figures" / "leaderboard.json"
COSTS = "step (s a crystal)"
RATES, PILOT = (2e-3, 6e-3), 1 / 3
RANDOM, HELD_OUT, UNSEEN = "random", "chalcogenide", "oxide"
CHEAP = (MEAN, "ridge", FROZEN)
PLAN = [
    *product(CHEAP, (RANDOM, HELD_OUT, UNSEEN), range(3)),
    *product([name for name in CONTENDERS if name not in CHEAP], (RANDOM, HELD_OUT), (0,)),
    *product(COMPARED, (RANDOM, HELD_OUT), (1, 2)),
]


def read() -> dict:
    head = {
        "command": "python -m benchmarks.leaderboard",
        "run with": "1 threads" + machine().partition("threads")[2],
        "data": f"formation energies, crystals of at most {MOST_ATOMS} atoms",
        "budget": f"{BUDGET:.0f} s of processor time for each training of a network",
        "leakage": {FROZEN: CONTENDERS[FROZEN].leaks},
    }
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() and FILE.stat().st_size else {}
    return head | {COSTS: {}, "choices": [], "rows": []} | stored


def store(kind: str, row: dict) -> None:
    """Append a row, or set the costs of a step if there are none, while no other process writes."""
    with FILE.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = read()
        if kind == COSTS:
            record[kind] = record[kind] or row
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
    parser = command_line(__doc__.split("\n\n")[0], "leaderboard")
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
            if key not in missing(options.models):  # another process was faster
                continue
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
    leaderboard_figure.write_readme(leaderboard_figure.table(read()))


if __name__ == "__main__":
    main()
