"""Are pretrained potentials too soft, and how few frames mend it (slides 43, 44) [deng2025softening]?

Slope of predicted against reference forces, by least squares through the origin: below 1 a potential is too
soft, its forces are too small. First of MACE-MP-0 small and M3GNet as released, on sixty frames of MPtrj
(what MACE-MP-0 was trained on) and on the test frames of mlearn: hot, strained, with vacancies and surfaces.
Then for germanium, after 1, 3 and 10 of its training frames:

    one number    all forces divided by the slope on those frames
    fine-tuned    all weights, 25 steps of one frame each, and one constant for the energy of an atom

and what fine-tuning on germanium did to the forces on MPtrj. One draw of the frames, more with --seeds.
Writes course/figures/softening.json after each row and draws softening.png beside it; a row that is there is
not measured again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data, plots
from mg9.a_crystal import radius_graph
from mg9.a_graph import batch_graphs
from mg9.potential import labelled, three_term_loss

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from mg9.g_foundation import OwnBackbone
    from mg9.potential import Potential

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "softening.png"
NAMES = {"mace-mp-0-small": "MACE-MP-0 small", "m3gnet-mp-2021": "M3GNet"}
MPTRJ, ELEMENTS, MENDED = "MPtrj", ("Ge", "Si", "Li", "Cu", "Ni", "Mo"), "Ge"
FRAMES, MOST_ATOMS = 60, 30
SIZES, STEPS, RATE = (1, 3, 10), 25, 1e-4
ONE_NUMBER, TUNED = "one number", "fine-tuned"
BINS = (0.1, 0.3, 1.0, 3.0, 30.0)  # eV/Å, of the reference force on an atom
WEIGHTS = {"energy": 10.0, "forces": 1.0, "stress": 0.0}


@dataclass(frozen=True)
class Frames:
    """Structures with energies (eV, of the cells) and forces (N, 3) in eV/Å."""

    structures: list
    energy: np.ndarray
    forces: list[np.ndarray]

    def graphs(self, cutoff: float) -> list[Data]:
        return [
            labelled(radius_graph(one, cutoff=cutoff, dtype=torch.float32), energy=E, forces=F)
            for one, E, F in zip(self.structures, self.energy, self.forces, strict=True)
        ]


@cache
def frames(name: str, part: str = "test") -> Frames:
    """Of an element of mlearn, or of MPtrj: those of at most `MOST_ATOMS` atoms, the first `FRAMES`."""
    if name == MPTRJ:
        ds = data.mptrj()
        ids = ds.table.index[ds.table.nsites <= MOST_ATOMS][:FRAMES]
    else:
        ds = data.mlearn()
        ids = ds.table.index[(ds.table.element == name) & (ds.table.split == part)]
    return Frames(ds.structures(ids), ds.table.loc[ids, "energy"].to_numpy(), ds.tensors("forces", ids))


def slope(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Least squares through the origin: predicted = slope * reference."""
    return float((predicted * reference).sum() / np.square(reference).sum())


def judged(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Slope and mean absolute error (eV/Å, by component) of forces (N, 3)."""
    error = float(np.abs(predicted - reference).mean())
    return {"slope": round(slope(predicted, reference), 4), "mae": round(error, 4)}


def by_size(predicted: np.ndarray, reference: np.ndarray) -> list[float | None]:
    """The slope of atoms whose reference force lies between two of `BINS`; None for fewer than 20 atoms."""
    size = np.linalg.norm(reference, axis=1)
    inside = [(low <= size) & (size < high) for low, high in zip(BINS, BINS[1:], strict=False)]
    return [
        round(slope(predicted[rows], reference[rows]), 4) if rows.sum() >= 20 else None for rows in inside
    ]


def forces_of(potential: Potential, graphs: list[Data]) -> np.ndarray:
    """(N, 3) in eV/Å, of all frames one after another."""
    potential.eval()
    found = [
        potential(batch_graphs([one.clone() for one in graphs[k : k + 4]]), stress=False).forces
        for k in range(0, len(graphs), 4)
    ]
    return torch.cat(found).numpy()


def tuned(backbone: OwnBackbone, chosen: list[Data], *, steps: int, seed: int) -> Potential:
    """Its potential after `steps` down the loss on these frames, after a constant was fitted for each atom.

    Errors: ValueError for frames of several elements.
    """
    potential = backbone.potential.eval()
    (z,) = torch.unique(torch.cat([graph.z for graph in chosen])).tolist()
    with torch.no_grad():
        off = [(graph.energy - potential.energy(graph)) / len(graph.z) for graph in chosen]
        potential.references.e[z] += float(torch.cat(off).mean())
    potential.requires_grad_().train()
    optimizer = torch.optim.AdamW(potential.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    rng, order = np.random.default_rng([2, seed]), []
    for _ in range(steps):
        order = order or rng.permutation(len(chosen)).tolist()
        batch = batch_graphs([chosen[order.pop()]])
        loss = three_term_loss(potential(batch, stress=False), batch, **WEIGHTS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(potential.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return potential.requires_grad_(False).eval()


def drawn(n: int, seed: int, of: int) -> np.ndarray:
    """n of the training frames: the first of the seed's order."""
    return np.random.default_rng([1, seed]).permutation(of)[:n]


def as_released(name: str) -> list[dict]:
    from mg9.g_foundation import load

    potential, rows = load(name, dtype=torch.float32).potential, []
    for where in tqdm((MPTRJ, *ELEMENTS), desc=NAMES[name], unit="set"):
        found = forces_of(potential, frames(where).graphs(potential.cutoff))
        reference = np.concatenate(frames(where).forces)
        row = {"potential": NAMES[name], "frames of": where} | judged(found, reference)
        rows.append(row | {"by size": by_size(found, reference)})
    return rows


def mended(name: str, n: int, seed: int) -> list[dict]:
    """The two ways after n frames, on the test frames; and the tuned one on MPtrj."""
    from mg9.g_foundation import load

    backbone = load(name, dtype=torch.float32)
    train = frames(MENDED, "train")
    rows = drawn(n, seed, len(train.structures))
    part = Frames([train.structures[k] for k in rows], train.energy[rows], [train.forces[k] for k in rows])
    chosen, cutoff = part.graphs(backbone.potential.cutoff), backbone.potential.cutoff
    test, reference = frames(MENDED).graphs(cutoff), np.concatenate(frames(MENDED).forces)
    about = {"potential": NAMES[name], "frames": n, "seed": seed}
    number = slope(forces_of(backbone.potential, chosen), np.concatenate(part.forces))
    scaled = forces_of(backbone.potential, test) / number
    found = [about | {"way": ONE_NUMBER, "frames of": MENDED} | judged(scaled, reference)]
    potential = tuned(backbone, chosen, steps=STEPS, seed=seed)
    for where in (MENDED, MPTRJ):
        predicted = forces_of(potential, frames(where).graphs(cutoff))
        judgement = judged(predicted, np.concatenate(frames(where).forces))
        found.append(about | {"way": TUNED, "frames of": where} | judgement)
    return found


def main() -> None:
    parser = command_line(__doc__.split("\n\n")[0], "softening", "softening --seeds 3")
    parser.add_argument("--seeds", type=int, default=1, help="draws of frames (default 1)")
    parser.add_argument("--again", action="store_true", help="forget what is measured already")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = FIGURE.with_suffix(".json")
    about = {
        "command": "python -m benchmarks.softening",
        "run with": machine(),
        "fine-tuning": {"steps": STEPS, "learning rate": RATE, **WEIGHTS},
        "bins (eV/Å)": list(BINS),
    }
    stored = {} if options.again or not file.exists() else json.loads(file.read_text(encoding="utf-8"))
    same = all(stored.get(key) == about[key] for key in about if key != "run with")
    rows = {key: stored[key] if same else [] for key in ("as released", "mended")}
    record = about | rows

    def add(key: str, new: list[dict]) -> None:
        record[key] += new
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    for name in NAMES:
        if NAMES[name] not in {row["potential"] for row in record["as released"]}:
            add("as released", as_released(name))
    done = {(row["potential"], row["frames"], row["seed"]) for row in record["mended"]}
    points = [(name, n, seed) for seed in range(options.seeds) for n in SIZES for name in NAMES]
    points = [(name, *rest) for name, *rest in points if (NAMES[name], *rest) not in done]
    for point in tqdm(points, desc="fine-tuning", unit="training"):
        add("mended", mended(*point))
    draw(record)


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
    sets = (MPTRJ, *ELEMENTS)
    for name, colour, mark in zip(NAMES.values(), (plots.BLUE, plots.VERMILLION), "oD", strict=True):
        before = {row["frames of"]: row for row in record["as released"] if row["potential"] == name}
        left.plot(range(len(sets)), [before[one]["slope"] for one in sets], mark, color=colour, label=name)
        right.plot(0, before[MENDED]["slope"], mark, color=colour, label=f"{name}, as released")
        for way, line in ((ONE_NUMBER, ":"), (TUNED, "-")):
            rows = [
                row
                for row in record["mended"]
                if (row["potential"], row["way"], row["frames of"]) == (name, way, MENDED)
            ]
            found = [[row["slope"] for row in rows if row["frames"] == n] for n in SIZES]
            places = range(1, 1 + len(SIZES))
            right.plot(places, [np.mean(some) for some in found], line, color=colour, label=f"{name}, {way}")
            for place, some in zip(places, found, strict=True):
                right.plot([place] * len(some), some, mark if way == TUNED else ".", color=colour, alpha=0.6)
    for ax in (left, right):
        ax.axhline(1, color="grey", linewidth=1)
        ax.set(ylabel="slope of forces, predicted to DFT")
    left.set_xticks(range(len(sets)), sets)
    right.set_xticks(range(1 + len(SIZES)), [0, *SIZES])
    right.set(xlabel=f"training frames of {MENDED}", title=f"{MENDED}, test frames")
    left.set_title("as released")
    left.legend(fontsize=8)
    right.legend(fontsize=7)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
