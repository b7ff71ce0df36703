"""MACE-MP-0 small in this package beside mace-torch 0.3.16: an MD step's work, and a fine-tuning step.

    python -m benchmarks.released_mace --mace PYTHON

PYTHON is the interpreter of an environment with mace-torch 0.3.16, e3nn 0.4.4 and this package's `data`; it
runs with TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1, for the file that this package holds to its sha256. Both in
float32, one thread, in processes of their own and in turn. Evaluation: energy, forces and stress of 64 atoms
of silicon through ASE, positions changed before each call, the graph built anew. Fine-tuning: four cells of
eight atoms, forward, backward through the forces, and an AdamW step, on a graph built beforehand.
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
ROUNDS, STEPS = 3, 5
GOAL = 1.0


def silicon(repeats: int):
    from ase.build import bulk

    atoms = bulk("Si", cubic=True) * (repeats, repeats, repeats)
    atoms.rattle(0.05, seed=0)
    return atoms


def evaluation(calculator) -> Callable[[int], None]:
    atoms = silicon(2)
    atoms.calc = calculator

    def step(k: int) -> None:
        atoms.rattle(1e-3, seed=k)
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()

    return step


def ours(_: str) -> tuple[Callable, Callable]:
    import torch

    from mg9.a_graph import batch_graphs
    from mg9.calculator import PotentialCalculator, graph_of
    from mg9.pretrained import mace

    potential = mace.load(dtype=torch.float32)
    trained = mace.load(dtype=torch.float32).requires_grad_().train()
    batch = batch_graphs([graph_of(silicon(1), potential.cutoff, torch.float32) for _ in range(4)])
    optimizer = torch.optim.AdamW(trained.parameters(), lr=1e-5)

    def tune(_: int) -> None:
        found = trained(batch, stress=False)
        optimizer.zero_grad()
        (found.energy.square().mean() + found.forces.square().mean()).backward()
        optimizer.step()

    return evaluation(PotentialCalculator(potential)), tune


def mace_torch(file: str) -> tuple[Callable, Callable]:
    import torch
    from mace import data, tools
    from mace.calculators import MACECalculator

    calculator, to_train = (MACECalculator(file, device="cpu", default_dtype="float32") for _ in range(2))
    model = to_train.models[0].train()
    table = tools.AtomicNumberTable([int(z) for z in model.atomic_numbers])
    configs = [data.config_from_atoms(silicon(1)) for _ in range(4)]
    parts = [data.AtomicData.from_config(one, z_table=table, cutoff=float(model.r_max)) for one in configs]
    batch = next(iter(tools.torch_geometric.dataloader.DataLoader(parts, batch_size=4))).to_dict()
    for parameter in model.parameters():
        parameter.requires_grad_()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def tune(_: int) -> None:
        found = model(dict(batch), training=True)
        optimizer.zero_grad()
        (found["energy"].square().mean() + found["forces"].square().mean()).backward()
        optimizer.step()

    return evaluation(calculator), tune


def work(whose: str, file: str) -> None:
    """In the process of one implementation: print milliseconds of each step as JSON."""
    import torch

    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    steps = {"mg9": ours, "mace-torch": mace_torch}[whose](file)
    for name, step in zip(("evaluation", "fine-tuning"), steps, strict=True):
        for k in range(STEPS + 2):
            start = time.perf_counter()
            step(k)
            times.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
    print(json.dumps({name: of[2:] for name, of in times.items()}))


def main() -> None:
    parser = command_line(__doc__, "released_mace --mace PYTHON")
    parser.add_argument("--mace", metavar="PYTHON", help="interpreter of an environment with mace-torch")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        return work(*given.work)
    if given.mace is None:
        return print("mace-torch is not there: give --mace PYTHON")

    from mg9.data.cache import member, obtain
    from mg9.pretrained import mace, states

    content = member(obtain(mace.AIIDA), mace.FILE)
    states.verify_content(content, mace.SHA256, mace.FILE)
    times: dict[str, dict[str, list[float]]] = {"mg9": {}, "mace-torch": {}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mace.model"
        file.write_bytes(content)
        for whose in list(times) * ROUNDS:
            for name, of in in_process(sys.executable if whose == "mg9" else given.mace, whose, file).items():
                times[whose].setdefault(name, []).extend(of)
    for name in times["mg9"]:
        own, theirs = (median(times[whose][name]) for whose in times)
        spread = np.percentile(times["mg9"][name], [0, 100])
        print(
            f"{name:12} mg9 {own:6.0f} ms ({spread[0]:.0f} to {spread[1]:.0f}), mace-torch {theirs:6.0f} ms, "
            f"ratio {theirs / own:.2f}, goal {GOAL}"
        )


def in_process(python: str, whose: str, file: Path) -> dict[str, list[float]]:
    env = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    }
    command = [python, "-m", "benchmarks.released_mace", "--work", whose, str(file)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{whose}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
