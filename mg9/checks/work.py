"""The check of the work that a force does along a path (slides 35, 37)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mg9.checks import Local, register
from mg9.checks.products import named
from mg9.checks.tools import expect_tensor


@register(
    "equivariance.work",
    slide=35,
    outcome=5,
    cause="W = sum over the steps of F . (r_k+1 - r_k): dot products, step by step",
)
def work(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_work(student, rng, function, steps=12)
    return (
        "nothing around a loop in a constant field, twice the area in a swirl, and force times way on a line"
    )


def holds_work(student: Local, rng: np.random.Generator, function: Callable, steps: int) -> None:
    """A constant force around a loop, a swirl, which has no energy, and random forces on a random path."""
    turn = torch.linspace(0, 2 * torch.pi, steps + 1, dtype=torch.float64)
    circle = torch.stack([turn.cos(), turn.sin(), 0 * turn], dim=1)
    middle = 0.5 * (circle[1:] + circle[:-1])
    swirl = torch.stack([-middle[:, 1], middle[:, 0], 0 * middle[:, 0]], dim=1)
    constant = torch.from_numpy(rng.normal(size=3)).expand(steps, 3).contiguous()
    somewhere = (torch.from_numpy(rng.normal(size=(n, 3))) for n in (steps + 1, steps))
    for where, path, forces in (
        ("a constant force around a circle", circle, constant),
        ("a force that circles with the path", circle, swirl),
        ("random forces on a random path", *somewhere),
    ):
        way = path[1:] - path[:-1]
        wanted = (forces * way).sum()
        got = student.call(function, path, forces)
        got = torch.tensor(got).double() if isinstance(got, float) else got
        got = got.reshape(()) if isinstance(got, Tensor) and got.numel() == 1 else got
        mistakes = {
            "the sign: this is the work done against the force": -wanted,
            "this is the mean over the steps, not the sum": wanted / steps,
            "lengths were multiplied: a force across the path does no work, take dot products": (
                forces.norm(dim=1) * way.norm(dim=1)
            ).sum(),
            "the steps go from one point of the path to the next, path[k + 1] - path[k]": (
                forces * path[:-1]
            ).sum(),
            "the points were multiplied, not the steps between them": (forces * path[1:]).sum(),
        }
        named(expect_tensor(got, (), "the work").double(), wanted, mistakes, "the work in eV", crystal=where)
