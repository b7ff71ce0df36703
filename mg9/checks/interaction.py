"""Checks of SchNet's interaction and readout (slides 14, 22).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`). The
functions `holds_...` are the part that hidden checks repeat on other values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, register
from mg9.checks.convolution import small_graph
from mg9.checks.filters import F, K, reference_filter
from mg9.checks.tools import expect_change, expect_close, expect_tensor


def interaction(student: Local, cls: type) -> Any:
    """The student's layer with 6 features and 5 edge features, its filter set to known random numbers."""
    layer = student.make(cls, 0, torch.float64, features=F, edge_features=K)
    student.load(layer, {f"filter.{name}": value for name, value in reference_filter().items()})
    return layer


def updated(student: Local, layer: Any, v: Tensor, u: Tensor, f: Tensor, edge_index: Tensor) -> Tensor:
    """The new atom features, if they have the right shape."""
    return expect_tensor(student.call(layer, v, u, f, edge_index), v.shape, "x'").double()


@register(
    "schnet.direction",
    slide=14,
    outcome=2,
    cause="j, i = edge_index: x_j * W(r_ij) is added to the centre i, channel by channel",
)
def direction(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = interaction(student, cls)
    v, u, _ = small_graph(rng, atoms=2, edges=1)
    f, edge = torch.tensor([0.6]).double(), torch.tensor([[1], [0]])
    new = updated(student, layer, v, u, f, edge)
    where = "two atoms, one edge j = 1, i = 0"
    if float(new[1].abs().max()) == 0:
        raise CheckFailed("atom 1 hears nobody and its feature became 0: the residual x_i + ... is missing")
    expect_close(new[1], v[1], "atom 1 only sends, yet its feature changed", crystal=where)
    expect_change(new[0], v[0], "atom 1 sends to atom 0", crystal=where)
    silent = v * torch.tensor([[1.0], [0.0]]).double()
    heard = updated(student, layer, silent, u, f, edge)
    what = "the neighbour's feature is 0, so nothing can be heard: the filter multiplies x_j, not x_i"
    expect_close(heard[0], v[0], what, crystal=where)
    one_channel = torch.zeros_like(v)
    one_channel[1, 2] = 1.0
    heard = updated(student, layer, one_channel, u, f, edge)[0]
    heard[2] = 0.0
    what = (
        "the neighbour has only channel 2, yet another channel changed: the product goes channel by channel"
    )
    expect_close(heard, torch.zeros(F).double(), what, crystal=where)
    return "the neighbour j speaks, the centre i hears it channel by channel"


@register(
    "schnet.sum",
    slide=14,
    outcome=2,
    cause="index_add sums the messages of all neighbours onto x_i; a mean would not notice coordination, and "
    "new[i] += message keeps only one message for each atom",
)
def summed(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = interaction(student, cls)
    v, u, edge_index = small_graph(rng)
    f = torch.from_numpy(rng.uniform(0.2, 1.0, size=len(u)))
    alone = updated(student, layer, v, u[:0], f[:0], edge_index[:, :0])
    expect_close(alone, v, "without neighbours x' = x: the residual x_i + ... is missing")
    once = updated(student, layer, v, u, f, edge_index) - v
    doubled = torch.cat([u, u]), torch.cat([f, f]), torch.cat([edge_index, edge_index], dim=1)
    twice = updated(student, layer, v, *doubled) - v
    expect_close(twice, 2 * once, "each neighbour was listed twice, so the update must double")
    none = updated(student, layer, v, u, 0 * f, edge_index)
    expect_close(none, v, "all neighbours sit at the cutoff, yet something is heard")
    atoms, edges = torch.from_numpy(rng.permutation(len(v))), torch.from_numpy(rng.permutation(len(u)))
    renumbered = torch.argsort(atoms)[edge_index[:, edges]]
    other = updated(student, layer, v[atoms], u[edges], f[edges], renumbered)
    expect_close(
        other, (v + once)[atoms], "atoms and edges were numbered differently, and the answer changed"
    )
    return "no neighbours, no change; twice the neighbours, twice the update; the numbering is free"


@register(
    "schnet.readout",
    slide=14,
    outcome=2,
    cause="add the contributions of the atoms of each molecule, and do not divide: an energy is extensive",
)
def readout(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_readout(student, rng, function, sizes=(1, 2, 5))
    return "E = sum of E_i for each molecule; eight copies have eight times the energy"


def holds_readout(student: Local, rng: np.random.Generator, function: Callable, sizes: Sequence[int]) -> None:
    """Sums over molecules of unequal size, in a shuffled batch, and over copies of one of them."""
    values = torch.from_numpy(rng.normal(size=sum(sizes)))
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    order = torch.from_numpy(rng.permutation(len(values)))
    truth = torch.stack([values[batch == k].sum() for k in range(len(sizes))])
    mean = truth / torch.tensor(sizes)
    got = expect_tensor(student.call(function, values, batch, len(sizes)), truth.shape, "E").double()
    if torch.allclose(got, mean) and not torch.allclose(mean, truth):
        raise CheckFailed("this is the mean: two molecules would have the energy of one")
    expect_close(got, truth, f"the sum over molecules of {tuple(sizes)} atoms", unit="eV", tolerance=1e-6)
    shuffled = student.call(function, values[order], batch[order], len(sizes))
    shuffled = expect_tensor(shuffled, truth.shape, "E").double()
    expect_close(shuffled, truth, "the atoms came in another order", unit="eV", tolerance=1e-6)
