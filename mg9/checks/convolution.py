"""Checks of the gated convolution and of the readout (slides 21, 22).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`).
The functions `holds_...` are the part that hidden checks repeat on other crystals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_change, expect_close, expect_tensor

F, K = 6, 5  # small sizes: these checks are about structure, not about training


def convolution(student: Local, cls: type) -> Any:
    """The student's layer with 6 features and 5 edge features, its four parameters set to known random
    numbers."""
    layer = student.make(cls, 0, torch.float64, features=F, edge_features=K)
    student.load(layer, reference_state())
    return layer


def reference_state() -> dict[str, Tensor]:
    """gate.weight, gate.bias, content.weight, content.bias for `convolution`."""
    generator = torch.Generator().manual_seed(9)
    shapes = {"weight": (F, 2 * F + K), "bias": (F,)}
    return {
        f"{name}.{part}": torch.randn(shape, generator=generator, dtype=torch.float64)
        for name in ("gate", "content")
        for part, shape in shapes.items()
    }


def small_graph(rng: np.random.Generator, atoms: int = 4, edges: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """v (N, F), u (E, K), edge_index (2, E), all random; no edge from an atom to itself."""
    i = rng.integers(0, atoms, edges)
    j = (i + rng.integers(1, atoms, edges)) % atoms
    v, u = rng.normal(size=(atoms, F)), rng.normal(size=(edges, K))
    return torch.from_numpy(v), torch.from_numpy(u), torch.from_numpy(np.stack([j, i]))


@register(
    "convolution.direction",
    slide=21,
    outcome=3,
    cause="j, i = edge_index: the message is added to its centre i, and z_ij starts with v_i, then v_j",
)
def direction(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = convolution(student, cls)
    v, u, _ = small_graph(rng, atoms=2, edges=1)
    new = expect_tensor(student.call(layer, v, u, torch.tensor([[1], [0]])), (2, F), "v'")
    if float(new[1].abs().max()) == 0 < float(v[1].abs().max()):
        raise CheckFailed("atom 1 hears nobody and its feature became 0: the residual v_i + ... is missing")
    expect_change(new[0], v[0], "atom 1 sends to atom 0", crystal="two atoms, one edge")
    expect_close(
        new[1], v[1], "atom 1 only sends, yet its feature changed", crystal="two atoms, one edge j=1, i=0"
    )
    swapped = expect_tensor(student.call(layer, v[[1, 0]], u, torch.tensor([[1], [0]])), (2, F), "v'")
    expect_change(
        new[0] - v[0], swapped[0] - v[1], "centre and neighbour were exchanged", crystal="two atoms"
    )
    from_centre = {name: torch.zeros_like(value) for name, value in reference_state().items()}
    from_centre["content.weight"][:, :F] = reference_state()["content.weight"][:, :F]
    student.load(layer, from_centre)
    one = expect_tensor(student.call(layer, v, u, torch.tensor([[1], [0]])), (2, F), "v'")
    other = expect_tensor(
        student.call(layer, v * torch.tensor([[1.0], [2.0]]), u, torch.tensor([[1], [0]])), (2, F), "v'"
    )
    expect_close(
        other[0],
        one[0],
        "with weights that read only the first F entries of z_ij, the neighbour came through: "
        "z_ij starts with the centre's v_i",
    )
    return "the centre i receives, the neighbour j sends, and the two roles differ"


@register(
    "convolution.sum",
    slide=21,
    outcome=3,
    cause="index_add sums the messages of all neighbours onto v_i; a mean would not notice coordination, and "
    "new[i] += message keeps only one message for each atom",
)
def summed(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = convolution(student, cls)
    v, u, edge_index = small_graph(rng)
    alone = student.call(layer, v, u[:0], edge_index[:, :0])
    expect_close(
        expect_tensor(alone, v.shape, "v'"), v, "without neighbours v' = v: the residual v_i + ... is missing"
    )
    once = expect_tensor(student.call(layer, v, u, edge_index), v.shape, "v'") - v
    twice = student.call(layer, v, torch.cat([u, u]), torch.cat([edge_index, edge_index], dim=1))
    expect_close(
        expect_tensor(twice, v.shape, "v'") - v,
        2 * once,
        "each neighbour was listed twice, so the update must double",
    )
    expect_change(once, torch.zeros_like(once), "there are neighbours")
    return "no neighbours, no change; twice the neighbours, twice the update"


@register(
    "convolution.gate",
    slide=21,
    outcome=3,
    cause="message = sigmoid(gate(z)) * softplus(content(z)): the sigmoid belongs to the gate",
)
def gate(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = convolution(student, cls)
    v, u, _ = small_graph(rng, atoms=4, edges=4)
    edge_index = torch.tensor(
        [[1, 2, 3, 0], [0, 1, 2, 3]]
    )  # a ring: one neighbour each, so sum and mean agree
    state = reference_state()
    closed = state | {
        "gate.weight": 0 * state["gate.weight"],
        "gate.bias": torch.full_like(state["gate.bias"], -40.0),
    }

    def passes() -> Tensor:
        """What the edges bring: a residual that is missing is not this check's affair."""
        alone = expect_tensor(student.call(layer, v, u[:0], edge_index[:, :0]), v.shape, "v'")
        return expect_tensor(student.call(layer, v, u, edge_index), v.shape, "v'") - alone

    student.load(layer, closed)
    expect_close(passes(), torch.zeros_like(v), "the gate is shut, yet something passes")
    student.load(layer, closed | {"gate.bias": torch.full_like(state["gate.bias"], 40.0)})
    through = passes()
    if float(through.min()) < 0:
        raise CheckFailed(
            "with the gate open the content is softplus(...) > 0",
            got=f"{float(through.min()):.3f}",
            expected="> 0",
        )
    expect_change(through, torch.zeros_like(through), "the gate is wide open")
    still = {
        "content.weight": 0 * state["content.weight"],
        "content.bias": torch.full_like(state["content.bias"], -0.5),
    }
    student.load(layer, closed | {"gate.bias": torch.full_like(state["gate.bias"], 40.0)} | still)
    expect_close(
        passes(),
        torch.nn.functional.softplus(torch.full_like(v, -0.5)),
        "the gate is wide open and the content is softplus(-0.5) = 0.474 from the one neighbour",
    )
    return "a shut gate passes nothing, an open one the whole content"


@register(
    "convolution.permutation",
    slide=11,
    outcome=1,
    cause="an answer that depends on the numbering of atoms or edges is not a sum over neighbours",
)
def permutation(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = convolution(student, cls)
    v, u, edge_index = small_graph(rng)
    new = expect_tensor(student.call(layer, v, u, edge_index), v.shape, "v'")
    edges = torch.from_numpy(rng.permutation(len(u)))
    shuffled = expect_tensor(student.call(layer, v, u[edges], edge_index[:, edges]), v.shape, "v'")
    expect_close(shuffled, new, "the edges were listed in another order, and the answer changed")
    atoms = torch.from_numpy(rng.permutation(len(v)))
    renumbered = student.call(layer, v[atoms], u, torch.argsort(atoms)[edge_index])
    expect_close(
        expect_tensor(renumbered, v.shape, "v'"),
        new[atoms],
        "the atoms were numbered differently, and the answer changed",
    )
    expect_change(student.call(layer, v, u + 0.3, edge_index), new, "all edge features were changed")
    return "another numbering of atoms or edges changes nothing but the numbering"


@register(
    "readout.mean",
    slide=22,
    outcome=3,
    cause="sum over the atoms of each crystal, over its own number of atoms; batch says whose atom it is",
)
def mean_readout(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_mean_readout(student, rng, function, sizes=(1, 2, 5))
    return "a supercell has the same energy per atom, and crystals in a batch do not mix"


def holds_mean_readout(
    student: Local, rng: np.random.Generator, function: Callable, sizes: Sequence[int]
) -> None:
    """Means over crystals of unequal size, the same for an eightfold supercell and for each crystal
    alone."""
    parts = [torch.from_numpy(rng.normal(size=n)) for n in sizes]
    values, batch = torch.cat(parts), torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    truth = torch.stack([part.mean() for part in parts])
    got = expect_tensor(student.call(function, values, batch, len(sizes)), (len(sizes),), "the readout")
    sums = torch.stack([part.sum() for part in parts])
    if torch.allclose(got.double(), sums) and not torch.allclose(sums, truth):
        raise CheckFailed("this is the sum: it grows with the cell, a formation energy per atom does not")
    expect_close(got, truth, f"the mean over crystals of {tuple(sizes)} atoms", unit="eV/atom")
    alone = expect_tensor(
        student.call(function, parts[-1].repeat(8), torch.zeros(8 * sizes[-1], dtype=torch.long), 1),
        (1,),
        "the readout",
    )
    expect_close(alone, truth[-1:], "a 2x2x2 supercell has another energy per atom", unit="eV/atom")
