"""Two ions further apart than every cutoff (slide 44): what potentials with a cutoff say, and Coulomb's law.

Na2Cl with the charge +1 and NaCl2 with -1, linear and side by side in an otherwise empty cell, from 4 to 24 Å
(every atom keeps a neighbour): energy and the force that pulls the first to the second. MACE-MP-0 small and
M3GNet, whose energies are counted from the greatest distance, beside point charges of +1 at each Na and -1 at
each Cl.
Takes seconds. Writes course/figures/long_range.json and draws long_range.png beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import plots

FIGURE = Path(__file__).parents[1] / "course" / "figures" / "long_range.png"
NAMES = {"mace-mp-0-small": "MACE-MP-0 small", "m3gnet-mp-2021": "M3GNet"}
COULOMB = 14.3996454  # eV Å, e^2 / (4 pi epsilon_0)
DISTANCES = np.concatenate([np.arange(4.0, 9.0, 0.25), np.arange(9.0, 24.5, 1.0)])
BOX = 60.0  # Å: no image is nearer than 30 Å
SPECIES, CHARGES = ("Na", "Cl", "Na", "Cl", "Na", "Cl"), np.array([1, -1, 1, -1, 1, -1])
BOND = 2.5  # Å, Na to Cl inside an ion


def pair(r: float) -> Structure:
    """The two ions, each along y, at a distance r (Å) along x: the first three atoms, and the last three."""
    sites = [[r * (k // 3), BOND * (k % 3 - 1), 0] for k in range(6)]
    return Structure(Lattice.cubic(BOX), SPECIES, sites, coords_are_cartesian=True)


def coulomb(r: float) -> tuple[float, float]:
    """Energy (eV) between the point charges of the two ions, and the force (eV/Å) along x on the first."""
    sites = pair(r).cart_coords
    away = sites[3:][None] - sites[:3][:, None]  # (3, 3, 3), from the first ion to the second
    apart = np.linalg.norm(away, axis=2)
    product = COULOMB * CHARGES[:3, None] * CHARGES[None, 3:]
    return float((product / apart).sum()), float((-product * away[..., 0] / apart**3).sum())


def main() -> None:
    from mg9.g_foundation import load

    command_line(__doc__.split("\n\n")[0], "long_range").parse_args()
    torch.set_num_threads(1)
    energy, force = np.transpose([coulomb(r) for r in DISTANCES])
    record = {
        "command": "python -m benchmarks.long_range",
        "run with": machine(),
        "distance (Å)": np.round(DISTANCES, 2).tolist(),
        "Coulomb": {
            "energy": np.round(energy, 5).tolist(),
            "force": np.round(force, 5).tolist(),
        },
        "potentials": {},
    }
    for name, title in tqdm(NAMES.items(), desc="long range", unit="potential"):
        backbone = load(name, dtype=torch.float64)
        found = backbone.predict([pair(r) for r in DISTANCES])
        record["potentials"][title] = {
            "cutoff (Å)": backbone.potential.cutoff,
            "energy": np.round((found.energy - found.energy[-1]).numpy(), 6).tolist(),
            "force": np.round(found.forces.view(-1, 6, 3)[:, :3, 0].sum(dim=1).numpy(), 6).tolist(),
        }
    FIGURE.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(record)


def draw(record: dict) -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    r = record["distance (Å)"]
    curves = {"Coulomb's law": record["Coulomb"], **record["potentials"]}
    looks = (("black", "-"), (plots.BLUE, "o-"), (plots.VERMILLION, "D--"))
    for (name, curve), (colour, line) in zip(curves.items(), looks, strict=True):
        for ax, kind in ((left, "energy"), (right, "force")):
            ax.plot(r, curve[kind], line, color=colour, markersize=3, label=name)
            if "cutoff (Å)" in curve:
                ax.axvline(curve["cutoff (Å)"], color=colour, linewidth=0.8, linestyle=":")
    left.set(xlabel="distance of the ions (Å)", ylabel="energy of interaction (eV)")
    right.set(xlabel="distance of the ions (Å)", ylabel="force of attraction (eV/Å)")
    left.legend(fontsize=8)
    FIGURE.write_bytes(plots.png())
    print(f"wrote {FIGURE.relative_to(FIGURE.parents[2])} and its JSON file")


if __name__ == "__main__":
    main()
