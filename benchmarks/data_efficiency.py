"""Forces on silicon against the number of training structures (slides 35, 37, 39, 46): descriptors,
invariant and equivariant networks of about equal size, and a pretrained potential that is fine-tuned.

    python -m benchmarks.data_efficiency

How they are trained is told in `benchmarks/silicon.py`. Writes course/figures/data_efficiency.json after each
training and draws the figure beside it; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks import descriptors
from benchmarks.peers import machine
from benchmarks.silicon import CASES, DESCRIPTORS, PRETRAINED, ZERO_SHOT, drawn, frames, measured
from benchmarks.usage import command_line
from mg9 import plots

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "data_efficiency.json"
SIZES, CHOOSE_WITH = (2, 5, 20), 20
HIGHEST = 500  # meV/atom, where the axis of the energy ends
SHOWN = {  # colour and line
    DESCRIPTORS: ("grey", "v:"),
    "SchNet": (plots.ORANGE, "s--"),
    "NequIP, l = 0": (plots.PURPLE, "D--"),
    "NequIP, l = 1": (plots.BLUE, "o-"),
    "MACE": (plots.GREEN, "^-"),
    ZERO_SHOT: (plots.SKY, ":"),
    PRETRAINED: (plots.VERMILLION, "*-"),
}


def main() -> None:
    parser = command_line(__doc__.split("\n\n")[0], "data_efficiency", "data_efficiency --device cuda")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--processes", type=int, default=1, help="trainings side by side (default 1)")
    parser.add_argument("--seeds", type=int, default=3, help="orders and starts (default 3)")
    parser.add_argument("--steps", type=int, default=600, help="of each training (default 600)")
    parser.add_argument("--graphs", type=Path, help="a file that keeps the graphs, made if it is not there")
    parser.add_argument(
        "--record", type=Path, default=FIGURE, help="file of the rows; those in it are not measured again"
    )
    options = parser.parse_args()
    file, trainings = options.record, [name for name in CASES if CASES[name].rates]
    stored = json.loads(file.read_text("utf-8")) if file.exists() else {}
    gpu = f", {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    record = {
        "command": "python -m benchmarks.data_efficiency",
        "run with": stored.get("run with") or machine() + gpu,
        "data": "silicon of mlearn (alignn 2026.8.11): 200 frames to train, 14 for choices, 25 to test",
        "choices": stored.get("choices", []),
        "rows": stored.get("rows", []),
    }
    done = {key: {place(row) for row in record[key]} for key in ("choices", "rows")}

    def run(key: str, jobs: list[dict], steps: int) -> None:
        common = {"device": options.device, "graphs": options.graphs, "steps": steps}
        jobs = [{**common, **job, "choose": key == "choices"} for job in jobs if place(job) not in done[key]]
        with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
            for row in tqdm(pool.imap_unordered(measured, jobs), total=len(jobs), desc=key, unit="training"):
                record[key].append(row)
                file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    points = [(name, rate) for name in trainings for rate in CASES[name].rates]
    choices = [job(name, CHOOSE_WITH, 0, rate) for name, rate in points]
    run("choices", choices, options.steps // 2)
    best = {}
    for row in sorted(record["choices"], key=lambda row: row["forces"]):
        best.setdefault(row["model"], row["learning rate"])
    points = product(range(options.seeds), SIZES, [ZERO_SHOT, *trainings])
    run("rows", [job(name, n, seed, best.get(name)) for seed, n, name in points], options.steps)
    if DESCRIPTORS not in {row["model"] for row in record["rows"]}:
        record["rows"] += described(options)
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(record["rows"])


def job(name: str, n: int, seed: int, rate: float | None) -> dict:
    return {"model": name, "structures": n, "seed": seed, "learning rate": rate}


def place(row: dict) -> tuple:
    """What tells one row from another."""
    return row["model"], row["structures"], row["seed"], row.get("learning rate")


def described(options: argparse.Namespace) -> list[dict]:
    """The rows of the linear model."""
    parts = frames(options.graphs, CASES[DESCRIPTORS].cutoff)
    train, held, test = (
        [descriptors.rows(graph) for graph in tqdm(part, desc=DESCRIPTORS, unit="frame")] for part in parts
    )
    return [
        {"model": DESCRIPTORS, "structures": n, "seed": seed}
        | descriptors.ridge([train[k] for k in drawn(n, seed)], held, test)
        for seed, n in product(range(options.seeds), SIZES)
    ]


def draw(rows: list[dict]) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
    for name, (colour, line) in SHOWN.items():
        for ax, kind, unit in ((left, "forces", 1.0), (right, "energy", 1000.0)):
            errors = [
                [unit * row[kind] for row in rows if row["model"] == name and row["structures"] == n]
                for n in SIZES
            ]
            found = [(n, np.median(some)) for n, some in zip(SIZES, errors, strict=True) if some]
            if found:
                ax.plot(*zip(*found, strict=True), line, color=colour, label=name)
            for n, some in zip(SIZES, errors, strict=True):
                ax.plot([n] * len(some), some, ".", color=colour, markersize=4)
    left.set_ylabel("test MAE of forces (eV/Å)")
    right.set_ylabel("test MAE of energy (meV/atom)")
    for ax, ticks in ((left, (0.1, 0.2, 0.4)), (right, (5, 10, 20, 40, 100, 200))):
        ax.set(xscale="log", yscale="log", xlabel="training structures")
        ax.minorticks_off()
        ax.set_xticks(SIZES, SIZES)
        ax.set_yticks(ticks, ticks)
    for row in rows:  # one seed's linear model is far above all others
        if (beyond := 1000 * row["energy"]) > HIGHEST:
            right.plot(row["structures"], 0.9 * HIGHEST, "^", color=SHOWN[row["model"]][0])
            about = f"  one of {row['model'].partition(',')[0]}: {beyond:,.0f}"
            right.text(row["structures"], 0.9 * HIGHEST, about, fontsize=8, va="center")
    right.set_ylim(top=HIGHEST)
    left.legend(fontsize=8)
    FIGURE.with_suffix(".png").write_bytes(plots.png())


if __name__ == "__main__":
    main()
