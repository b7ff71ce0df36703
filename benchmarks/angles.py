"""What angles are worth (slide 29): ALIGNN with its angles and with every angle a right one.

Both have the same graph, layers and parameters; only what the angle says differs. Band gaps, and logarithms
of the moduli, of crystals with at most six atoms; random split, two seeds of the start. Draws
course/figures/angles.png, and a JSON file beside it with R^2, errors and versions. Defect energies have no
labels here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots, splits
from mg9.a_crystal import crystal_graph
from mg9.e_alignn import ALIGNN
from mg9.train import fit

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "angles.png"
SEEDS, EPOCHS, MOST_ATOMS, FEATURES = 2, 12, 6, 32


class RightAngles(ALIGNN):
    """ALIGNN whose angles are all 90 degrees: nothing to be read from them (slide 29)."""

    @staticmethod
    def cosines(graph, lines: Tensor) -> Tensor:
        return graph.distance.new_zeros(lines.size(1))


MODELS = {"with angles": ALIGNN, "every angle 90°": RightAngles}


def tables() -> dict[str, tuple]:
    """Quantity -> data set, its rows, labels (n,)."""
    gap, elastic = data.band_gap(), data.elasticity()
    few, stiff = (one.table[one.table.nsites <= MOST_ATOMS] for one in (gap, elastic))
    stiff = stiff[(stiff.K_VRH > 1) & (stiff.G_VRH > 1)]
    return {
        "band gap (eV)": (gap, few.index, few.band_gap.to_numpy()),
        "log10 K (GPa)": (elastic, stiff.index, np.log10(stiff.K_VRH.to_numpy())),
        "log10 G (GPa)": (elastic, stiff.index, np.log10(stiff.G_VRH.to_numpy())),
    }


def main() -> None:
    command_line(__doc__, "angles").parse_args()
    scores: dict[str, dict[str, list[float]]] = {}
    sizes = {}
    for quantity, (dataset, rows, target) in tables().items():
        graphs = [crystal_graph(structure) for structure in dataset.structures(rows)]
        split = splits.random_split(len(rows), validation=0.1, test=0.2)
        sizes[quantity] = [len(split.train), len(split.test)]
        scores[quantity] = {name: [] for name in MODELS}
        truth = target[split.test]
        for name, make in MODELS.items():
            start = time.process_time()
            for seed in range(SEEDS):
                torch.manual_seed(seed)
                model = make(features=FEATURES, line_layers=2, layers=0)
                trained = fit(model, graphs, target, split, epochs=EPOCHS, batch_size=32, progress=False)
                off = trained.predict([graphs[row] for row in split.test]).numpy() - truth
                scores[quantity][name].append(
                    round(float(1 - (off**2).sum() / ((truth - truth.mean()) ** 2).sum()), 3)
                )
            took = time.process_time() - start
            print(f"{quantity:15s}{name:16s} R^2 {scores[quantity][name]}, {took:.0f} s", flush=True)
    record = {
        "command": "python -m benchmarks.angles",
        "run with": machine(),
        "crystals": sizes,
        "R^2": scores,
    }
    FIGURE.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(scores)


def draw(scores: dict[str, dict[str, list[float]]]) -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for place, of in enumerate(scores.values()):
        looks = zip(of.items(), (plots.BLUE, plots.VERMILLION), ("o", "D"), strict=True)
        for shift, ((name, values), colour, shape) in enumerate(looks):
            at = np.full(len(values), place + 0.2 * shift - 0.1)
            ax.plot(at, values, shape, color=colour, label=name if place == 0 else None, alpha=0.7)
    ax.axhline(0.9, color="grey", linestyle="--", label="slide 34, moduli: 0.9")
    ax.set_xticks(range(len(scores)), scores)
    ax.set(ylabel="R² on the test part (no unit)", ylim=(None, 1))
    ax.legend(loc="center")
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
