"""Checks of what SchNet makes of a distance: softplus, basis, envelope, filter (slides 13, 14, 17).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`). The
functions `holds_...` are the part that hidden checks repeat on other values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_change, expect_close, expect_tensor

F, K = 6, 5  # small sizes: these checks are about structure, not about training


@register(
    "schnet.softplus",
    slide=14,
    outcome=2,
    cause="softplus(x) - ln 2; log(0.5 * exp(x) + 0.5) overflows where x is large",
)
def shifted_softplus(student: Local, rng: np.random.Generator, function: Callable) -> str:
    x = torch.tensor([-1000.0, -3.0, -0.5, 0.0, 0.5, 2.0, 1000.0], dtype=torch.float64)
    holds_softplus(student, function, x)
    return "zero at zero with slope 1/2, flat far left, straight far right"


def holds_softplus(student: Local, function: Callable, x: Tensor) -> None:
    """Value and slope."""
    zero = expect_tensor(student.call(function, torch.zeros(1, dtype=torch.float64)), (1,), "ssp(0)")
    if abs(float(zero)) > 1e-6:
        what = "ssp(0) is not 0: softplus is shifted by ln 2"
        raise CheckFailed(what, expected="0", got=f"{float(zero):.4f}")
    got = expect_tensor(student.call(function, x), x.shape, "ssp(x)").double()
    truth = torch.clamp(x, min=0) + torch.log1p(torch.exp(-x.abs())) - math.log(2)
    size = x.abs().clamp(min=1)  # single precision is right, too
    what = f"ssp({worst(x, got, truth):.4g}) has another value (over |x|, if that is above 1)"
    expect_close(got / size, truth / size, what, tolerance=1e-6)
    slope, wanted = slope_of(student, function, x), torch.sigmoid(x)
    expect_close(slope, wanted, f"ssp has another slope at x = {worst(x, slope, wanted):.4g}", tolerance=1e-6)


@register(
    "schnet.basis",
    slide=13,
    outcome=2,
    cause="K centres from 0 to the cutoff, both included, and beta = 1 / spacing^2",
)
def basis(student: Local, rng: np.random.Generator, function: Callable) -> str:
    r = torch.tensor([0.5, 1.7, 2.3, 2.7, 4.9], dtype=torch.float64)
    holds_basis(student, function, r, cutoff=5.0, centers=21)
    return "bumps that tell 2.3 Å from 2.7 Å, with a slope that tells 2.30 from 2.31 Å"


def holds_basis(student: Local, function: Callable, r: Tensor, cutoff: float, centers: int) -> None:
    """The values and slopes of the Gaussians."""
    shape, spacing = (len(r), centers), cutoff / (centers - 1)
    got = expect_tensor(student.call(function, r, cutoff, centers), shape, "u_ij").double()
    mu = torch.linspace(0.0, cutoff, centers, dtype=torch.float64)
    truth = torch.exp(-(((r[:, None] - mu) / spacing) ** 2))
    if bool(((got == 0) | (got == 1)).all()):
        raise CheckFailed("these are bins: their slope is zero, so no force ever comes back")
    about = f"K = {centers}, cutoff {cutoff:.3g} Å; (edge, centre)"
    expect_close(got, truth, f"a Gaussian has another value, {about}", tolerance=1e-6)
    weight = torch.linspace(-1, 1, centers, dtype=torch.float64).expand(shape)
    slope = slope_of(student, function, r, cutoff, centers, weight=weight)
    wanted = (weight * truth * -2 * (r[:, None] - mu) / spacing**2).sum(dim=1)
    expect_close(slope, wanted, "the Gaussians have another slope; (edge)", unit="1/Å", tolerance=1e-5)


@register(
    "schnet.envelope",
    slide=17,
    outcome=2,
    cause="(cos(pi r / r_cut) + 1) / 2 within the cutoff, 0 from there on, where the cosine would rise again",
)
def envelope(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_envelope(student, function, 5.0)
    return "1 at r = 0; at the cutoff value and slope vanish, and beyond it nothing comes back"


def holds_envelope(student: Local, function: Callable, cutoff: float) -> None:
    """Value and slope: on the way, at the cutoff, beyond."""
    inside = torch.linspace(0.02, 1 - 1e-6, 9, dtype=torch.float64) * cutoff
    beyond = torch.tensor([1.0, 1.2, 1.9, 2.0, 3.1], dtype=torch.float64) * cutoff
    start, tail = (
        expect_tensor(student.call(function, r, cutoff), r.shape, "f_cut(r)").double()
        for r in (inside, beyond)
    )
    if float(tail.abs().max()) > 1e-7:
        at = float(beyond[tail.abs().argmax()])
        what = f"beyond the cutoff of {cutoff:.3g} Å, at {at:.3g} Å, an atom still counts"
        raise CheckFailed(what, expected="0", got=f"{float(tail.abs().max()):.3g}")
    if float((start[-1]).abs()) > 1e-4:
        what = "just within the cutoff f_cut has not come down: the energy jumps when an atom crosses"
        raise CheckFailed(what, expected="0", got=f"{float(start[-1]):.3g}")
    slope = slope_of(student, function, inside, cutoff)
    if abs(float(slope[-1])) * cutoff > 1e-3:
        what = "at the cutoff f_cut is 0, but its slope is not: the force jumps when an atom crosses"
        raise CheckFailed(what, expected="0 1/Å", got=f"{float(slope[-1]):.3g} 1/Å")
    truth = 0.5 * (torch.cos(math.pi * inside / cutoff) + 1)
    expect_close(start, truth, f"f_cut({worst(inside, start, truth):.3g} Å) is another", tolerance=1e-6)
    wanted = -0.5 * math.pi / cutoff * torch.sin(math.pi * inside / cutoff)
    expect_close(slope, wanted, "f_cut has another slope; (entry)", unit="1/Å", tolerance=1e-6)
    outside = slope_of(student, function, beyond[1:], cutoff, or_none=True)
    if outside is not None and float(outside.nan_to_num(nan=1.0).abs().max()) > 1e-7:
        raise CheckFailed("beyond the cutoff the slope is not zero", expected="0 1/Å", got="a force")


@register(
    "schnet.filter",
    slide=17,
    outcome=2,
    cause="second(ssp(first(u))) times the envelope at the very end, so that the biases fade out as well",
)
def continuous_filter(student: Local, rng: np.random.Generator, cls: type) -> str:
    layer = student.make(cls, 0, torch.float64, features=F, edge_features=K)
    student.load(layer, reference_filter())
    u, f = torch.from_numpy(rng.normal(size=(4, K))), torch.tensor([0.7, 0.4, 0.1, 0.0]).double()
    w = expect_tensor(student.call(layer, u, f), (4, F), "W(r)").double()
    if float(w[3].abs().max()) > 1e-12:
        what = "a neighbour at the cutoff still has a filter: the envelope must multiply what comes out last"
        raise CheckFailed(what, expected="0", got=f"{float(w[3].abs().max()):.3g}")
    half = expect_tensor(student.call(layer, u, f / 2), (4, F), "W(r)").double()
    expect_close(half, w / 2, "half the envelope is not half the filter; (edge, channel)", tolerance=1e-6)
    expect_change(student.call(layer, u + 0.3, f), w, "the distances were changed")
    flat = {name: torch.zeros_like(value) for name, value in reference_filter().items()}
    flat |= {"first.bias": torch.full((F,), -0.5).double(), "second.weight": torch.eye(F).double()}
    student.load(layer, flat)
    got = expect_tensor(student.call(layer, u, torch.ones_like(f)), (4, F), "W(r)").double()
    wanted = math.log1p(math.exp(-0.5)) - math.log(2)
    what = "with first = -0.5 and second the identity, W is ssp(-0.5) = -0.219; (edge, channel)"
    expect_close(got, torch.full_like(got, wanted), what, tolerance=1e-6)
    return "a filter for every distance, which fades out at the cutoff with all its biases"


def reference_filter() -> dict[str, Tensor]:
    """first.weight, first.bias, second.weight, second.bias: known random numbers."""
    generator = torch.Generator().manual_seed(13)
    shapes = {"first": (F, K), "second": (F, F)}
    return {
        f"{name}.{part}": torch.randn(shape if part == "weight" else shape[:1], generator=generator).double()
        for name, shape in shapes.items()
        for part in ("weight", "bias")
    }


def slope_of(
    student: Local,
    function: Callable,
    x: Tensor,
    *more: Any,
    weight: Tensor | None = None,
    or_none: bool = False,
) -> Tensor:
    """d (weight . function) / dx for each entry of x."""
    weight = torch.ones_like(x) if weight is None else weight
    try:
        (slope, *_) = student.vjp(function, (x, *more), weight)
    except CheckFailed as failure:
        if "does not require grad" in failure.what:
            slope = None
        else:
            raise
    if slope is None and not or_none:
        raise CheckFailed("no slope comes back: is there a detach, an .item() or a conversion to numpy?")
    return slope


def worst(x: Tensor, got: Tensor, truth: Tensor) -> float:
    """The x where two functions differ most."""
    return float(x[(got - truth).abs().argmax()])
