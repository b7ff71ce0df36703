"""Checks of the first three slots: graph, atom features, edge features (slides 05, 11, 20).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`).
The functions `holds_...` are the part that hidden checks repeat on other crystals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import KNOWN, Neighbors, expect_close, expect_tensor, known_crystals, neighbors


@register(
    "graph.displacements",
    slide=11,
    outcome=3,
    cause="r_ij = pos[j] + shift @ cell - pos[i] with j, i = edge_index; rows of cell are lattice vectors",
)
def displacements(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for name, structure in known_crystals(*KNOWN):
        holds_displacements(student, function, neighbors(structure, name, cutoff=6.0))
    return f"r_ij is right for all neighbours within 6 Å in {len(KNOWN)} crystals, images included"


def holds_displacements(student: Local, function: Callable, c: Neighbors) -> None:
    """r_ij against the truth on one crystal, the usual mistakes called by their names."""
    got = expect_tensor(
        student.call(function, c.pos, c.cell, c.edge_index, c.shift), (len(c.distance), 3), "r_ij"
    ).double()
    j, i = c.edge_index
    truth = c.pos[j] + c.shift @ c.cell - c.pos[i]
    mistakes = {
        "every vector points from the neighbour j to the centre i": -truth,
        "the periodic images are dropped: all neighbours sit in the home cell": c.pos[j] - c.pos[i],
        "cell is used as if its columns were the lattice vectors": c.pos[j] + c.shift @ c.cell.T - c.pos[i],
        "the image is subtracted instead of added": c.pos[j] - c.shift @ c.cell - c.pos[i],
    }
    for mistake, wrong in mistakes.items():
        if torch.allclose(got, wrong) and not torch.allclose(wrong, truth):
            edge = int((got - truth).abs().sum(dim=1).argmax())
            where = (
                f"{c.name}, from atom {int(j[edge])} in cell {c.shift[edge].int().tolist()} to {int(i[edge])}"
            )
            raise CheckFailed(mistake, crystal=where, expected=_vector(truth[edge]), got=_vector(got[edge]))
    expect_close(got, truth, "a displacement differs", unit="Å", crystal=c.name, tolerance=1e-5)


@register(
    "graph.shells",
    slide=5,
    outcome=3,
    cause="for each centre: find its k-th smallest distance, keep all neighbours up to 0.01 Å beyond it",
)
def shells(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for name, structure in known_crystals(*KNOWN):
        holds_shells(student, rng, function, neighbors(structure, name), k=12)
    ((name, structure),) = known_crystals("mp-22865")
    holds_shells(student, rng, function, neighbors(structure, name), k=9)  # the first of the second shell
    holds_shells(student, rng, function, neighbors(structure, f"{name} within 4 Å", cutoff=4.0), k=12)
    return f"whole shells of 12 in {len(KNOWN)} crystals, whatever the order of the edges"


def holds_shells(student: Local, rng: np.random.Generator, function: Callable, c: Neighbors, k: int) -> None:
    """The kept edges of one crystal, listed in a random order, against the definition."""
    order = torch.from_numpy(rng.permutation(len(c.distance)))
    i, distance = c.edge_index[1][order], c.distance[order]
    keep = expect_tensor(student.call(function, i, distance, k), (len(distance),), "the mask keep")
    if keep.dtype != torch.bool:
        raise WrongKind("the mask keep should hold True and False", expected="torch.bool", got=keep.dtype)
    for atom in range(len(c.z)):
        own = distance[i == atom]
        last = own.sort().values[min(k, len(own)) - 1]
        wanted, kept = int((own <= last + 0.01).sum()), int(keep[i == atom].sum())
        where = f"{c.name}, atom {atom}, whose neighbour number {k} is {last:.3f} Å away"
        if kept != wanted:
            tie = " (a shell is cut: neighbours that are equally far must stay together)" if kept == k else ""
            raise CheckFailed(
                f"another number of neighbours is kept{tie}", crystal=where, expected=wanted, got=kept
            )
        if bool((keep[i == atom] != (own <= last + 0.01)).any()):
            raise CheckFailed("the right number of neighbours, but not the nearest ones", crystal=where)


@register("atoms.one_hot", slide=20, outcome=3, cause="column z - 1 holds the one: hydrogen has column 0")
def one_hot(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_one_hot(student, function, torch.tensor([1, 8, 22, 8, 100]))
    return "oxygen is oxygen wherever it stands, and no two elements share a row"


def holds_one_hot(student: Local, function: Callable, z: Tensor) -> None:
    """One-hot rows against the identity matrix."""
    got = expect_tensor(student.call(function, z), (len(z), 100), "the atom features")
    expect_close(
        got, torch.eye(100)[z - 1], f"the one is in another column for Z = {z.tolist()}; (row, column)"
    )


@register(
    "edges.gaussian",
    slide=20,
    outcome=2,
    cause="exp(-beta (r - mu_k)^2): the difference is squared before it is multiplied, and the sign is minus",
)
def gaussian(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_gaussian(student, function, torch.tensor([0.0, 1.0, 2.3, 2.7, 8.0], dtype=torch.float64), beta=25.0)
    return "1 at its centre, 1/e at a distance of 1/sqrt(beta), and 2.3 Å differs from 2.7 Å"


def holds_gaussian(student: Local, function: Callable, distance: Tensor, beta: float) -> None:
    """The basis against its formula."""
    mu = torch.linspace(0.0, 8.0, 41, dtype=torch.float64)
    got = expect_tensor(student.call(function, distance, mu, beta), (len(distance), 41), "u_ij")
    truth = torch.exp(-beta * (distance[:, None] - mu[None, :]) ** 2)
    expect_close(got, truth, "a Gaussian has another value; (edge, centre)")


def _vector(v: Tensor) -> str:
    return "(" + ", ".join(f"{float(x):.3f}" for x in v) + ") Å"
