"""Checks of a training that starts from a trained network: what moves, and what must not (slide 43).

The student's `fine_tune` is tried on a small MACE and a few crystals, both of which stand here too: the check
gives the parameters and measures the loss itself.

Read in order: `small_potential`, `small_graphs`, `holds_tuning`, the check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import labelled

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from mg9.potential import Potential

CUTOFF = 4.0  # Å
CRYSTALS = ("mp-22865", "mp-390", "mp-2133")  # CsCl, anatase, wurtzite ZnO


def small_potential() -> Potential:
    """A MACE of four features and two rounds, for cells in which every atom has a neighbour within 4 Å."""
    from mg9.f_mace import MACE
    from mg9.potential import Potential

    sizes = {
        "features": 4,
        "l_hidden": 0,
        "l_max": 1,
        "correlation": 2,
        "radial": 4,
        "hidden": 4,
        "readout": 4,
    }
    return Potential(MACE(**sizes, cutoff=CUTOFF, mean_neighbors=10.0), cutoff=CUTOFF)


def small_graphs(ids: Sequence[str], dtype: torch.dtype | None = None) -> list[Data]:
    """Graphs of crystals of the formation-energy table; `y` (1,) is the formation energy in eV/atom."""
    from mg9.a_crystal import radius_graph

    found = labelled()
    graphs = [radius_graph(found.structure(name), cutoff=CUTOFF, name=name, dtype=dtype) for name in ids]
    for name, graph in zip(ids, graphs, strict=True):
        graph.y = graph.pos.new_tensor([found.table.loc[name, "formation_energy_per_atom"]])
    return graphs


def error_and_slopes(state: dict[str, Tensor], ids: Sequence[str]) -> tuple[float, dict[str, Tensor]]:
    """The mean absolute error (eV/atom) of a small potential with these parameters, in float64, and its slope
    by each of those that it depends on: some have no say in crystals of high symmetry."""
    potential = small_potential().double()
    potential.load_state_dict(state)
    off = [potential.energy(graph) / len(graph.z) - graph.y for graph in small_graphs(ids, torch.float64)]
    error = torch.cat(off).abs().mean()
    error.backward()
    slopes = {name: p.grad for name, p in potential.named_parameters() if p.grad is not None}
    return error.item(), {name: slope for name, slope in slopes.items() if float(slope.abs().max()) > 1e-9}


@register(
    "mace.tuning",
    slide=43,
    outcome=6,
    cause="a copy; requires_grad_(name in trained) for each parameter; the optimiser gets what is trained; "
    "for each batch zero_grad, loss, backward, step",
)
def tuning(student: Local, rng: np.random.Generator, function: Callable) -> str:
    told = [holds_tuning(student, function, CRYSTALS, begins, seed=1) for begins in BEGINS]
    return "; ".join(told)


BEGINS = (("model.readouts.",), ("model.readouts.", "model.rounds.1."), ("model.",))


def holds_tuning(
    student: Local, function: Callable, ids: Sequence[str], begins: tuple[str, ...], seed: int
) -> str:
    """One run from known parameters: what was to stay has stayed, all else has moved, and the error fell."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        potential = small_potential().double()
    start, names = potential.state_dict(), [name for name, _ in potential.named_parameters()]
    start = {name: tensor.clone() for name, tensor in start.items()}
    trained = [name for name in names if name.startswith(begins)]
    got = student.call(function, start, list(ids), trained, 12, 5e-3)
    if not isinstance(got, tuple | list) or len(got) != 2 or not all(isinstance(s, dict) for s in got):
        raise WrongKind("fine_tune should return the potential that it trained", got=type(got).__name__)
    original, after = got
    if set(after) != set(start) or any(after[name].shape != start[name].shape for name in start):
        raise CheckFailed("what came back is another network than the one that went in", cause="")
    if changed := [name for name in start if not same(original[name], start[name])]:
        what = "the potential that was given is changed: fine-tune a copy, the original is needed again"
        raise CheckFailed(what, crystal=changed[0], cause="deepcopy(potential) at the beginning")
    moved = [name for name in start if not same(after[name], start[name])]
    where = f"{len(trained)} of {len(names)} parameters are trained"
    if free := [name for name in moved if name not in trained]:
        what = f"{free[0]} moved although it was to stay frozen"
        raise CheckFailed(what, crystal=where, expected="no change", got=f"{len(free)} frozen tensors moved")
    if not moved:
        raise CheckFailed("nothing moved at all: is there a backward() and a step()?", crystal=where)
    before, slopes = error_and_slopes(start, ids)
    felt = [name for name in trained if name in slopes]
    if stuck := [name for name in felt if name not in moved]:
        what = f"{stuck[0]} did not move although it is trained"
        raise CheckFailed(what, crystal=where, expected=f"{len(trained)} moved", got=f"{len(moved)}")
    now, _ = error_and_slopes(after, ids)
    if not now < before - 1e-3:
        what = "the error on the training crystals did not fall"
        raise CheckFailed(
            what, crystal=where, expected=f"less than {before:.3f} eV/atom", got=f"{now:.3f} eV/atom"
        )
    follows(student, function, start, ids, {name: slopes[name] for name in felt})
    return f"{len(moved)} tensors moved, {before:.2f} to {now:.2f} eV/atom"


def follows(
    student: Local,
    function: Callable,
    start: dict[str, Tensor],
    ids: Sequence[str],
    slopes: dict[str, Tensor],
) -> None:
    """One epoch of small steps goes against the slope. Steps that are made up agree with about half of it;
    those of Adam, AdamW, SGD and RMSprop, in whatever batches, with 0.87 or more."""
    _, after = student.call(function, start, list(ids), list(slopes), 1, 1e-4)
    down = [
        slope.abs()[torch.sign(after[name] - start[name]) == -torch.sign(slope)].sum() / slope.abs().sum()
        for name, slope in slopes.items()
    ]
    agreed = float(torch.stack(down).mean())
    if agreed < 0.8:
        what = "the error falls, but the parameters do not follow its gradient"
        raise CheckFailed(what, expected="steps against the slope", got=f"{agreed:.0%} of it, by chance 50%")


def same(one: Tensor, other: Tensor) -> bool:
    """Equal number by number, NaN like NaN."""
    return bool(torch.equal(torch.nan_to_num(one.double()), torch.nan_to_num(other.double())))
