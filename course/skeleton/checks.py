"""Checks of the assignment "NAME": what students see. Put your own in place of the cutoff."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mg9.checks import Local, register
from mg9.checks.tools import expect_close, expect_tensor


@register(
    "NAME.cutoff",
    slide=17,
    outcome=2,
    cause="(cos(pi r / r_cut) + 1) / 2 within r_cut, 0 beyond",
)
def cutoff(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_cutoff(student, function, 6.0)
    return "1 at the centre, 1/2 half way, 0 at the cutoff and beyond"


def holds_cutoff(student: Local, function: Callable, r_cut: float) -> None:
    """The envelope against its formula; the hidden check repeats it with other cutoffs (in Å)."""
    r = torch.linspace(0.0, 1.5 * r_cut, 13, dtype=torch.float64)
    truth = 0.5 * (torch.cos(torch.pi * r / r_cut) + 1) * (r < r_cut)
    got = expect_tensor(student.call(function, r, r_cut), r.shape, "the envelope")
    expect_close(got, truth, f"with a cutoff of {r_cut:.2f} Å the envelope has another value")
