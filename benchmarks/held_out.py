"""What a random split hides: CGCNN's error on each chemistry family, with and without it in training.

Formation energies of all 3,938 crystals, the released (batch-normalised) network, one seed a family.

Writes course/figures/held_out.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import machine
from course import blind
from mg9 import plots
from mg9.a_crystal import crystal_graph
from mg9.d_cgcnn import ReleasedCGCNN
from mg9.splits import chemistry_family, family_split, random_split
from mg9.train import fit

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "held_out.png"
FAMILIES = ("oxide", "halide", "chalcogenide", "nitride", "intermetallic")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=24)
    epochs = parser.parse_args().epochs
    dataset = blind.complete("formation_energy")
    formulas = list(dataset.table["formula"])
    family = np.array([chemistry_family(formula) for formula in formulas])
    target = dataset.table["formation_energy_per_atom"].to_numpy()
    graphs = [crystal_graph(structure) for structure in dataset.structures()]

    def test_errors(split) -> np.ndarray:
        """|error| in eV/atom of each crystal of the test part."""
        torch.manual_seed(0)
        trained = fit(ReleasedCGCNN(), graphs, target, split, epochs=epochs)
        prediction = trained.predict([graphs[k] for k in split.test]).numpy()
        return np.abs(prediction - target[split.test])

    easy = random_split(len(graphs), test=0.2)
    on_random = test_errors(easy)
    print(
        f"{len(graphs)} crystals, {epochs} epochs, {machine()}; random split: {on_random.mean():.3f} eV/atom"
    )
    print(f"{'family':16s}{'crystals':>9s}{'random':>9s}{'held out':>9s}{'ratio':>7s}")
    table = {}
    for name in FAMILIES:
        seen = on_random[family[easy.test] == name].mean()
        unseen = test_errors(family_split(formulas, hold_out=name)).mean()
        table[name] = (seen, unseen)
        print(
            f"{name:16s}{(family == name).sum():9d}{seen:9.3f}{unseen:9.3f}{unseen / seen:7.1f}", flush=True
        )
    draw(table)


def draw(table: dict[str, tuple[float, float]]) -> None:
    """Two bars for each family: its test error on a random split, and when it is held out."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    place = np.arange(len(table))
    seen, unseen = np.array(list(table.values())).T
    axes.bar(place - 0.2, seen, 0.38, color=plots.BLUE, label="random split: relatives are in training")
    axes.bar(
        place + 0.2,
        unseen,
        0.38,
        color=plots.VERMILLION,
        hatch="//",
        edgecolor="white",
        label="family held out",
    )
    axes.set_xticks(place, list(table))
    axes.set_ylabel("test error of the formation energy,\nMAE (eV/atom)")
    axes.legend()
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
