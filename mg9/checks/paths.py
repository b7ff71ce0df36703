"""Checks of Graphormer's shortest paths and of what attention costs (slide 41).

The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_tensor, known_crystals, neighbors

# Crystals and bonds: up to where, in Å.
BONDED = {"mp-5827": 3.0, "mp-390": 2.2, "mp-22865": 3.7}  # CaTiO3, anatase, CsCl
COSTS = ("projections", "all pairs", "neighbours")


def truth(n: int, edge_index: Tensor, most: int) -> Tensor:
    """Bonds on the shortest path, atom by atom outwards; most + 1 beyond."""
    heard: list[set[int]] = [set() for _ in range(n)]
    for j, i in edge_index.T.tolist():
        heard[i].add(j)
    found = torch.full((n, n), most + 1)
    for start in range(n):
        shell, seen = {start}, {start}
        for bonds in range(most + 1):
            found[start, sorted(shell)] = bonds
            shell = set().union(*(heard[i] for i in shell)) - seen
            seen |= shell
            if not shell:
                break
    return found


def walks(n: int, edge_index: Tensor, most: int) -> Tensor:
    """How many walks of at most `most` bonds there are: what a sum of powers of the adjacency counts."""
    A = torch.zeros(n, n).double()
    A[edge_index[1], edge_index[0]] = 1.0
    return sum(torch.linalg.matrix_power(A, k) for k in range(1, most + 1))


@register(
    "attention.hops",
    slide=41,
    outcome=6,
    cause="0 to oneself, 1 to a bonded atom, one more for each shell; most + 1 where no path is that short",
)
def hops(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for k, cutoff in BONDED.items():
        name, structure = known_crystals(k)[0]
        graph = neighbors(structure, f"{name}, bonds up to {cutoff} Å", cutoff)
        holds_hops(student, function, len(graph.z), graph.edge_index, 3, graph.name)
    chain = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 4]])
    chain = torch.cat([chain, chain.flip(1)]).T.contiguous()
    holds_hops(student, function, 6, chain, 2, "a chain of five atoms and one without bonds")
    return "bonds on the shortest path in CaTiO3, anatase and CsCl; no path is most + 1"


def holds_hops(student: Local, function: Callable, n: int, edge_index: Tensor, most: int, where: str) -> None:
    """The matrix of path lengths, with the usual mistakes."""
    got = student.call(function, n, edge_index, most)
    if isinstance(got, Tensor) and got.is_floating_point() and torch.isinf(got).any():
        what = f"no path is inf here; give most + 1 = {most + 1}, the last row of a table of biases"
        raise CheckFailed(what, crystal=where)
    got, wanted = (
        expect_tensor(got, (n, n), "the number of bonds").double(),
        truth(n, edge_index, most).double(),
    )
    own, far = torch.eye(n).bool(), wanted == most + 1
    for what, looks in {
        "an atom is 0 bonds away from itself, also where it is bonded to its own image": bool(
            got.diagonal().any()
        ),
        f"where no path of at most {most} bonds is, give {most + 1}": bool(
            far.any() and (got[far] != most + 1).any() and (got[~far] == wanted[~far]).all()
        ),
        "only direct bonds are found; atoms further away are reached along several": bool(
            (wanted == 2).any() and (got[wanted == 2] == most + 1).all() and (got[wanted == 1] == 1).all()
        ),
        "this counts walks, not bonds on the shortest one": torch.equal(
            got.masked_fill(own, 0), walks(n, edge_index, most).masked_fill(own, 0)
        ),
    }.items():
        if looks:
            raise CheckFailed(what, crystal=where)
    if bool((got != wanted).any()):
        i, j = (int(x) for x in torch.nonzero(got != wanted)[0])
        what = f"from atom {i} to atom {j} another number of bonds is the least"
        raise CheckFailed(what, crystal=where, expected=int(wanted[i, j]), got=f"{float(got[i, j]):g}")


@register(
    "attention.cost",
    slide=41,
    outcome=6,
    cause="three projections of N atoms, F^2 each; q . k and a v for each pair, F each; pairs are N^2 or N k",
)
def cost(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for sizes in ((10, 64, 12), (80, 64, 12), (640, 64, 12)):
        holds_cost(student, function, *sizes)
    return (
        "a cell of eight times the atoms: projections and neighbours cost 8 times as much, all pairs 64 times"
    )


def holds_cost(student: Local, function: Callable, n: int, features: int, k: int) -> None:
    """The three numbers of multiplications."""
    got: Any = student.call(function, n, features, k)
    if not isinstance(got, dict) or set(got) != set(COSTS):
        names = sorted(map(str, got)) if isinstance(got, dict) else type(got).__name__
        raise WrongKind("a dict with three numbers is wanted", expected=sorted(COSTS), got=names)
    where = f"N = {n}, F = {features}, k = {k}"
    pairs = 2 * n * n * features
    wanted = {
        "projections": 3 * n * features**2,
        "all pairs": pairs,
        "neighbours": 2 * n * k * features,
    }
    mistakes = {
        ("projections", n * features**2): "there are three projections: to q, k and v",
        ("projections", 3 * n * features): "a projection is a matrix F x F, so F^2 for each atom",
        ("all pairs", pairs // 2): "each pair costs twice F: q . k for its score, a v for what is heard",
        ("all pairs", n * (n - 1) * features): "i listens to j and j to i: pairs are N^2, oneself among them",
        ("all pairs", 2 * n * (n - 1) * features): "an atom attends to itself, too: N^2 pairs",
        ("all pairs", 2 * n * features): "every atom attends to all N, so N^2 pairs",
        ("neighbours", n * k * features): "each edge costs twice F: its score, and what is heard along it",
        ("neighbours", 2 * k * features): "each of the N atoms has k neighbours",
    }
    for name, right in wanted.items():
        one = got[name]
        if isinstance(one, bool) or not isinstance(one, int | float | np.number):
            raise WrongKind(f"{name}: a number is wanted", crystal=where, got=type(one).__name__)
        if abs(float(one) - right) > 0.5:
            what = mistakes.get((name, round(float(one))) if np.isfinite(one) else None, name)
            raise CheckFailed(what, crystal=where, expected=f"{right:,}", got=f"{float(one):,.0f}")
