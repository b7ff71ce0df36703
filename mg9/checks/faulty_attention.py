"""Attention with one fault each: what a test of attention weights must catch (slide 41).

Each takes queries and keys q, k (N, d), a bias (N, N) and the crystal of each atom, batch (N,), and returns
the weights a (N, N): how much i listens to j. Read in order: `right`, the faulty ones and the three that only
look faulty, `LAYERS` (their names), `mixture`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Layer = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def scores(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """q_i . k_j / sqrt(d) + b_ij."""
    return q @ k.T / math.sqrt(q.size(1)) + bias


def between(batch: Tensor) -> Tensor:
    """Whether i and j are of two crystals, (N, N)."""
    return batch[:, None] != batch[None, :]


def right(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """Nothing to catch."""
    return torch.softmax(scores(q, k, bias).masked_fill(between(batch), -torch.inf), dim=1)


def columns(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """The softmax runs over those that listen: the weights of an atom add up to anything."""
    return torch.softmax(scores(q, k, bias).masked_fill(between(batch), -torch.inf), dim=0)


def mask_afterwards(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """Other crystals are struck out after the softmax: what is left does not add up to one."""
    return torch.softmax(scores(q, k, bias), dim=1).masked_fill(between(batch), 0.0)


def by_number(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """A position code of language: atoms whose numbers are far apart listen less. Reversed, it stays."""
    number = torch.arange(len(q)).to(bias)
    return right(q, k, bias - 0.5 * (number[:, None] - number[None, :]).abs(), batch)


def causal(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """The mask of a language model: an atom hears itself and those before it in the list."""
    later = torch.ones_like(bias).triu(1).bool()
    return right(q, k, bias.masked_fill(later, -1e9), batch)


def unmasked(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """All crystals of the batch hear each other."""
    return torch.softmax(scores(q, k, bias), dim=1)


def soft_mask(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """-5 in the place of -inf: other crystals are heard, a little."""
    return torch.softmax(scores(q, k, bias) - 5.0 * between(batch), dim=1)


def no_shift(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """exp of the scores as they are."""
    weight = scores(q, k, bias).masked_fill(between(batch), -torch.inf).exp()
    return weight / weight.sum(dim=1, keepdim=True)


def one_shift(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """The largest score of all is taken off each row: no exp is too large, but whole rows become 0/0."""
    score = scores(q, k, bias).masked_fill(between(batch), -torch.inf)
    weight = (score - score.max()).exp()
    return weight / weight.sum(dim=1, keepdim=True)


def blind(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """The bias is forgotten: a crystal of any lattice constant has the same weights. No symmetry sees it."""
    return right(q, k, torch.zeros_like(bias), batch)


def unscaled(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """No sqrt(d): harder to train, but no property is broken, since the weights of q can make up for it."""
    return right(q * math.sqrt(q.size(1)), k, bias, batch)


def both_ways(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """Scores that are the same both ways: a choice, not a fault."""
    return right(torch.cat([q, k], dim=1), torch.cat([k, q], dim=1), bias, batch)


def warm(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
    """Half of each weight is shared out equally within the crystal: rows still add up to one."""
    alike = (~between(batch)).to(bias)
    return 0.5 * right(q, k, bias, batch) + 0.5 * alike / alike.sum(dim=1, keepdim=True)


LAYERS: dict[str, Layer] = {
    f.__name__: f
    for f in (
        *(right, columns, mask_afterwards, by_number, causal, unmasked, soft_mask, no_shift, one_shift),
        *(blind, unscaled, both_ways, warm),
    )
}
MIXED = tuple(name for name in LAYERS if name not in ("right", "blind"))


def mixture(weights: Mapping[str, float]) -> Layer:
    """Attention with some of the faults in it, each in that measure (1 is the whole fault)."""

    def layer(q: Tensor, k: Tensor, bias: Tensor, batch: Tensor) -> Tensor:
        base = right(q, k, bias, batch)
        return base + sum(w * (LAYERS[name](q, k, bias, batch) - base) for name, w in weights.items())

    return layer
