"""Radial bases: a distance as a vector (slides 13, 17, 20).

    u_ij = [exp(-beta (r_ij - mu_1)^2), ..., exp(-beta (r_ij - mu_K)^2)]

A network reads a vector of smooth bumps more easily than one number, and stays differentiable in r, which
bins do not.

Paper: Xie and Grossman (2018) [xie2018cgcnn], supplement: K = 41 centres, 0.2 Å apart.
Read in order: `GaussianBasis`.
Differs from the paper: nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    """exp(-beta (r - mu_k)^2) for K centres from 0 to the cutoff, beta = 1 / spacing^2 (slides 13, 20)
    [xie2018cgcnn].

    cutoff in Å; forward: distance (E,) in Å to (E, K), dimensionless.
    """

    def __init__(self, *, cutoff: float = 8.0, centers: int = 41) -> None:
        super().__init__()
        self.register_buffer("mu", torch.linspace(0.0, cutoff, centers), persistent=False)
        self.beta = ((centers - 1) / cutoff) ** 2  # 1/Å^2

    def forward(self, distance: Tensor) -> Tensor:
        return torch.exp(-self.beta * (distance.unsqueeze(-1) - self.mu) ** 2)
