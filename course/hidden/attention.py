"""Hidden checks of the assignment "attention": the visible statements again, on numbers, crystals, batches
and layers drawn from the seed. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mg9.checks import CheckFailed, Local, attending, faulty_attention, images, maps, paths, register, strain
from mg9.checks.tools import expect_close

from .angles import small


@register(
    "hidden.attention.layer",
    slide=41,
    outcome=6,
    cause="a step that holds for one width or number of atoms, or through which no slope flows",
)
def layer(student: Local, rng: np.random.Generator, softmax: Callable, attend: Callable) -> str:
    attending.holds_softmax(student, rng, softmax, int(rng.integers(2, 5)), int(rng.integers(6, 9)))
    for n in (3, 7):
        width, features = int(rng.integers(5, 10)), int(rng.integers(1, 6))
        attending.holds_attend(student, rng, attend, n, width, features)
    holds_slopes(student, rng, softmax)
    return "other widths and numbers of atoms, and the slopes of the softmax"


def holds_slopes(student: Local, rng: np.random.Generator, softmax: Callable) -> None:
    """The gradient with respect to the scores: queries and keys learn by it."""
    score, weight = (torch.from_numpy(rng.normal(size=(4, 6))) for _ in range(2))
    (wanted,) = Local().vjp(attending.weights_of, (score,), weight)
    try:
        (got,) = student.vjp(softmax, (score,), weight)
    except CheckFailed as failure:
        if "does not require grad" not in failure.what:
            raise
        got = None
    if got is None:
        raise CheckFailed("no slope flows back to the scores: is there a detach, an .item() or numpy?")
    expect_close(got, wanted, "the slope of the weights with respect to a score differs", tolerance=1e-6)


@register(
    "hidden.attention.images",
    slide=41,
    outcome=6,
    cause="an image that is left out in a skew cell, or a step that holds for the known crystals only",
)
def all_images(
    student: Local, rng: np.random.Generator, nearest: Callable, bias: Callable, heard: Callable
) -> str:
    crystals = strain.rattled(rng, *small(rng, 12))
    compounds = [at for at in crystals if at.z[0] != at.z[1]]  # one element has one value: nothing to hear
    for at in (images.skew(rng, 5), crystals[0]):
        images.holds_nearest(student, nearest, at)
        images.holds_images(student, bias, at)
    for at in compounds[:2]:
        images.holds_crystal(student, rng, heard, at)
    return "a skew cell and other crystals, each in seven descriptions"


@register(
    "hidden.attention.graph",
    slide=41,
    outcome=6,
    cause="a step that needs the atoms of a crystal side by side, or a graph in one piece",
)
def graph(
    student: Local, rng: np.random.Generator, batch_mask: Callable, hops: Callable, cost: Callable
) -> str:
    attending.holds_batch(student, batch_mask, torch.from_numpy(rng.permutation([0, 0, 0, 1, 1, 2, 2, 2, 2])))
    for n in (5, 9):
        pairs = rng.integers(0, n, size=(2, n))  # some atoms bonded to their own image, some not at all
        edges = torch.from_numpy(np.concatenate([pairs, pairs[::-1]], axis=1))
        most = int(rng.integers(2, 5))
        paths.holds_hops(student, hops, n, edges, most, f"a random graph of {n} atoms, most = {most}")
    paths.holds_cost(student, cost, *(int(x) for x in rng.integers(10, 300, size=3)))
    return "atoms of three crystals in any order, random graphs, other sizes"


@register(
    "hidden.attention.suspects",
    slide=41,
    outcome=6,
    cause="a test that one draw can pass by chance, or that looks at one size of a fault",
)
def suspects(student: Local, rng: np.random.Generator, verdict: Callable) -> str:
    kinds = np.split(rng.permutation(faulty_attention.MIXED), [1, 2, 3, 5, 7])
    drawn = [{str(name): float(rng.uniform(0.5, 1.0)) for name in sorted(kind)} for kind in kinds[:-1]]
    maps.holds_suspects(student, verdict, [{}, *drawn, {"blind": 1.0}], seed=int(rng.integers(2**31)))
    return f"the right verdict on {len(drawn) + 2} random layers"
