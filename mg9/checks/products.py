"""Checks of the product of two vectors by hand: 1 ⊗ 1 = 0 + 1 + 2 (slide 36).

The functions `holds_...` are the part that hidden checks repeat on other vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_close, expect_tensor


def parts(value: Any, shapes: Sequence[tuple[int, ...]], names: Sequence[str]) -> list[Tensor]:
    """The tensors that a function returns together, each of its shape; otherwise `CheckFailed` in words."""
    if not isinstance(value, tuple | list) or len(value) != len(names):
        number = f" of {len(value)}" if isinstance(value, tuple | list) else ""
        found = "None: is the return statement missing?" if value is None else type(value).__name__ + number
        raise WrongKind(f"return {len(names)} things: {', '.join(names)}", expected=len(names), got=found)
    return [
        expect_tensor(one, shape, name).double()
        for one, shape, name in zip(value, shapes, names, strict=True)
    ]


def named(got: Tensor, wanted: Tensor, mistakes: dict[str, Tensor], what: str, **more: Any) -> None:
    """`got` is what is wanted; a usual mistake is called by its name."""
    for mistake, wrong in mistakes.items():
        if torch.allclose(got, wrong, atol=1e-7) and not torch.allclose(wrong, wanted, atol=1e-7):
            raise CheckFailed(mistake, **more)
    expect_close(got, wanted, what, tolerance=1e-6, **more)


def split(outer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is wanted of the nine products of x and y, outer (N, 3, 3)."""
    trace = torch.einsum("naa->n", outer)
    axial = torch.stack([outer[:, a, b] - outer[:, b, a] for a, b in ((1, 2), (2, 0), (0, 1))], dim=1)
    return trace, axial, 0.5 * (outer + outer.mT) - trace[:, None, None] * torch.eye(3).to(outer) / 3


@register(
    "equivariance.product",
    slide=36,
    outcome=5,
    cause="s = x . y; v = x x y; T = (x y^T + y x^T) / 2 - (x . y) / 3 on the diagonal",
)
def product(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_product(student, rng, function, 4)
    return "one number, an arrow, and a tensor without antisymmetric part and trace: 1 + 3 + 5 = 9"


def holds_product(student: Local, rng: np.random.Generator, function: Callable, n: int) -> None:
    """The three parts of random pairs of vectors."""
    x, y = (torch.from_numpy(rng.normal(size=(n, 3))) for _ in range(2))
    s, v, T = parts(student.call(function, x, y), [(n,), (n, 3), (n, 3, 3)], ["s", "v", "T"])
    outer = x[:, :, None] * y[:, None, :]
    dot, cross, tensor = split(outer)
    third = dot[:, None, None] * torch.eye(3).double() / 3
    named(s, dot, {"s is the mean of the three products, not their sum": dot / 3}, "s is not x . y; (pair)")
    named(
        v,
        cross,
        {"this is y x x, the other order, and has the other sign": -cross, "v is half of x x y": cross / 2},
        "v is not x x y; (pair, axis)",
    )
    mistakes = {
        "T has a trace: take a third of x . y from each diagonal entry": tensor + third,
        "T loses too much: the unit matrix has trace 3, so take a third of x . y": tensor - 2 * third,
        "a third of x . y was taken from every entry; take it from the diagonal": tensor
        + third
        - third.sum(2)[..., None],
        "T is not symmetric, v is in it: take the mean of x y^T and y x^T": outer - third,
        "this is x y^T with its nine numbers: the dot and the cross product are still in it": outer,
        "T is the sum of x y^T and y x^T, not their mean": outer + outer.mT - 2 * third,
    }
    named(T, tensor, mistakes, "T is not the symmetric traceless part of x y^T; (pair, row, column)")


@register(
    "equivariance.reassembled",
    slide=36,
    outcome=5,
    cause="x_a y_b = T_ab + (1/2) sum_c eps_abc v_c + (s / 3) delta_ab: entry (0, 1) has + v_2 / 2, entry "
    "(1, 0) has - v_2 / 2",
)
def reassembled(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_reassembled(student, rng, function, 3)
    return "the nine products are back: nothing was lost"


def holds_reassembled(student: Local, rng: np.random.Generator, function: Callable, n: int) -> None:
    """x y^T from its parts, and each part alone."""
    x, y = (torch.from_numpy(rng.normal(size=(n, 3))) for _ in range(2))
    outer = x[:, :, None] * y[:, None, :]
    s, v, T = split(outer)
    half, third = 0.5 * (outer - outer.mT), s[:, None, None] * torch.eye(3).double() / 3
    got = expect_tensor(student.call(function, s, v, T), (n, 3, 3), "the products").double()
    mistakes = {
        "this is y x^T: the part of v has the other sign; entry (0, 1) has + v_2 / 2": outer.mT,
        "v is left out: what is back is symmetric, x y^T is not": outer - half,
        "s is left out: what is back has no trace, x y^T has x . y": outer - third,
        "v counts twice: the antisymmetric part is half of it": outer + half,
        "s counts three times: each diagonal entry has a third of it": outer + 2 * third,
        "T is left out": half + third,
    }
    named(got, outer, mistakes, "an entry is not x_a y_b; (pair, a, b)")
