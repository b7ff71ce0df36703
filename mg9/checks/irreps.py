"""Checks of what turning and mirroring does to a feature, and of the irreps in a product (slide 36).

Irreps are written as l and parity: "0e" energy, "0o" handedness, "1o" vector, "1e" pseudovector, "2e" a
symmetric traceless tensor such as r r^T, "2o" one of the other parity. Features of l = 2 are matrices
(..., 3, 3). The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_close, expect_tensor

IRREPS = ("0e", "0o", "1o", "1e", "2e", "2o")

# What a wrong sign in a mirror means, by irrep.
SIGNS = {
    "0e": "an energy changed its sign in the mirror; a true scalar, 0e, stays",
    "0o": "a handedness, 0o, kept its sign in the mirror: a left hand would be a right hand",
    "1o": "a vector, 1o, got another sign in the mirror than r itself: R turns it, that is all",
    "1e": "a pseudovector, 1e, changed like a vector: in r x v two signs cancel, so it needs a factor det R",
    "2e": "a tensor such as r r^T, 2e, changed its sign in the mirror: two signs cancel in it",
    "2o": "a tensor 2o changed like r r^T in the mirror: it has the other parity and needs a factor det R",
}

# Quantities of charges q at r that move with v: (irrep, formula, factors of r and v in it).
QUANTITIES = {
    "kinetic energy": ("0e", "v . v / 2", 2),
    "dipole moment": ("1o", "q r", 1),
    "angular momentum": ("1e", "r x v", 2),
    "quadrupole moment": ("2e", "q (r r^T - r^2 / 3)", 2),
    "handedness": ("0o", "(a x b) . c", 3),
    "twist": ("2o", "v (r x v)^T, symmetric, traceless", 3),
}


def feature(rng: np.random.Generator, irrep: str, *shape: int) -> Tensor:
    """A random feature of an irrep, (*shape), (*shape, 3) or (*shape, 3, 3)."""
    degree = int(irrep[0])
    x = torch.from_numpy(rng.normal(size=(*shape, *[3] * degree)))
    if degree < 2:
        return x
    x = 0.5 * (x + x.mT)
    return x - x.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(3).double()


def moved(x: Tensor, irrep: str, R: Tensor) -> Tensor:
    """What becomes of a feature, index by index."""
    for axis in range(int(irrep[0])):
        x = torch.movedim(torch.tensordot(x, R, dims=([-1 - axis], [1])), -1, -1 - axis)
    return x if irrep in ("0e", "1o", "2e") else x * torch.linalg.det(R)


@register(
    "equivariance.turned",
    slide=36,
    outcome=5,
    cause="l = 0 stays, l = 1 is x @ R.T, l = 2 is R @ x @ R.T; times det R where the parity is not "
    "that of 1, r, r r^T: for 0o, 1e, 2o",
)
def turned(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for irrep in IRREPS:
        holds_turned(student, rng, function, irrep, (4,))
    return "six irreps turn as they should; in a mirror r changes its sign and r x v does not"


def holds_turned(
    student: Local, rng: np.random.Generator, function: Callable, irrep: str, shape: tuple[int, ...]
) -> None:
    """A rotation, the inversion, and a random mirror."""
    x, R = feature(rng, irrep, *shape), torch.from_numpy(b_symmetry.random_rotation(rng))
    for where, matrix in (
        ("a rotation", R),
        ("the inversion r -> -r", -torch.eye(3).double()),
        ("a rotation and the inversion, a mirror image", -R.T),
    ):
        wanted = moved(x, irrep, matrix)
        got = student.call(function, x, irrep, matrix)
        got = expect_tensor(got, tuple(x.shape), f"a feature {irrep} after {where}").double()
        sign = (
            SIGNS[irrep]
            if matrix is not R
            else "det R = 1, so a rotation changes no sign, whatever the parity"
        )
        mistakes = {sign: -wanted}
        if irrep[0] != "0":
            mistakes[f"l = {irrep[0]} did not turn: it has a direction"] = x
            mistakes["turned the other way round: for vectors as rows, R r is r @ R.T"] = moved(
                x, irrep, matrix.T
            )
        if irrep[0] == "2":
            one_side = {"R x": matrix @ x, "x R^T": x @ matrix.T}
            mistakes |= {
                f"this is {side}: a tensor has two indices, and both turn": y for side, y in one_side.items()
            }
        for what, wrong in mistakes.items():
            if torch.allclose(got, wrong, atol=1e-9) and not torch.allclose(wrong, wanted, atol=1e-9):
                raise CheckFailed(what, crystal=f"{irrep} under {where}")
        what = f"a feature {irrep} is something else after {where}"
        expect_close(got, wanted, what, tolerance=1e-6)


@register(
    "equivariance.labels",
    slide=36,
    outcome=5,
    cause="count the factors of r and v: an even number gives e, an odd one o; l = 0 is a number, l = 1 has "
    "three, l = 2 is a symmetric traceless matrix",
)
def labels(student: Local, rng: np.random.Generator, given: Any) -> str:
    if not isinstance(given, dict) or set(given) != set(QUANTITIES):
        names = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise WrongKind("a dict from quantity to irrep is wanted", expected=sorted(QUANTITIES), got=names)
    for name, (irrep, formula, factors) in QUANTITIES.items():
        got = given[name]
        if got not in IRREPS:
            raise WrongKind(
                f"{name}: there is no irrep {got!r}", expected=f"one of {', '.join(IRREPS)}", got=got
            )
        if got[0] != irrep[0]:
            has = {"0": "one number", "1": "three numbers, an arrow", "2": "a symmetric traceless matrix"}
            raise CheckFailed(f"{name}, {formula}, is {has[irrep[0]]}", expected=f"l = {irrep[0]}", got=got)
        if got != irrep:
            sign = "changes" if factors % 2 else "keeps"
            what = f"{name}, {formula}: {factors} of its factors changed sign"
            raise CheckFailed(what, expected=f"an irrep that {sign} its sign when r -> -r", got=got)
    return f"{len(QUANTITIES)} quantities, in space and in the mirror"


@register(
    "equivariance.paths",
    slide=36,
    outcome=5,
    cause="every l from |l1 - l2| to l1 + l2, both included; all have one parity, the product of the two",
)
def paths(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_paths(student, function, [("1o", "1o"), ("0e", "1o"), ("2e", "1o"), ("1e", "1o"), ("0o", "2o")])
    return "|l1 - l2| to l1 + l2, and parities multiply: a cross product of vectors is no vector"


def holds_paths(student: Local, function: Callable, pairs: Sequence[tuple[str, str]]) -> None:
    """Degrees, parity, and that no number is lost."""
    for one, two in pairs:
        l1, l2, parity = int(one[0]), int(two[0]), "e" if one[1] == two[1] else "o"
        wanted = [f"{l}{parity}" for l in range(abs(l1 - l2), l1 + l2 + 1)]  # noqa: E741
        got, where = student.call(function, one, two), f"{one} x {two}"
        if not isinstance(got, list | tuple) or not all(isinstance(irrep, str) for irrep in got):
            found = "None: is the return statement missing?" if got is None else got
            raise WrongKind("a list of irreps is wanted", crystal=where, expected=wanted, got=found)
        if sorted(got) == sorted(wanted):
            continue
        degrees = sorted(irrep[:-1] for irrep in wanted)
        numbers = (2 * l1 + 1) * (2 * l2 + 1)
        if sorted(irrep[:-1] for irrep in got) == degrees:
            what = "the parities multiply: e e = o o = e, e o = o, whatever l is"
        elif all(irrep[:-1].isdigit() and irrep[-1] in "eo" for irrep in got):
            own = sum(2 * int(irrep[:-1]) + 1 for irrep in got)
            what = f"{2 * l1 + 1} times {2 * l2 + 1} products are {numbers} numbers; these irreps have {own}"
        else:
            what = "an irrep is a degree and a parity, e or o, such as 1o"
        raise CheckFailed(what, crystal=where, expected=wanted, got=list(got))
