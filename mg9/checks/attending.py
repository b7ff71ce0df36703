"""Checks of one layer of attention: two atoms by hand, the softmax, queries, keys and values, and the mask
of a batch (slide 41).

A bias b_ij goes into the scores: a_ij = softmax_j(q_i . k_j / sqrt(d) + b_ij), m_i = sum_j a_ij v_j. The
functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.products import named, parts
from mg9.checks.tools import expect_change, expect_close, expect_numbers, expect_tensor

LEAK = -1e6  # a bias below this is no weight at all, whatever the scores are

# Two atoms, Na and Cl, d = 4: the scores q_i . k_j in units of ln, and the values.
DOT = torch.tensor([[0.0, 2 * log(3.0)], [2 * log(2.0), 0.0]]).double()
BIAS = torch.tensor([[0.0, log(2.0)], [log(2.0), 0.0]]).double()
VALUE = torch.tensor([[35.0], [70.0]]).double()
ASKED = ("Na Na", "Na Cl", "Cl Na", "Cl Cl", "m Na", "m Cl")


def weights_of(score: Tensor) -> Tensor:
    """Rows of exp(score) over their sums."""
    return torch.softmax(score, dim=1)


def two_atoms(score: Tensor, sums: int = 1) -> np.ndarray:
    """The six numbers that follow from the scores (2, 2); softmax over `sums`."""
    a = torch.softmax(score, dim=sums)
    return torch.cat([a.flatten(), (a @ VALUE).flatten()]).numpy()


@register(
    "attention.by_hand",
    slide=41,
    outcome=6,
    cause="score = q . k / sqrt(4) + bias; weight = exp(score) over the sum in the row of the one that "
    "listens",
)
def by_hand(student: Local, rng: np.random.Generator, given: Any) -> str:
    if not isinstance(given, dict) or set(given) != set(ASKED):
        names = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise WrongKind("a dict with six numbers is wanted", expected=sorted(ASKED), got=names)
    got = expect_numbers([given[name] for name in ASKED], len(ASKED), "the six numbers together")
    wanted = two_atoms(DOT / 2 + BIAS)
    mistakes = {
        "the bias is missing in the scores": two_atoms(DOT / 2),
        "the scores were not divided by sqrt(d) = 2": two_atoms(DOT + BIAS),
        "divided by d = 4; it is sqrt(d), since q . k is a sum of d terms": two_atoms(DOT / 4 + BIAS),
        "the bias was divided by sqrt(d), too: it is added afterwards": two_atoms((DOT + BIAS) / 2),
        "these weights add up to one for the atom that is heard; they do for the one that listens": two_atoms(
            DOT / 2 + BIAS, sums=0
        ),
        "the two atoms are exchanged: the weight `Na Cl` says how much Na listens to Cl": two_atoms(
            (DOT / 2 + BIAS).T
        ),
    }
    for mistake, wrong in mistakes.items():
        if np.allclose(got, wrong, rtol=2e-3, atol=2e-3):
            raise CheckFailed(mistake, crystal="Na and Cl")
    for name, one, right in zip(ASKED, got, wanted, strict=True):
        if not abs(one - right) <= 2e-3 * max(1.0, right):
            what = f"what {name[2:]} hears, m" if name[0] == "m" else f"the weight {name}"
            raise CheckFailed(what, crystal="Na and Cl", expected=f"{right:.4g}", got=f"{one:.4g}")
    return "Na listens to Cl with 6/7, Cl to Na with 4/5, and each row adds up to one"


@register(
    "attention.softmax",
    slide=41,
    outcome=6,
    cause="subtract the largest score of each row, exp, divide by the sum of the row (dim=1, keepdim=True)",
)
def softmax(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_softmax(student, rng, function, 4, 5)
    return "rows add up to one, a constant changes nothing, scores of thousands do not overflow"


def holds_softmax(student: Local, rng: np.random.Generator, function: Callable, n: int, m: int) -> None:
    """Values, then scores that are large, then masked ones."""
    score = torch.from_numpy(rng.normal(size=(n, m)))

    def ask(score: Tensor, where: str) -> Tensor:
        got = student.call(function, score)
        if isinstance(got, Tensor) and got.shape == score.shape and not torch.isfinite(got).all():
            what = {
                "large": "scores of thousands give NaN: exp(1000) overflows, and rows far below the largest "
                "score of all become 0/0; subtract the largest of each row, it cancels",
                "masked": "a score of -inf gives NaN; exp(-inf) is 0, no weight, and the others share",
            }.get(where, "a weight is NaN or infinite")
            raise CheckFailed(what, expected="weights between 0 and 1", got="NaN or inf")
        return expect_tensor(got, tuple(score.shape), "the weights").double()

    e = score.exp()
    mistakes = {
        "the columns add up to one; the weights of the atom that listens do, a row": e / e.sum(0),
        "all weights together add up to one; those of each row do": e / e.sum(),
        "these are not divided by their sum": e,
        "exp is missing: scores may be negative, weights may not": score / score.sum(1, keepdim=True),
        "these are logarithms of weights": torch.log_softmax(score, dim=1),
    }
    named(ask(score, ""), weights_of(score), mistakes, "a weight; (listens, is heard)")
    large = 100 * score + 2000 * torch.linspace(-1, 1, n).to(score)[:, None]
    for where, other in (("large", large), ("masked", score.masked_fill(score > score.median(), -inf))):
        other[:, 0] = torch.where(torch.isinf(other).all(1), score[:, 0], other[:, 0])
        expect_close(ask(other, where), weights_of(other), f"a weight of {where} scores", tolerance=1e-6)
    above = torch.from_numpy(rng.normal(size=(n, 1)))
    what = "a constant was added to each row, and the weights changed: it cancels"
    expect_close(ask(score + above, ""), ask(score, ""), what)


@register(
    "attention.attend",
    slide=41,
    outcome=6,
    cause="a = softmax(q @ k.T / sqrt(d) + bias), then m = a @ v; d is the width of q",
)
def attend(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_attend(student, rng, function, 5, 4, 3)
    return "each atom hears all others; a renumbered crystal hears the same; the bias counts"


def holds_attend(
    student: Local, rng: np.random.Generator, function: Callable, n: int, d: int, features: int
) -> None:
    """Values with the usual mistakes, renumbered atoms, and the twins: bias and a distant atom's value."""
    q, k, bias, v = (torch.from_numpy(rng.normal(size=s)) for s in ((n, d), (n, d), (n, n), (n, features)))

    def ask(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> list[Tensor]:
        return parts(student.call(function, q, k, v, bias), [(n, n), (n, features)], ["a", "m"])

    a, m = ask(q, k, v, bias)
    dot, root = q @ k.T, d**0.5
    plain = weights_of(dot / root)
    mistakes = {
        "the scores are not divided by sqrt(d)": weights_of(dot + bias),
        "the scores are divided by d; it is sqrt(d)": weights_of(dot / d + bias),
        "the bias is divided by sqrt(d), too": weights_of((dot + bias) / root),
        "the bias is missing": plain,
        "the bias is taken away, not added": weights_of(dot / root - bias),
        "the bias is added to the weights; it goes into the scores, before the softmax": plain + bias,
        "k_i . q_j: it is the listener's query, q_i . k_j": weights_of(dot.T / root + bias),
        "bias[j, i] in the place of bias[i, j]": weights_of(dot / root + bias.T),
        "the columns of a add up to one, not the rows": torch.softmax(dot / root + bias, dim=0),
    }
    wanted = weights_of(dot / root + bias)
    named(a, wanted, mistakes, "a weight; (listens, is heard)")
    named(
        m,
        wanted @ v,
        {"m = a.T @ v: j sends, i receives, so m_i sums over the row of i": wanted.T @ v},
        "what an atom hears, m; (atom, feature)",
    )
    order = torch.from_numpy(rng.permutation(n))
    other_a, other_m = ask(q[order], k[order], v[order], bias[order][:, order])
    what = "the atoms were renumbered, and an atom hears something else: is there a place in the list in it?"
    expect_close(other_m, m[order], what)
    expect_close(other_a, a[order][:, order], what)
    expect_change(ask(q, k, v, bias - 3 * torch.eye(n).to(bias))[0], a, "the bias changed")
    last = v + torch.eye(n).to(v)[:, -1:]
    expect_change(ask(q, k, last, bias)[1][0], m[0], "the value of the last atom changed; the first listened")


@register(
    "attention.batch",
    slide=41,
    outcome=6,
    cause="0 where batch[i] == batch[j], -inf elsewhere; added to the scores, before the softmax",
)
def batch(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_batch(student, function, torch.tensor([0, 0, 1, 1, 1]))
    return "a crystal of a batch does not hear the others, and hears itself as if it were alone"


def holds_batch(student: Local, function: Callable, batch: Tensor) -> None:
    """The entries within and between crystals."""
    n, alike = len(batch), batch[:, None] == batch[None, :]
    where, got = f"batch = {batch.tolist()}", student.call(function, batch)
    if isinstance(got, Tensor) and got.dtype == torch.bool:
        raise WrongKind("a bias is added to the scores: 0 or -inf, not True or False", crystal=where)
    if isinstance(got, Tensor) and torch.isnan(got).any():
        raise CheckFailed("an entry is NaN: 0 * inf is no number", crystal=where)
    if isinstance(got, Tensor):  # -inf is what is wanted
        got = torch.where(got.double() < LEAK, LEAK, got.double())
    got = expect_tensor(got, (n, n), "the mask").double()
    own, between = got[alike], got[~alike]
    if bool((own <= LEAK).all()) and not between.any():
        raise CheckFailed("it is the other way round: here a crystal hears all but itself", crystal=where)
    if bool((own == 1).all()) and not between.any():
        what = "1 and 0 are factors; a bias is added, and a score of 0 is a weight like any other"
        raise CheckFailed(what, crystal=where)
    i, j = (int(x) for x in torch.nonzero(alike & (got != 0))[0]) if own.any() else (0, 0)
    if own.any():
        what = f"atoms {i} and {j} are of one crystal, their scores must stay as they are"
        raise CheckFailed(what, crystal=where, expected="0", got=f"{float(got[i, j]):.4g}")
    if bool((between > LEAK).any()):
        i, j = (int(x) for x in torch.nonzero(~alike & (got > LEAK))[0])
        what = f"atom {i} still hears atom {j} of another crystal: a score can outweigh this bias"
        raise CheckFailed(what, crystal=where, expected="-inf", got=f"{float(got[i, j]):.4g}")
