"""The check of a test that finds what is wrong with attention weights which it is not shown (slide 41).

How a harness is asked stands in `asked.py`. `holds_suspects` is the part that the hidden check repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, asked, faulty_attention, register

# Which tests each layer fails; tests/test_checks_attention.py finds the same by running.
BREAKS: dict[str, tuple[str, ...]] = {
    "right": (),
    "columns": ("rows",),
    "mask_afterwards": ("rows",),
    "by_number": ("numbering",),
    "causal": ("numbering",),
    "unmasked": ("leak",),
    "soft_mask": ("leak",),
    "no_shift": ("overflow",),
    "one_shift": ("overflow",),
    "blind": ("blind",),
    "unscaled": (),
    "both_ways": (),
    "warm": (),
}
HINTS = {
    "columns": "the sum over j, dim=1, for every atom",
    "mask_afterwards": "with two crystals in the batch its rows add up to less than one",
    "by_number": "reversed, |i - j| stays: draw the order at random, and several times",
    "causal": "an atom hears those before it in the list: renumber them",
    "unmasked": "an atom has a weight for one of another crystal",
    "soft_mask": "exp(-5) is 0.007, small and not zero",
    "no_shift": "make q a thousand times as large: exp(1000) is inf",
    "one_shift": "make q a thousand times as large: the rows far below the largest score are 0/0",
    "blind": "another bias must give other weights; no symmetry catches a layer that does not look",
}
FALSE = {
    "rows": "the weights of one that listens, a row, add up to one within rounding",
    "numbering": "one order for q, k, batch, and for rows and columns of the bias and of a",
    "leak": "only weights between two crystals count, where batch[i] != batch[j]",
    "overflow": "weights of 0 and 1 are no overflow; NaN and inf are",
    "blind": "a right layer does notice another bias; add nothing that is the same in a whole row",
}
KNOWN = asked.Faults(BREAKS, HINTS, FALSE)
MOST = 300  # questions that a harness may ask


def typed(question: Any) -> tuple[Tensor, ...]:
    """q, k, bias and batch, if they belong to one list of atoms; otherwise `CheckFailed`."""
    if not isinstance(question, tuple | list) or [isinstance(x, Tensor) for x in question] != [True] * 4:
        raise WrongKind("a layer is asked with four tensors: q, k, bias, batch")
    q, k, bias, batch = question[0].double(), question[1].double(), question[2].double(), question[3]
    n = len(q) if q.dim() == 2 else 0
    if not 0 < n <= 50 or q.shape != k.shape or bias.shape != (n, n) or batch.shape != (n,):
        shapes = ", ".join(str(tuple(x.shape)) for x in question)
        raise CheckFailed("a layer takes q and k (N, d), bias (N, N), batch (N,)", got=shapes)
    if any(torch.isnan(x).any() for x in (q, k, bias, batch.double())) or torch.isinf(q @ k.T).any():
        raise CheckFailed("a layer is asked with numbers that are NaN or infinite")
    return q, k, bias, batch


def holds_suspects(
    student: Local, harness: Callable, suspects: Sequence[Mapping[str, float]], seed: int
) -> None:
    """The failed tests, suspect by suspect; a suspect is fault -> how much of it."""
    for number, weights in enumerate(suspects, start=1):
        layer = faulty_attention.mixture(weights)

        def answer(question: Any, layer: faulty_attention.Layer = layer) -> tuple[Tensor, ...]:
            return (*question, layer(*typed(question)))

        got = asked.verdict_on(student, harness, answer, seed, MOST)
        asked.holds_verdict(got, weights, KNOWN, number)


@register(
    "attention.suspects",
    slide=41,
    outcome=6,
    cause="each test on its own; the order drawn at random several times, and sums compared within rounding",
)
def suspects(student: Local, rng: np.random.Generator, harness: Callable) -> str:
    alone = [name for name in BREAKS if name != "right"]
    holds_suspects(student, harness, [{}, *({name: 1.0} for name in alone)], seed=0)
    return f"the right verdict on {1 + len(alone)} layers, three of which only look wrong"
