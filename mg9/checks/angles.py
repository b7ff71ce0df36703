"""Checks of the line graph and of what an angle is (slides 28, 29).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`). The
functions `holds_...` are the part that hidden checks repeat on other graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_change, expect_close, expect_tensor, known_crystals, neighbors

SQUARE = [[1, 2, 3, 4, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2, 3, 4]]  # four atoms around atom 0, both ways


def pairs_of(edge_index: Tensor) -> list[tuple[int, int]]:
    """All (edge into j, edge from j), by two loops."""
    edges = edge_index.T.tolist()
    return [(a, b) for b, (start, _) in enumerate(edges) for a, (_, end) in enumerate(edges) if end == start]


@register(
    "angles.lines",
    slide=28,
    outcome=4,
    cause="edge a is k -> j, edge b is j -> i: a ends where b begins, edge_index[1, a] == edge_index[0, b]",
)
def lines(student: Local, rng: np.random.Generator, function: Callable) -> str:
    pairs = holds_lines(student, function, torch.tensor(SQUARE), "four atoms around one")
    holds_lines(student, function, torch.zeros(2, 0, dtype=torch.long), "an atom without bonds")
    (name, structure) = known_crystals("mp-22865")[0]
    graph = neighbors(structure, name, 4.0)
    holds_lines(student, function, graph.edge_index, f"{name}, whose edges go to periodic images")
    return f"{pairs} pairs around one atom, the way there and back among them; images are edges of their own"


def holds_lines(student: Local, function: Callable, edge_index: Tensor, where: str) -> int:
    """The pairs, in any order: none missing, none twice, none that do not meet."""
    wanted = pairs_of(edge_index)
    got = student.call(function, edge_index)
    shape = tuple(got.shape) if isinstance(got, Tensor | np.ndarray) else (2, len(wanted))
    if len(shape) != 2 or shape[0] != 2:
        exchanged = ": are rows and columns exchanged?" if len(shape) == 2 and shape[1] == 2 else ""
        expected = "(2, L), one column for each pair"
        raise CheckFailed(
            "lines has another shape", crystal=where, expected=expected, got=f"{shape}{exchanged}"
        )
    got = expect_tensor(got, shape, "lines")
    if got.is_floating_point() or (
        got.numel() and not 0 <= int(got.min()) <= int(got.max()) < edge_index.size(1)
    ):
        expected = f"whole numbers from 0 to {edge_index.size(1) - 1}"
        raise CheckFailed("lines holds numbers of edges", crystal=where, expected=expected, got=got[:, :3])
    found = [tuple(pair) for pair in got.T.tolist()]
    j, i = edge_index
    for what, bad in {
        "a pair that does not share an atom": [p for p in found if i[p[0]] != j[p[1]]],
        "a pair that is listed twice": [p for p, times in Counter(found).items() if times > 1],
        "a pair is missing": sorted(set(wanted) - set(found)),
    }.items():
        if bad:
            first, second = (f"{int(j[e])} -> {int(i[e])}" for e in bad[0])
            hint = _hint(found, edge_index)
            raise CheckFailed(
                f"{what}: edge {first}, then edge {second}{hint}",
                crystal=where,
                expected=len(wanted),
                got=len(found),
            )
    return len(wanted)


def _hint(found: list, edge_index: Tensor) -> str:
    j, i = edge_index
    if found and all(i[a] == i[b] for a, b in found):
        return " (these pairs end at the same atom: M3GNet's triplets, not the line graph)"
    if found and all(j[a] == i[b] for a, b in found):
        return " (the two rows are exchanged: the first row sends)"
    return ""


@register(
    "angles.cosine",
    slide=28,
    outcome=4,
    cause="at the shared atom j: the way to k is r of edge a, the way to i is minus r of edge b (r points "
    "from centre to neighbour); divide by both lengths",
)
def cosine(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_cosine(student, rng, function, *square_of(rng))
    straight = torch.tensor([[2.0, 0.0, 0.0], [-1.5, 0.0, 0.0], [2.0, 1e-9, 0.0]]).double()
    at = torch.tensor([[0, 1, 0], [1, 2, 2]])
    slope = _slope(student, function, straight, at)
    if not torch.isfinite(slope).all():
        raise CheckFailed(
            "three atoms in a line: the slope is infinite or NaN",
            cause="keep the cosine; arccos has no slope at 0",
        )
    return "right angles have 0, the way back has 1, a straight line -1, with a slope everywhere"


def _slope(student: Local, function: Callable, vectors: Tensor, pairs: Tensor) -> Tensor:
    slope = student.vjp(function, (vectors, pairs), torch.ones(pairs.size(1)).double())[0]
    if slope is None:
        raise CheckFailed("no slope comes back: is there a detach, an .item() or a conversion to numpy?")
    return slope


def square_of(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Edge vectors (8, 3) of four atoms around one at random places, and all pairs (2, L)."""
    pos = torch.from_numpy(np.concatenate([np.zeros((1, 3)), rng.normal(size=(4, 3)) + 0.1]))
    j, i = torch.tensor(SQUARE)
    return pos[j] - pos[i], torch.tensor(pairs_of(torch.tensor(SQUARE))).T


def holds_cosine(
    student: Local, rng: np.random.Generator, function: Callable, vectors: Tensor, pairs: Tensor
) -> None:
    """The values, and the twin: a bent pair has another one, a stretched pair the same."""
    got = student.call(function, vectors, pairs)
    a, b = vectors[pairs[0]], vectors[pairs[1]]
    truth = -(a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))
    if isinstance(got, Tensor) and got.shape == truth.shape and got.is_floating_point():
        real = ~got.isnan()  # the arccos of 1 and a rounding error is NaN
        if real.any() and torch.allclose(
            got[real].double(), torch.arccos(truth.clamp(-1, 1))[real], atol=1e-4
        ):
            raise CheckFailed(
                "these are angles in radians; return their cosines, which have a slope everywhere"
            )
    got = expect_tensor(got, (pairs.size(1),), "the cosines").double()
    if torch.allclose(got, -truth, atol=1e-6):
        raise CheckFailed(
            "every cosine has the wrong sign: the way there and back has -1", expected="1", got="-1"
        )
    expect_close(got, truth, "a cosine has another value; (pair)", tolerance=1e-6)
    lengths = torch.from_numpy(rng.uniform(0.5, 2.0, size=(len(vectors), 1)))
    other = expect_tensor(
        student.call(function, vectors * lengths, pairs), truth.shape, "the cosines"
    ).double()
    expect_close(other, truth, "bonds were stretched, and an angle changed; (pair)", tolerance=1e-6)
    bent = vectors + torch.from_numpy(rng.normal(scale=0.5, size=vectors.shape))
    expect_change(student.call(function, bent, pairs), got, "the bonds were bent")
