"""Energy, forces and stress of 100 crystals by each pretrained potential, beside its own package (slide 42).

FOLDER: where `pip install --no-deps --target FOLDER` has put chgnet 0.4.2, sevenn 0.13.0 and what they import
beyond this course's packages (braceexpand, nvidia-ml-py3); and in one of its own mace-torch 0.3.16 with
e3nn 0.4.4. What is not given is left out. The first 100 crystals of the formation energies with at most 20
atoms, float32, one thread, each potential in a process of its own; the median of three passes, in turn with
the package's own way: CHGNet's `predict_structure` in batches, for the others their ASE calculator.

Symmetry: the same for 20 of them whose atoms are moved by 0.1 Å at random, turned and mirrored, in float64
where it is ours; meV/atom, the mean and the largest. Writes course/figures/backbones.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.usage import command_line

ROOT = Path(__file__).resolve().parents[1]
FIGURE = ROOT / "course" / "figures" / "backbones.json"
CRYSTALS, MOST_ATOMS, MOVED, PASSES = 100, 20, 20, 3
NAMES = ("mace-mp-0-small", "m3gnet-mp-2021", "chgnet-0.3.0", "sevennet-0")


def one_by_one(calculator, crystals: list) -> Callable[[], list[float]]:
    """Energies through an ASE calculator, with forces and stress."""
    from pymatgen.io.ase import AseAtomsAdaptor

    def run() -> list[float]:
        energies = []
        for one in crystals:
            atoms = AseAtomsAdaptor.get_atoms(one, msonable=False)
            atoms.calc = calculator
            energies.append(float(atoms.get_potential_energy()))
            atoms.get_forces(), atoms.get_stress()
        return energies

    return run


def own_way(name: str, backbone, crystals: list) -> Callable[[], list[float]] | None:
    """What the package itself offers for many crystals; None where it is not there."""
    if name == "chgnet-0.3.0":
        model = backbone.calculator.model

        def run() -> list[float]:
            found = model.predict_structure(crystals, task="efs", batch_size=16)
            return [float(one["e"]) * len(crystal) for one, crystal in zip(found, crystals, strict=True)]

        return run
    if name == "sevennet-0":
        return one_by_one(backbone.calculator, crystals)
    if name != "mace-mp-0-small":
        return None
    try:
        from mace.calculators import MACECalculator
    except ImportError:
        return None
    from mg9.data.cache import member, obtain
    from mg9.pretrained import mace, states

    content = member(obtain(mace.AIIDA), mace.FILE)
    states.verify_content(content, mace.SHA256, mace.FILE)
    with tempfile.NamedTemporaryFile(suffix=".model") as file:
        file.write(content)
        file.flush()
        return one_by_one(MACECalculator(file.name, device="cpu", default_dtype="float32"), crystals)


def symmetry(name: str, crystals: list) -> dict[str, list[float]]:
    """Change of the energy (meV/atom) of crystals that are turned, and turned and mirrored."""
    import torch
    from pymatgen.core import Structure

    from mg9.b_symmetry import random_rotation, rotate
    from mg9.g_foundation import load

    rng, backbone = np.random.default_rng(0), load(name, dtype=torch.float64)
    moved = [
        Structure(
            one.lattice,
            one.species,
            one.cart_coords + rng.normal(scale=0.1, size=(len(one), 3)),
            coords_are_cartesian=True,
        )
        for one in crystals
    ]
    before, found = backbone.energy(moved).double().numpy(), {}
    for what, reflect in (("turned", False), ("mirrored", True)):
        after = backbone.energy([rotate(one, random_rotation(rng, reflect=reflect)) for one in moved])
        off = 1000 * np.abs(after.double().numpy() - before) / [len(one) for one in moved]
        found[what] = [float(f"{off.mean():.3g}"), float(f"{off.max():.3g}")]
    return found


def work(name: str) -> dict:
    """In the process of one potential: its row."""
    import torch

    from benchmarks.peers import machine
    from mg9 import data
    from mg9.g_foundation import load

    torch.set_num_threads(1)
    dataset = data.formation_energy()
    few = dataset.table.index[dataset.table["nsites"] <= MOST_ATOMS][:CRYSTALS]
    crystals, backbone = dataset.structures(few), load(name)
    ways = {"mg9": lambda: backbone.predict(crystals).energy.tolist()}
    if theirs := own_way(name, backbone, crystals):
        ways["own package"] = theirs
    energies = {way: run() for way, run in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way, run in list(ways.items()) * PASSES:
        start = time.perf_counter()
        run()
        times[way].append(1000 * (time.perf_counter() - start) / len(crystals))
    row = {"name": name, "run with": machine(), "atoms": sum(map(len, crystals))}
    row |= {f"{way} (ms a crystal)": round(median(of), 1) for way, of in times.items()}
    if theirs:
        off = np.abs(np.subtract(*energies.values())) / [len(one) for one in crystals]
        row["largest difference (meV/atom)"] = float(f"{1000 * off.max():.2g}")
    row |= {f"{k} (meV/atom)": v for k, v in symmetry(name, crystals[:MOVED]).items()}
    return row | {"load average": round(os.getloadavg()[0], 1)}


def main() -> None:
    parser = command_line(__doc__, "backbones --peers FOLDER --mace FOLDER", "backbones --names sevennet-0")
    parser.add_argument("--peers", metavar="FOLDER", default="", help="with chgnet and sevenn")
    parser.add_argument("--mace", metavar="FOLDER", default="", help="with mace-torch")
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES, help="default: all")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        return print(json.dumps(work(given.work)))
    for name in given.names:
        env = os.environ | {
            "PYTHONPATH": given.mace if name.startswith("mace") else given.peers,
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "passive",
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        }
        command = [sys.executable, "-m", "benchmarks.backbones", "--work", name]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode:
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}")
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        rows = json.loads(FIGURE.read_text("utf-8"))["rows"] if FIGURE.exists() else []
        rows = [*(one for one in rows if one["name"] != name), row]
        print(", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
        record = {"command": "python -m benchmarks.backbones", "crystals": CRYSTALS, "rows": rows}
        FIGURE.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
