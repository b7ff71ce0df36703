"""A training step of SchNet, MEGNet, M3GNet, ALIGNN beside their peers: same batch, same graph, one thread.

    python -m benchmarks.architectures
    python -m benchmarks.architectures --matgl PYTHON --alignn PYTHON

SchNet's peer, PyTorch Geometric, is always there. matgl 4.1.2 and alignn 2026.8.11 are never installed with
this package: PYTHON is the interpreter of an environment that has one of them. Without it, that peer is left
out.

Each model runs in a process of its own, which takes turns with its peer's. A step is forward, backward and
SGD, on a batch of 64 crystals; for forces, the loss also holds the squared slope along the positions. Memory
is what the largest moment of the steps adds to the process before them. alignn's line graph is made before
the steps, ours in each. What is not equal: Set2Set (matgl's MEGNet has another one, with 2 x 32 outputs) and
atom features (alignn reads 92-dim rows, our ALIGNN has learned ones).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
CASES = [  # name, peer, graph, forces, goal
    ("SchNet", "torch_geometric", "radius", False, 1.3),
    ("SchNet", "torch_geometric", "radius", True, 1.2),
    ("MEGNet", "matgl", "radius", False, 2.0),
    ("M3GNet", "matgl", "radius", False, 2.0),
    ("M3GNet", "matgl", "radius", True, 1.5),
    ("ALIGNN", "alignn", "shells", False, 2.0),
]
ROUNDS, STEPS = 3, 3


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


def ours(name: str, batch: dict):
    """(model, function of the positions to the energies)."""
    from torch_geometric.data import Data

    from mg9.a_graph import edge_vectors

    module, attribute = {
        "SchNet": ("c_schnet", "SchNet"),
        "MEGNet": ("e_megnet", "ReleasedMEGNet"),
        "M3GNet": ("e_m3gnet", "ReleasedM3GNet"),
        "ALIGNN": ("e_alignn", "ALIGNN"),
    }[name]
    model = getattr(importlib.import_module(f"mg9.{module}"), attribute)()

    def energy(pos):
        graph = Data(**batch)
        graph.pos = pos
        graph.distance = edge_vectors(graph).norm(dim=1) if pos.requires_grad else graph.distance
        return model(_Counted(graph, len(batch["cell"])))

    return model, energy


class _Counted:
    """A graph that knows how many crystals it holds, as PyTorch Geometric's batches do."""

    def __init__(self, graph, n_crystals: int) -> None:
        self.graph, self.num_graphs = graph, n_crystals

    def __getattr__(self, name: str):
        return getattr(self.graph, name)

    def __contains__(self, name: str) -> bool:
        return name in self.graph


def pyg_schnet(batch: dict):
    from torch_geometric.nn.models import SchNet

    offset = offsets(batch)

    def edges(pos, _):
        j, i = batch["edge_index"]
        return batch["edge_index"], (pos[j] + offset - pos[i]).norm(dim=1)

    model = SchNet(64, 64, 3, 51, 5.0, interaction_graph=edges)
    return model, lambda pos: model(batch["z"], pos, batch["batch"]).squeeze(-1)


def matgl_model(name: str, batch: dict):
    import torch
    from matgl.models import M3GNet, MEGNet
    from torch_geometric.data import Data

    known = [z for z in range(1, 95) if not 84 <= z <= 88]
    node_type = torch.tensor([known.index(int(z)) for z in batch["z"]])
    if name == "MEGNet":
        sizes = {"dim_node_embedding": 16, "dim_edge_embedding": 100, "dim_state_embedding": 2, "nblocks": 3}
        model = MEGNet(**sizes, include_state=True, cutoff=4.0, activation_type="softplus2")
        state = torch.zeros(len(batch["cell"]), 2)
    else:
        model, state = M3GNet(is_intensive=False), None

    def energy(pos):
        graph = Data(edge_index=batch["edge_index"].flip(0), pbc_offshift=offsets(batch), pos=pos)
        graph.node_type, graph.batch = node_type, batch["batch"]
        return model(_Counted(graph, len(batch["cell"])), state_attr=state)

    return model, energy


def alignn_model(batch: dict):
    import torch
    from alignn.models.alignn_atomwise_pure import ALIGNNAtomWisePure, ALIGNNAtomWisePureConfig
    from alignn.torch_graph_builder import TorchGraph, _line_graph_edges

    config = ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure",
        atom_input_features=92,
        calculate_gradient=False,
        use_penalty=False,
        energy_mult_natoms=False,
    )
    j, i = batch["edge_index"]
    crystal = batch["batch"]
    counts = torch.bincount(crystal), torch.bincount(crystal[i])
    r = batch["pos"][i] - offsets(batch) - batch["pos"][j]
    first, second = _line_graph_edges(j, i, len(batch["z"]))
    features = torch.randn(100, 92)[batch["z"]]
    graph = TorchGraph(len(batch["z"]), j, i, {"atom_features": features}, {"r": r}, *counts)
    line = TorchGraph(len(j), first, second)
    model = ALIGNNAtomWisePure(config)
    return model, lambda pos: model((graph, line, batch["cell"]))["out"]


def offsets(batch: dict):
    """shift @ cell of each edge (E, 3)."""
    import torch

    return torch.einsum("ec,ecd->ed", batch["shift"], batch["cell"][batch["batch"][batch["edge_index"][1]]])


def work(name: str, whose: str, file: str, forces: bool) -> None:
    """In the process of one model: print milliseconds of each step, MB, and parameters, as JSON."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = torch.load(file, weights_only=True)
    peers = {"torch_geometric": pyg_schnet, "alignn": alignn_model}
    if whose == "mg9":
        model, energy = ours(name, batch)
    elif whose == "matgl":
        model, energy = matgl_model(name, batch)
    else:
        model, energy = peers[whose](batch)
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


def measured(python: str, name: str, whose: str, file: str, forces: bool) -> dict:
    command = [python, "-m", "benchmarks.architectures", "--work", name, whose, file, str(int(forces))]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, cwd=ROOT, env=one_thread, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{whose}, {name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(case: tuple, pythons: dict[str, str], files: dict[str, str]) -> None:
    name, peer, graph, forces, goal = case
    label = f"{name}, {'energy and forces' if forces else 'energy'}"
    if pythons[peer] is None:
        print(f"{label:26} {peer} is not there: give --{peer} PYTHON")
        return
    runs = {"mg9": [], peer: []}
    for _ in range(ROUNDS):
        for whose in runs:
            python = sys.executable if whose == "mg9" else pythons[peer]
            runs[whose].append(measured(python, name, whose, files[graph], forces))
    times = {whose: median(t for run in of for t in run["times"]) for whose, of in runs.items()}
    for whose, of in runs.items():
        memory = median(run["memory"] for run in of)
        print(f"{label:26} {whose:16} {times[whose]:7.0f} ms {memory:6.0f} MB {of[0]['parameters']:9,}")
    print(f"{label:26} ratio {times[peer] / times['mg9']:.2f}, goal {goal}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matgl", metavar="PYTHON", help="interpreter of an environment with matgl 4.1.2")
    parser.add_argument(
        "--alignn", metavar="PYTHON", help="interpreter of an environment with alignn 2026.8.11"
    )
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        name, whose, file, forces = given.work
        return work(name, whose, file, forces == "1")
    pythons = {"torch_geometric": sys.executable, "matgl": given.matgl, "alignn": given.alignn}
    with tempfile.TemporaryDirectory() as folder:
        files = prepared(Path(folder))
        print("one thread; time of a step (median), memory that it adds, trained parameters")
        for case in CASES:
            compare(case, pythons, files)


if __name__ == "__main__":
    main()
