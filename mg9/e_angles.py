"""Angles: pairs of edges that share an atom (slides 28, 29, 30).

    triplets      edges (i, j) and (i, k) with the same centre: the angle j-i-k, seen from i     (M3GNet)
    line graph    edge (j, k) into j, then edge (i, j) into i: nodes are bonds, edges are angles   (ALIGNN)
    three-body basis    j_l(z_ln r_ik / r_cut) Y_l0(theta_jik)

Triplets are built from the edges of `a_crystal.py` by sorting and counting, without a loop over atoms: time
and memory grow with the number of triplets. An atom with n edges has n (n - 1) of them, so angles live within
a shorter cutoff than distances.

Papers: Choudhary and DeCost (2021) [choudhary2021alignn] for the line graph; Chen and Ong (2022)
[chen2022m3gnet, Eq. 2] for the basis.
Read in order: `triplets`, `line_graph`, `cosine`, `bessel_zeros`, `spherical_bessel`, `legendre`,
`harmonics`, `ThreeBodyBasis`, `SmoothBesselBasis`.
Differs from the paper: angles are kept as their cosine, which can be differentiated where three atoms lie in
a line; the angle itself cannot.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def triplets(edge_index: Tensor, keep: Tensor | None = None) -> Tensor:
    """All ordered pairs of different edges with the same centre, (2, T) = [edge ik, edge ij]: numbers of
    edges, the second receives what the first tells (slides 28, 30).

    edge_index: (2, E) = [j, i] in any order; keep: (E,) bool, the edges that may take part, all by default.
    An edge and its own periodic images are different edges. Sorted by the receiving edge, then by the other.
    """
    i = edge_index[1]
    ik, ij = _pairs(key=i, centre=i, keep=keep)
    return torch.stack([ik, ij])[:, ik != ij]


def line_graph(edge_index: Tensor, keep: Tensor | None = None) -> Tensor:
    """The edges of L(G), (2, T) = [edge that sends, edge that receives]: k -> j sends to j -> i, since both
    share the atom j (slide 28) [choudhary2021alignn].

    Arguments and order as for `triplets`. The way back, i -> j then j -> i, is there too: its angle is zero.
    """
    j, i = edge_index
    return torch.stack(_pairs(key=j, centre=i, keep=keep))


def _pairs(*, key: Tensor, centre: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
    """(a, b) for each edge b and each edge a whose centre is b's key, sorted by b, then a."""
    E = len(centre)
    edges = torch.arange(E, device=centre.device)
    if keep is not None:
        edges = edges[keep]
    if len(edges) == 0:
        return edges, edges
    by_centre = edges[torch.argsort(centre[edges], stable=True)]
    n_atoms = int(torch.maximum(centre.max(), key.max())) + 1
    count = torch.bincount(centre[edges], minlength=n_atoms)  # edges of each atom
    first = count.cumsum(0) - count  # where they begin in by_centre
    partners = count[key[edges]]
    b = edges.repeat_interleave(partners)  # (T,)
    begin = (partners.cumsum(0) - partners).repeat_interleave(partners)
    nth = torch.arange(len(b), device=b.device) - begin  # 0, 1, ... for each b
    return by_centre[first[key[b]] + nth], b


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between vectors a and b, (T, 3) each, to (T,) (slides 28, 29).

    Differentiable for all vectors of positive length. A rounding error may leave it at 1 + 1e-16.
    """
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))


def bessel_zeros(degrees: int, count: int) -> Tensor:
    """The first zeros z_ln of the spherical Bessel functions j_0 to j_(degrees - 1), (degrees, count)
    (slide 30).

    Those of j_0 are multiples of pi; between two zeros of j_(l - 1) lies one of j_l, found by halving.
    """
    zeros = [math.pi * torch.arange(1, count + degrees, dtype=torch.float64)]
    for l in range(1, degrees):
        low, high = zeros[-1][:-1].clone(), zeros[-1][1:].clone()
        sign = spherical_bessel(low, l + 1)[..., l].sign()
        for _ in range(60):
            middle = 0.5 * (low + high)
            same = spherical_bessel(middle, l + 1)[..., l].sign() == sign
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        zeros.append(0.5 * (low + high))
    return torch.stack([of_l[:count] for of_l in zeros])


def spherical_bessel(x: Tensor, degrees: int) -> Tensor:
    """j_0 to j_(degrees - 1) at x > 0, (..., degrees), by j_(l+1) = (2l + 1) / x j_l - j_(l-1) (slide 30)."""
    sin, cos = torch.sin(x), torch.cos(x)
    values = [sin / x, sin / x**2 - cos / x]
    for l in range(1, degrees - 1):
        values.append((2 * l + 1) / x * values[l] - values[l - 1])
    return torch.stack(values[:degrees], dim=-1)


def legendre(x: Tensor, degrees: int) -> Tensor:
    """P_0 to P_(degrees - 1), (..., degrees), by (l + 1) P_(l+1) = (2l + 1) x P_l - l P_(l-1) (slide 30)."""
    values = [torch.ones_like(x), x]
    for l in range(1, degrees - 1):
        values.append(((2 * l + 1) * x * values[l] - l * values[l - 1]) / (l + 1))
    return torch.stack(values[:degrees], dim=-1)


def harmonics(r: Tensor) -> Tensor:
    """C_lm of the directions of r (E, 3) for l < 3, (E, 9): spherical harmonics in the scale in which
    sum_m C_lm(a) C_lm(b) = P_l(cos) for any two directions, the addition theorem (slide 30).

    So a sum over k of P_l(cos theta_jik) is a product of C_lm(r_ij) and one sum over k, the same for all j.
    """
    x, y, z = (r / r.norm(dim=1, keepdim=True)).unbind(1)
    s = math.sqrt(3.0)
    second = [s * x * y, s * y * z, s * x * z, 0.5 * s * (x**2 - y**2), 1.5 * z**2 - 0.5]
    return torch.stack([torch.ones_like(x), x, y, z, *second], dim=1)


class SphericalBesselBasis(nn.Module):
    """j_l(z_ln r / r_cut), normalised in the sphere of radius r_cut, for l < degrees and n = 1 to count
    (slide 30) [chen2022m3gnet, Eq. 2].

    Zero at the cutoff, where the slope is not. forward: distance (E,) in Å to (E, degrees * count), in
    Å^(-3/2), n runs faster.
    """

    def __init__(self, *, cutoff: float = 5.0, degrees: int = 3, count: int = 3) -> None:
        super().__init__()
        zeros = bessel_zeros(degrees, count)  # (L, n)
        at_zeros = torch.stack([spherical_bessel(zeros[l], l + 2)[..., l + 1] for l in range(degrees)])
        self.cutoff, self.degrees = cutoff, degrees
        self.register_buffer("zeros", zeros.to(torch.get_default_dtype()), persistent=False)
        scale = math.sqrt(2.0 / cutoff**3) / at_zeros.abs()
        self.register_buffer("scale", scale.to(torch.get_default_dtype()), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        x = (distance.clamp(max=self.cutoff) / self.cutoff)[:, None, None] * self.zeros  # (E, L, n)
        j = [spherical_bessel(x[:, l], l + 1)[..., l] for l in range(self.degrees)]
        return (torch.stack(j, dim=1) * self.scale).flatten(1)


class ThreeBodyBasis(nn.Module):
    """j_l(z_ln r_ik / r_cut) Y_l0(theta_jik) for l < degrees, n = 1 to count (slide 30)
    [chen2022m3gnet, Eq. 2].

    forward: radial (T, degrees * count), the basis of r_ik, and the cosine (T,) of the angle, to a tensor of
    radial's shape.
    """

    def __init__(self, *, degrees: int = 3, count: int = 3) -> None:
        super().__init__()
        self.degrees, self.count = degrees, count
        norm = torch.tensor([math.sqrt((2 * l + 1) / (4 * math.pi)) for l in range(degrees)])
        self.register_buffer("norm", norm, persistent=False)

    def forward(self, radial: Tensor, cos: Tensor) -> Tensor:
        Y = legendre(cos, self.degrees) * self.norm  # (T, L)
        return (radial.view(-1, self.degrees, self.count) * Y.unsqueeze(-1)).flatten(1)


class SmoothBesselBasis(nn.Module):
    """h_m(r): orthonormal in the sphere, with value, slope and curvature zero at the cutoff (slides 17, 30)
    [chen2022m3gnet].

    Sums of two neighbouring waves sin(m pi r / r_cut) / r cancel at the cutoff; Gram and Schmidt make them
    orthogonal again. forward: distance (E,) in Å to (E, count), in Å^(-3/2).
    """

    def __init__(self, *, cutoff: float = 5.0, count: int = 3) -> None:
        super().__init__()
        self.cutoff, self.count = cutoff, count

    def forward(self, distance: Tensor) -> Tensor:
        x = math.pi * (distance / self.cutoff).clamp(max=1.0)
        h, d = [], 1.0
        for m in range(self.count):
            size = (m + 1) * (m + 2) / math.hypot(m + 1, m + 2) * math.sqrt(2.0) * math.pi / self.cutoff**1.5
            waves = torch.sin((m + 1) * x) / ((m + 1) * x) + torch.sin((m + 2) * x) / ((m + 2) * x)
            f = (-1) ** m * size * waves
            e = m**2 * (m + 2) ** 2 / (4 * (m + 1) ** 4 + 1)
            before, d = d, 1.0 - e / d
            h.append((f + (math.sqrt(e / before) * h[-1] if h else 0.0)) / math.sqrt(d))
        return torch.stack(h, dim=1)
