"""Slide 34's ceiling: four architectures on a random split, and with a family held out.

Formation energies of 600 crystals of at most six atoms, one seed, equal epochs; the epoch is chosen on
the validation part. All have 64 features (MEGNet 32, as released) on whole shells of twelve neighbours. Draws
course/figures/ceiling.png, and a JSON file beside it with the errors and the versions.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots, splits
from mg9.a_crystal import crystal_graph
from mg9.c_schnet import MeanSchNet
from mg9.d_cgcnn import CGCNN
from mg9.e_alignn import ALIGNN
from mg9.e_megnet import MEGNet
from mg9.report.statistics import bootstrap
from mg9.train import fit

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "ceiling.png"
CRYSTALS, EPOCHS, HELD_OUT = 600, 12, "oxide"
MODELS = {
    "SchNet": partial(MeanSchNet, cutoff=8.0),
    "CGCNN": CGCNN,
    "MEGNet": partial(MEGNet, cutoff=8.0),
    "ALIGNN": ALIGNN,
}


def main() -> None:
    command_line(__doc__, "ceiling").parse_args()
    ds = data.formation_energy()
    table = ds.table[ds.table.nsites <= 6].sample(CRYSTALS, random_state=0)
    graphs = [crystal_graph(structure) for structure in ds.structures(table.index)]
    target, formulas = table.formation_energy_per_atom.to_numpy(), list(table.formula)
    parts = {
        "random": splits.random_split(len(table), validation=0.1, test=0.2),
        f"{HELD_OUT}s held out": splits.family_split(formulas, hold_out=HELD_OUT),
    }
    errors: dict[str, dict[str, dict[str, float]]] = {title: {} for title in parts}
    for name, make in MODELS.items():
        for title, split in parts.items():
            torch.manual_seed(0)
            start = time.process_time()
            trained = fit(make(), graphs, target, split, epochs=EPOCHS, progress=False)
            off = np.abs(trained.predict([graphs[row] for row in split.test]).numpy() - target[split.test])
            low, high = bootstrap(off, [formulas[row] for row in split.test])
            errors[title][name] = {"mae": float(off.mean()), "low": low, "high": high}
            took = time.process_time() - start
            print(f"{name:8s}{title:18s} MAE {off.mean():.3f} eV/atom, {took:.0f} s", flush=True)
    record = {
        "command": "python -m benchmarks.ceiling",
        "run with": machine(),
        "crystals": {title: [len(split.train), len(split.test)] for title, split in parts.items()},
        "errors": {
            title: {name: {k: round(v, 3) for k, v in row.items()} for name, row in of.items()}
            for title, of in errors.items()
        },
    }
    FIGURE.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(errors)


def draw(errors: dict[str, dict[str, dict[str, float]]]) -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    looks = zip(errors.items(), (plots.BLUE, plots.VERMILLION), ("o", "D"), strict=True)
    for shift, ((title, of), colour, shape) in enumerate(looks):
        for place, row in enumerate(of.values()):
            at = place + 0.2 * shift - 0.1
            ax.plot([at, at], [row["low"], row["high"]], color=colour, linewidth=2, alpha=0.6)
            ax.plot(at, row["mae"], shape, color=colour, label=title if place == 0 else None)
    ax.set_xticks(range(len(MODELS)), MODELS)
    ax.set(ylabel="test MAE (eV/atom), 95 % interval", ylim=(0, None))
    ax.legend()
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
