"""Radial bases and envelopes: a distance as a vector that fades out at the cutoff (slides 13, 17, 20).

    Gaussians    exp(-beta (r - mu_k)^2)
    Bessel       sqrt(2 / r_cut) sin(k pi r / r_cut) / r
    envelopes    f_cut(r): 1 at r = 0, 0 from r_cut on

A network reads a vector of smooth bumps more easily than one number, and stays differentiable in r, which
bins do not. An edge that appears at the cutoff must appear with weight zero, or the energy jumps there.

Papers: Xie and Grossman (2018) [xie2018cgcnn], supplement, for 41 Gaussians 0.2 Å apart; Gasteiger, Groß and
Günnemann (2020) [gasteiger2020dimenet], Eq. 7 for the Bessel functions and Eq. 8 for the polynomial; Behler
(2011) [behler2011acsf] for the cosine.
Read in order: `GaussianBasis`, `BesselBasis`; then `HardCutoff`, `CosineEnvelope`, `PolynomialEnvelope`.
Differs from the paper: DimeNet multiplies its basis by the polynomial and lets the frequencies be trained;
here they are fixed, and who uses a basis multiplies by the envelope.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    """exp(-beta (r - mu_k)^2) for K centres from 0 to the cutoff (slides 13, 20) [xie2018cgcnn].

    cutoff in Å; beta in 1/Å^2, by default 1 / spacing^2; forward: distance (E,) in Å to (E, K), without a
    dimension.
    """

    def __init__(self, *, cutoff: float = 8.0, centers: int = 41, beta: float | None = None) -> None:
        super().__init__()
        self.register_buffer("mu", torch.linspace(0.0, cutoff, centers), persistent=False)
        self.beta = ((centers - 1) / cutoff) ** 2 if beta is None else beta

    def forward(self, distance: Tensor) -> Tensor:
        return torch.exp(-self.beta * (distance.unsqueeze(-1) - self.mu) ** 2)


class BesselBasis(nn.Module):
    """sqrt(2 / r_cut) sin(k pi r / r_cut) / r for k = 1 to K (slides 13, 17) [gasteiger2020dimenet, Eq. 7].

    The waves of a particle in a sphere of radius r_cut: orthonormal with the weight r^2, and each is zero at
    the cutoff, where its slope is not. cutoff in Å; forward: distance (E,) in Å, greater than zero, to (E, K)
    in Å^(-3/2).
    """

    def __init__(self, *, cutoff: float = 5.0, functions: int = 8) -> None:
        super().__init__()
        waves = math.pi / cutoff * torch.arange(1, functions + 1)  # 1/Å
        self.register_buffer("waves", waves, persistent=False)
        self.scale = math.sqrt(2.0 / cutoff)

    def forward(self, distance: Tensor) -> Tensor:
        r = distance.unsqueeze(-1)
        return self.scale * torch.sin(self.waves * r) / r


class HardCutoff(nn.Module):
    """1 within the cutoff, 0 outside: no envelope (slide 17). The energy jumps at the cutoff.

    cutoff in Å; forward: distance (E,) to (E,).
    """

    def __init__(self, *, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distance: Tensor) -> Tensor:
        return (distance < self.cutoff).to(distance.dtype)


class CosineEnvelope(HardCutoff):
    """(1 + cos(pi r / r_cut)) / 2 (slide 17) [behler2011acsf].

    Its value and its slope are zero at the cutoff, its second derivative jumps: forces are continuous, the
    curvature (phonons, the error of a time step) is not. forward: distance (E,) to (E,).
    """

    def forward(self, distance: Tensor) -> Tensor:
        inside = super().forward(distance)
        return 0.5 * (torch.cos(math.pi * distance / self.cutoff) + 1.0) * inside


class PolynomialEnvelope(HardCutoff):
    """1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2) with x = r / r_cut (slide 17)
    [gasteiger2020dimenet, Eq. 8].

    Its value, slope and second derivative are zero at the cutoff, the third jumps; near r = 0 it is flat:
    the larger p, the later it falls. forward: distance (E,) to (E,).
    """

    def __init__(self, *, cutoff: float, p: int = 6) -> None:
        super().__init__(cutoff=cutoff)
        self.p = p

    def forward(self, distance: Tensor) -> Tensor:
        p, x = self.p, distance / self.cutoff
        falling = (p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2
        return (1.0 - falling * x**p) * super().forward(distance)
