"""Hidden checks of the assignment "equivariance": the visible statements again, on features, graphs, crystals
and layers drawn from the seed. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mg9.checks import CheckFailed, Local, faulty_layers, gates, irreps, messages, products, register, strain
from mg9.checks.tools import expect_close

from .angles import small

PARITIES = [("e", "e"), ("e", "o"), ("o", "e"), ("o", "o")]


@register(
    "hidden.equivariance.algebra",
    slide=36,
    outcome=5,
    cause="a step that holds for one number of features, or for l up to 1",
)
def algebra(
    student: Local,
    rng: np.random.Generator,
    turned: Callable,
    product: Callable,
    reassembled: Callable,
    paths: Callable,
) -> str:
    for irrep in irreps.IRREPS:
        irreps.holds_turned(student, rng, turned, irrep, tuple(int(n) for n in rng.integers(1, 5, size=2)))
    products.holds_product(student, rng, product, int(rng.integers(5, 9)))
    products.holds_reassembled(student, rng, reassembled, int(rng.integers(5, 9)))
    degrees = rng.integers(0, 6, size=(8, 2))
    pairs = [(f"{l1}{p1}", f"{l2}{p2}") for (l1, l2), (p1, p2) in zip(degrees, 2 * PARITIES, strict=True)]
    irreps.holds_paths(student, paths, pairs)
    return "other shapes, vectors, degrees and parities"


@register(
    "hidden.equivariance.message",
    slide=37,
    outcome=5,
    cause="a step that holds for the known crystals only, or through which no slope flows",
)
def message(student: Local, rng: np.random.Generator, function: Callable, of_crystal: Callable) -> str:
    for atoms in (3, 6):
        at = messages.random_edges(rng, atoms, 4 * atoms, features=int(rng.integers(1, 6)))
        messages.holds_sum(student, function, at)
        holds_slopes(student, rng, function, at)
    for crystal in strain.rattled(rng, *small(rng, 2)):
        messages.holds_crystal(student, rng, of_crystal, crystal)
    return "two random graphs with slopes, and two other crystals"


def holds_slopes(student: Local, rng: np.random.Generator, function: Callable, at: messages.Edges) -> None:
    """The gradients with respect to h, R and pos: forces are made of them."""
    weight = torch.from_numpy(rng.normal(size=(*at.h.shape, 3)))
    got = student.vjp(function, at.values, weight)
    wanted = Local().vjp(lambda *values: messages.truth(messages.Edges(*values)), at.values, weight)
    for name, one, other in zip(("h", "R", "pos"), got, wanted, strict=False):
        if one is None:
            raise CheckFailed(f"no slope flows back to {name}: is there a detach, an .item() or numpy?")
        expect_close(one, other, f"the slope with respect to {name} differs", tolerance=1e-6)


@register(
    "hidden.equivariance.layers",
    slide=36,
    outcome=5,
    cause="a step that holds for one number of features, or a test that one draw can pass by chance",
)
def layers(student: Local, rng: np.random.Generator, cls: type, verdict: Callable) -> str:
    gates.holds_gate(student, rng, cls, features=int(rng.integers(4, 9)), n=int(rng.integers(2, 7)))
    kinds = np.split(rng.permutation(faulty_layers.MIXED), [1, 2, 3, 5])
    drawn = [{str(name): float(rng.uniform(0.5, 2.0)) for name in sorted(kind)} for kind in kinds]
    gates.holds_suspects(student, verdict, [{}, *drawn, {"blind": 1.0}], seed=int(rng.integers(2**31)))
    return f"other weights, and the right verdict on {len(drawn) + 2} random layers"
