"""A training step of two implementations of one model, in turn, each in a process of its own.

A module that compares has `build(name, whose, batch)`, which returns a model and a function from positions
to energies, and calls `main`. A step is forward, backward and SGD on a batch of 64 crystals; for forces, the
loss also holds the squared slope along the positions. Memory is what the largest moment of the steps adds to
the process before them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.usage import command_line

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, STEPS = 3, 3
Case = tuple[str, str, str, bool, float]  # name, peer, graph, forces, goal


def prepared(folder: Path) -> dict[str, str]:
    """Files of the two batches: 64 crystals within 5 Å, and the same with whole shells of 12."""
    import torch

    from mg9 import data
    from mg9.a_crystal import crystal_graph, radius_graph
    from mg9.a_graph import batch_graphs

    ds = data.formation_energy()
    structures = ds.structures(ds.table.index[::50][:64])
    files = {}
    for name, build, cutoff in (("radius", radius_graph, 5.0), ("shells", crystal_graph, 8.0)):
        batch = batch_graphs([build(one, cutoff=cutoff) for one in structures])
        files[name] = str(folder / f"{name}.pt")
        keys = ("z", "pos", "cell", "edge_index", "shift", "distance", "batch")
        torch.save({key: batch[key] for key in keys}, files[name])
        atoms, edges = batch.num_nodes, batch.num_edges
        print(f"{name}: {len(structures)} crystals, {atoms} atoms, {edges} edges")
    return files


class Counted:
    """A graph that knows how many crystals it holds, as PyTorch Geometric's batches do."""

    def __init__(self, graph, n_crystals: int) -> None:
        self.graph, self.num_graphs = graph, n_crystals

    def __getattr__(self, name: str):
        return getattr(self.graph, name)

    def __contains__(self, name: str) -> bool:
        return name in self.graph


def offsets(batch: dict):
    """shift @ cell of each edge (E, 3)."""
    import torch

    return torch.einsum("ec,ecd->ed", batch["shift"], batch["cell"][batch["batch"][batch["edge_index"][1]]])


def of_ours(model, batch: dict) -> Callable:
    """The energies of one of this package's models as a function of the positions."""
    from torch_geometric.data import Data

    from mg9.a_graph import edge_vectors

    def energy(pos):
        graph = Data(**batch)
        graph.pos = pos
        graph.distance = edge_vectors(graph).norm(dim=1) if pos.requires_grad else graph.distance
        return model(Counted(graph, len(batch["cell"])))

    return energy


def work(build: Callable, name: str, whose: str, file: str, forces: bool) -> None:
    """In the process of one model: print milliseconds of each step, MB, and parameters, as JSON."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = torch.load(file, weights_only=True)
    model, energy = build(name, whose, batch)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def step() -> None:
        pos = batch["pos"].clone().requires_grad_(forces)
        total = energy(pos)
        loss = total.square().mean()
        if forces:
            (slope,) = torch.autograd.grad(total.sum(), pos, create_graph=True)
            loss = loss + slope.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(json.dumps({"times": times, "memory": added, "parameters": parameters}))


def measured(module: str, python: str, name: str, whose: str, file: str, forces: bool) -> dict:
    command = [python, "-m", module, "--work", name, whose, file, str(int(forces))]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{whose}, {name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(module: str, case: Case, pythons: dict[str, str | None], files: dict[str, str]) -> None:
    name, peer, graph, forces, goal = case
    label = f"{name}, {'energy and forces' if forces else 'energy'}"
    if pythons[peer] is None:
        print(f"{label:26} {peer} is not there: give --{peer} PYTHON")
        return
    runs: dict[str, list[dict]] = {"mg9": [], peer: []}
    for _ in range(ROUNDS):
        for whose in runs:
            python = sys.executable if whose == "mg9" else pythons[peer]
            runs[whose].append(measured(module, python, name, whose, files[graph], forces))
    times = {whose: median(t for run in of for t in run["times"]) for whose, of in runs.items()}
    for whose, of in runs.items():
        memory = median(run["memory"] for run in of)
        print(f"{label:26} {whose:16} {times[whose]:7.0f} ms {memory:6.0f} MB {of[0]['parameters']:9,}")
    print(f"{label:26} ratio {times[peer] / times['mg9']:.2f}, goal {goal}", flush=True)


def main(about: str, module: str, cases: Sequence[Case], peers: dict[str, str], build: Callable) -> None:
    """peers: those that need an interpreter of their own, with the version."""
    name = module.removeprefix("benchmarks.")
    parser = command_line(about, name, " ".join([name, *(f"--{peer} PYTHON" for peer in peers)]))
    for peer, version in peers.items():
        parser.add_argument(
            f"--{peer}", metavar="PYTHON", help=f"interpreter of an environment with {version}"
        )
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    if given["work"]:
        name, whose, file, forces = given["work"]
        return work(build, name, whose, file, forces == "1")
    pythons = {peer: given.get(peer, sys.executable) for _, peer, *_ in cases}
    with tempfile.TemporaryDirectory() as folder:
        files = prepared(Path(folder))
        print("one thread; time of a step (median), memory that it adds, trained parameters")
        for case in cases:
            compare(module, case, pythons, files)
