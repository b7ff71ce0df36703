"""Radial bases and envelopes: what they claim about the cutoff, their formulas, and PyTorch Geometric's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mg9.c_radial import BesselBasis, CosineEnvelope, GaussianBasis, HardCutoff, PolynomialEnvelope

CUTOFF = 5.0
# The envelope, and how many of its derivatives vanish at the cutoff: value, slope, curvature, ...
ENVELOPES = {
    "none": (HardCutoff(cutoff=CUTOFF), 0),
    "cosine": (CosineEnvelope(cutoff=CUTOFF), 2),
    "polynomial": (PolynomialEnvelope(cutoff=CUTOFF), 3),
    "polynomial, p = 3": (PolynomialEnvelope(cutoff=CUTOFF, p=3), 3),
}
EVERY_ENVELOPE = pytest.mark.parametrize("name", ENVELOPES)


def derivatives(f, at: float, orders: int) -> list[float]:
    """f, f', f'', ... by autograd in float64."""
    r = torch.tensor([at], dtype=torch.float64, requires_grad=True)
    found = [f(r).sum()]
    for _ in range(orders):
        slope = torch.zeros_like(r)
        if found[-1].requires_grad:
            (slope,) = torch.autograd.grad(found[-1], r, create_graph=True, allow_unused=True)
        found.append(torch.zeros(()) if slope is None else slope.sum())
    return [float(value.detach()) for value in found]


@EVERY_ENVELOPE
def test_the_stated_number_of_derivatives_vanishes_at_the_cutoff_and_no_more(name):
    envelope, vanishing = ENVELOPES[name]
    inside = derivatives(envelope, CUTOFF * (1 - 1e-9), 4)
    assert all(abs(value) < 1e-6 for value in inside[:vanishing]), inside
    assert abs(inside[vanishing]) > 0.1, inside
    assert derivatives(envelope, CUTOFF + 0.1, 4) == [0.0] * 5


@EVERY_ENVELOPE
def test_an_envelope_falls_from_one_to_zero(name):
    values = ENVELOPES[name][0](torch.linspace(0.0, 2 * CUTOFF, 401, dtype=torch.float64))
    assert values[0] == 1 and (values[200:] == 0).all()
    assert (values.diff() <= 1e-12).all()


@given(r=st.floats(0.1, 4.99), p=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_the_polynomial_is_pytorch_geometrics(r, p):
    """There it carries the 1 / r of the Bessel functions with it, and its exponent is p - 1."""
    from torch_geometric.nn.models.dimenet import Envelope

    r = torch.tensor([r], dtype=torch.float64)
    expected = Envelope(p - 1)(r / CUTOFF) * r / CUTOFF
    torch.testing.assert_close(PolynomialEnvelope(cutoff=CUTOFF, p=p)(r), expected, rtol=1e-9, atol=1e-12)


def test_the_cosine_is_half_at_half_the_cutoff():
    r = torch.tensor([0.0, CUTOFF / 2, CUTOFF / 3], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.5, 0.75], dtype=torch.float64)
    torch.testing.assert_close(CosineEnvelope(cutoff=CUTOFF)(r), expected)


def test_bessel_functions_are_orthonormal_and_end_at_the_cutoff():
    basis = BesselBasis(cutoff=CUTOFF, functions=6).double()
    r = torch.linspace(1e-9, CUTOFF, 20001, dtype=torch.float64)
    values = basis(r) * r[:, None]
    overlap = torch.trapezoid(values[:, :, None] * values[:, None, :], r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-6)
    at_cutoff = basis(torch.tensor([CUTOFF], dtype=torch.float64))
    torch.testing.assert_close(at_cutoff, torch.zeros(1, 6, dtype=torch.float64), rtol=0, atol=1e-6)
    slopes = [derivatives(lambda r, k=k: basis(r)[:, k], CUTOFF, 1)[1] for k in range(6)]
    assert all(abs(slope) > 0.05 for slope in slopes), "a Bessel function alone is not smooth at the cutoff"


def test_bessel_functions_are_scipys():
    from scipy.special import spherical_jn

    basis, r = BesselBasis(cutoff=CUTOFF, functions=4).double(), torch.linspace(0.5, 4.5, 9).double()
    waves = [k * math.pi / CUTOFF for k in (1, 2, 3, 4)]
    expected = [torch.from_numpy(spherical_jn(0, w * r.numpy())) * w for w in waves]
    torch.testing.assert_close(
        basis(r), math.sqrt(2 / CUTOFF) * torch.stack(expected, dim=1), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("basis", [GaussianBasis(cutoff=CUTOFF), BesselBasis(cutoff=CUTOFF)])
def test_bases_are_differentiable_and_have_nothing_to_save(basis):
    basis = basis.double()
    r = torch.tensor([0.5, 2.35, 4.999, 7.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(basis, (r,)) and not basis.state_dict()


def test_the_width_of_a_gaussian_can_be_chosen():
    r = torch.tensor([1.0, 3.0])
    narrow, wide = GaussianBasis(cutoff=4.0, centers=5), GaussianBasis(cutoff=4.0, centers=5, beta=0.25)
    assert narrow.beta == 1.0 and torch.allclose(wide(r), narrow(r) ** 0.25)
