"""Silicon of mlearn, and potentials trained on parts of it (slides 35, 39): what `benchmarks.data_efficiency`
measures.

214 training and 25 test frames of up to 64 atoms. Fourteen training frames, drawn once, are for choices;
training sets are nested, and each seed draws another order and another start. Every training takes the same
number of steps of two frames, so that small sets are seen more often, and ends with the last step's weights.

Read in order: `CASES`, `frames`, `trained`, `errors`, `measured`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from mg9.a_graph import batch_graphs
from mg9.c_schnet import SchNet
from mg9.f_mace import MACE
from mg9.f_nequip import NequIP
from mg9.potential import Potential, Prediction, three_term_loss

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

BATCH, TRAIN, VALIDATION = 2, 200, 14
WEIGHTS = {"energy": 10.0, "forces": 1.0, "stress": 0.0}
DESCRIPTORS, ZERO_SHOT, PRETRAINED = "power spectrum, linear", "MACE-MP-0", "MACE-MP-0, fine-tuned"


@dataclass(frozen=True)
class Case:
    """A model with its cutoff (Å), learning rates to choose from, and its part of the steps."""

    cutoff: float
    rates: tuple[float, ...] = ()
    steps: float = 1.0


RATES = (1e-3, 3e-3, 1e-2)
CASES = {
    DESCRIPTORS: Case(5.0),
    "SchNet": Case(5.0, RATES),
    "NequIP, l = 0": Case(5.0, RATES),
    "NequIP, l = 1": Case(5.0, RATES),
    "MACE": Case(5.0, RATES),
    ZERO_SHOT: Case(6.0),
    PRETRAINED: Case(6.0, (1e-4, 3e-4, 1e-3), steps=1 / 6),
}
KEPT = ("z", "pos", "cell", "edge_index", "shift", "distance", "energy", "forces", "stress")


def network(name: str, degree: float) -> Potential:
    """The potential to train; degree: its training graphs' mean number of neighbours."""
    if name in (ZERO_SHOT, PRETRAINED):
        from mg9.pretrained import mace

        return mace.load(dtype=torch.float32)
    options = {"mean_neighbors": degree, "elements": [14]}
    made = {
        "SchNet": lambda: SchNet(features=64),
        "NequIP, l = 0": lambda: NequIP(l_max=0, features=64, **options),
        "NequIP, l = 1": lambda: NequIP(l_max=1, features=32, **options),
        "MACE": lambda: MACE(features=32, l_hidden=0, **options),  # as MACE-MP-0 small
    }
    return Potential(made[name](), cutoff=CASES[name].cutoff)


def silicon() -> tuple[list[Data], list[str]]:
    """The graphs at 6 Å, labelled, with the part of each: train or test."""
    from mg9 import data
    from mg9.a_crystal import radius_graph
    from mg9.potential import labelled

    mlearn = data.mlearn()
    table = mlearn.table[mlearn.table.element == "Si"]
    tensors = (mlearn.tensors(kind, table.index) for kind in ("forces", "stress"))
    labels = zip(table.energy, *tensors, strict=True)
    graphs = [
        labelled(radius_graph(mlearn.structure(jid), cutoff=6.0), energy=energy, forces=forces, stress=stress)
        for jid, (energy, forces, stress) in zip(tqdm(table.index, desc="graphs"), labels, strict=True)
    ]
    return graphs, table.split.to_list()


@cache
def frames(kept: Path | None, cutoff: float) -> tuple[list[Data], list[Data], list[Data]]:
    """Training, validation and test graphs; kept: a file of their tensors, for a machine without the data."""
    from torch_geometric.data import Data

    if kept is None or not kept.exists():
        graphs, parts = silicon()
        if kept is not None:
            torch.save([[{key: graph[key] for key in KEPT} for graph in graphs], parts], kept)
    else:
        tensors, parts = torch.load(kept, weights_only=True)
        graphs = [Data(**one) for one in tensors]
    for graph in graphs:
        near = graph.distance < cutoff
        graph.edge_index, graph.shift = graph.edge_index[:, near], graph.shift[near]
        graph.distance = graph.distance[near]
    train = [graph for graph, part in zip(graphs, parts, strict=True) if part == "train"]
    order = np.random.default_rng(0).permutation(len(train))
    held = [train[k] for k in order[:VALIDATION]]
    test = [graph for graph, part in zip(graphs, parts, strict=True) if part == "test"]
    return [train[k] for k in order[VALIDATION:]], held, test


def drawn(n: int, seed: int) -> np.ndarray:
    """The training frames of a set of n: the first of the seed's order."""
    return np.random.default_rng([1, seed]).permutation(TRAIN)[:n]


def prepared(name: str, chosen: list[Data], device: str) -> Potential:
    """The potential with references (and scale) of the chosen frames."""
    degree = sum(graph.num_edges for graph in chosen) / sum(len(graph.z) for graph in chosen)
    potential = network(name, degree)
    if name not in (ZERO_SHOT, PRETRAINED):
        return potential.fit_references(chosen).to(device)
    potential.to(device).eval()  # another code made its energies: one constant for each atom
    predicted = predict(potential, chosen, device)
    energy = torch.cat([graph.energy for graph in chosen])
    N = torch.tensor([len(graph.z) for graph in chosen])
    potential.references.e[14] += float(((energy - predicted.energy) / N).mean())
    return potential


def trained(
    name: str, chosen: list[Data], *, steps: int, learning_rate: float, seed: int, device: str
) -> Potential:
    torch.manual_seed(seed)
    potential = prepared(name, chosen, device).requires_grad_().train()
    optimizer = torch.optim.AdamW(potential.parameters(), lr=learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=0.1)
    for _, batch in zip(range(steps), batches(chosen, seed, device), strict=False):
        loss = three_term_loss(potential(batch, stress=False), batch, **WEIGHTS)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(potential.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return potential


def batches(chosen: list[Data], seed: int, device: str) -> Iterator[Batch]:
    """Without end: every frame once before any comes again."""
    rng = np.random.default_rng([2, seed])
    while True:
        order = rng.permutation(len(chosen))
        for rows in np.split(order, range(BATCH, len(order), BATCH)):
            yield batch_graphs([chosen[k] for k in rows]).to(device)


def predict(potential: Potential, graphs: list[Data], device: str) -> Prediction:
    found = []
    for k in range(0, len(graphs), BATCH):
        batch = batch_graphs([graph.clone() for graph in graphs[k : k + BATCH]]).to(device)
        found.append(potential(batch, stress=False))
    return Prediction(
        torch.cat([one.energy for one in found]).cpu(), torch.cat([one.forces for one in found]).cpu()
    )


def errors(potential: Potential, graphs: list[Data], device: str) -> dict[str, float]:
    """Mean absolute errors: forces in eV/Å, by component, and energy in eV/atom."""
    predicted = predict(potential.eval(), graphs, device)
    energy, forces = (torch.cat([graph[key] for graph in graphs]) for key in ("energy", "forces"))
    N = torch.tensor([len(graph.z) for graph in graphs])
    found = {"forces": predicted.forces - forces, "energy": (predicted.energy - energy) / N}
    return {kind: round(float(off.abs().mean()), 5) for kind, off in found.items()}


def measured(job: dict) -> dict:
    """A row of the record: a training, and its errors on the test part or, for choices, on the held-out."""
    torch.set_num_threads(1)
    name, n, seed, device = job["model"], job["structures"], job["seed"], job["device"]
    train, held, test = frames(job["graphs"], CASES[name].cutoff)
    chosen, started = [train[k] for k in drawn(n, seed)], time.perf_counter()
    row = {"model": name, "structures": n, "seed": seed}
    if name == ZERO_SHOT:
        return row | errors(prepared(name, chosen, device), test, device)
    steps = max(1, round(job["steps"] * CASES[name].steps))
    rate = job["learning rate"]
    potential = trained(name, chosen, steps=steps, learning_rate=rate, seed=seed, device=device)
    row |= {"learning rate": rate, "steps": steps, "seconds": round(time.perf_counter() - started, 1)}
    row["parameters"] = sum(parameter.numel() for parameter in potential.parameters())
    return row | errors(potential, held if job["choose"] else test, device)
