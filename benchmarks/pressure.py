"""What slide 27 conditions on: how far crystals give way under pressure, by the released M3GNet, not DFT.

Half of the cubic crystals of the elasticity table with at most four atoms, each strained alike in all
directions, its atoms moved with the cell. The mean stress at each volume gives P(V), and its inverse V(P).
Left out: crystals that are not stiff enough to carry the largest pressure within these strains, or whose P(V)
is not monotonous.

Writes course/figures/pressure.json: for each crystal the compression in % at each pressure, and the bulk
modulus of the same curve beside the label of DFT.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.peers import machine
from benchmarks.usage import command_line
from mg9 import data
from mg9.a_crystal import radius_graph
from mg9.a_errors import CrystalError
from mg9.a_graph import batch_graphs
from mg9.potential import GPA
from mg9.pretrained.m3gnet import load

FILE = Path(__file__).parents[1] / "course" / "figures" / "pressure.json"
PRESSURES = [2.0, 4.0, 6.0, 8.0, 10.0]  # GPa
STRAINS = np.linspace(-0.06, 0.03, 7)
WEIGHTS = "MP-2021.2.8-DIRECT"


def curve(potential, structure) -> tuple[np.ndarray, np.ndarray]:
    """Volumes in Å^3 and pressures in GPa of the strained crystal."""
    strained = [structure.copy() for _ in STRAINS]
    for one, strain in zip(strained, STRAINS, strict=True):
        one.apply_strain(float(strain))
    found = potential(batch_graphs([radius_graph(one, cutoff=5.0) for one in strained]))
    pressure = -GPA * torch.diagonal(found.stress, dim1=1, dim2=2).mean(dim=1)
    return np.array([one.volume for one in strained]), pressure.double().numpy()


def compression(volume: np.ndarray, pressure: np.ndarray) -> tuple[list[float], float] | None:
    """In % at each of `PRESSURES`, and the bulk modulus in GPa at P = 0; None where the curve is no use."""
    if not (np.diff(pressure) < 0).all() or pressure.min() > 0 or pressure.max() < PRESSURES[-1]:
        return None
    at = np.interp([0.0, *PRESSURES], pressure[::-1], volume[::-1])
    slope = np.gradient(pressure, np.log(volume))
    percent = [round(100 * (1 - v / at[0]), 3) for v in at[1:]]
    return percent, round(-float(np.interp(at[0], volume, slope)), 1)


def main() -> None:
    command_line(__doc__, "pressure").parse_args()
    dataset = data.elasticity()
    table = dataset.table
    cubic = table[(table.space_group >= 195) & (table.nsites <= 4)][::2]
    potential, kept, modulus = load(WEIGHTS), {}, {}
    for name in tqdm(cubic.index, desc="compress", unit="crystal"):
        try:
            found = compression(*curve(potential, dataset.structure(name)))
        except CrystalError:  # an element that it never saw, an atom without a neighbour
            continue
        if found is not None:
            kept[name], modulus[name] = found
    error = np.abs([modulus[name] - cubic.K_VRH[name] for name in modulus]).mean()
    record = {
        "command": "python -m benchmarks.pressure",
        "weights": f"M3GNet {WEIGHTS}",
        "run with": machine(),
        "crystals": len(cubic),
        "pressure (GPa)": PRESSURES,
        "compression (%)": kept,
        "bulk modulus (GPa)": modulus,
    }
    FILE.write_text(json.dumps(record) + "\n", encoding="utf-8")
    print(f"{len(kept)} of {len(cubic)} crystals; bulk moduli {error:.0f} GPa from DFT's on average")


if __name__ == "__main__":
    main()
