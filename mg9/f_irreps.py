"""Features that turn with the crystal: spherical harmonics, Clebsch-Gordan coefficients, tensor products
(slides 35, 36).

    Y_l(R r) = D_l(R) Y_l(r)                              an irrep of degree l has 2l + 1 components
    (x ⊗ y)_c = sum_ab C_abc x_a y_b                      of l1 and l2: one of |l1 - l2|, ..., l1 + l2
    p = p1 p2                                             parity: 1 for even, -1 for odd under r -> -r

l = 1 in the order (x, y, z) is a vector as it stands, so D_1(R) = R, and everything else is made from it:
the harmonics and the matrices D_l of degree l + 1 are tensor products of those of degree l with a vector.

Papers: Geiger and Smidt (2022) [geiger2022e3nn], whose signs and order of components are kept; Condon and
Shortley's phases for the coefficients themselves.
Read in order: `Irrep`, `clebsch_gordan`, `spherical_harmonics`, `wigner`, `tensor_product`. What a layer may
do with irreps stands in `f_layers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from math import factorial
from typing import NamedTuple

import torch
from torch import Tensor


class Irrep(NamedTuple):
    """Degree l and parity p, 1 or -1, of a feature with 2l + 1 components (slide 36).

    A vector is (1, -1), a pseudovector, such as an angular momentum, (1, 1). `str` gives "1o" and "1e".
    """

    l: int  # noqa: E741 - the letter of slide 36
    p: int

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    @property
    def dim(self) -> int:
        """2l + 1."""
        return 2 * self.l + 1

    def __mul__(self, other: Irrep) -> Iterator[Irrep]:
        """The irreps that a tensor product of the two contains."""
        return (
            Irrep(degree, self.p * other.p) for degree in range(abs(self.l - other.l), self.l + other.l + 1)
        )


SCALAR, PSEUDOSCALAR = Irrep(0, 1), Irrep(0, -1)


def natural(degree: int) -> Irrep:
    """The irrep of the harmonics of that degree: p = (-1)^l (slide 36)."""
    return Irrep(degree, (-1) ** degree)


Features = Mapping[Irrep, Tensor]  # each (N, F, 2l + 1); the number of features F may differ


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> Tensor:
    """C (2l1 + 1, 2l2 + 1, 2l3 + 1) in float64: the tensor product of l1 and l2 to l3 (slide 36).

    For each of the 2l3 + 1 components the squares sum to one, and different ones are orthogonal. Do not
    change it in place: the result is kept. Errors: ValueError if l1 ⊗ l2 does not contain l3.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"{l1} ⊗ {l2} contains {abs(l1 - l2)} to {l1 + l2}, not {l3}")
    C = torch.zeros(2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1, dtype=torch.complex128)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            C[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3)
    return torch.einsum("abc,ai,bj,ck->ijk", C, _real(l1), _real(l2), _real(l3).conj()).real.contiguous()


def _racah(j1: int, m1: int, j2: int, m2: int, j3: int) -> float:
    """<j1 m1 j2 m2 | j3 m1+m2> by Racah's formula."""
    m3 = m1 + m2
    squared = (2 * j3 + 1) * factorial(j1 + j2 - j3) * factorial(j3 + j1 - j2) * factorial(j3 + j2 - j1)
    squared *= math.prod(factorial(j + m) * factorial(j - m) for j, m in ((j1, m1), (j2, m2), (j3, m3)))
    total = 0.0
    for k in range(j1 + j2 - j3 + 1):
        terms = (k, j1 + j2 - j3 - k, j1 - m1 - k, j2 + m2 - k, j3 - j2 + m1 + k, j3 - j1 - m2 + k)
        if min(terms) >= 0:
            total += (-1) ** k / math.prod(map(factorial, terms))
    return total * math.sqrt(squared / factorial(j1 + j2 + j3 + 1))


def _real(l: int) -> Tensor:  # noqa: E741
    """Complex harmonics (rows, m = -l to l) from real ones (columns); the phase makes all C real."""
    U = torch.zeros(2 * l + 1, 2 * l + 1, dtype=torch.complex128)
    U[l, l] = 1.0
    for m in range(1, l + 1):
        U[l - m, l + m], U[l - m, l - m] = 1 / math.sqrt(2), -1j / math.sqrt(2)
        U[l + m, l + m], U[l + m, l - m] = (-1) ** m / math.sqrt(2), 1j * (-1) ** m / math.sqrt(2)
    return (-1j) ** l * U


def spherical_harmonics(vectors: Tensor, l_max: int) -> list[Tensor]:
    """Y_0 to Y_l_max of the directions of vectors (E, 3), each (E, 2l + 1), of squared length 2l + 1
    (slide 36) [geiger2022e3nn].

    Their parity is (-1)^l. Not defined for a vector of length zero.
    """
    y1 = math.sqrt(3) * vectors / vectors.norm(dim=-1, keepdim=True)
    found = [torch.ones_like(vectors[..., :1]), y1]
    for degree in range(1, l_max):  # the part of Y_l ⊗ Y_1 with the highest degree, at its proper length
        C = clebsch_gordan(degree, 1, degree + 1).to(vectors)
        size = math.sqrt((2 * degree + 3) / (3 * (degree + 1)))
        found.append(torch.einsum("...a,...b,abc->...c", found[-1], y1, size * C))
    return found[: l_max + 1]


def wigner(irrep: Irrep, rotation: Tensor) -> Tensor:
    """D (2l + 1, 2l + 1) of an orthogonal matrix (3, 3), proper or not: what it does to a feature
    (slide 36). A true scalar, 0e, stays; a pseudoscalar, 0o, changes its sign in a mirror."""
    D = torch.ones(1, 1).to(rotation)
    for degree in range(irrep.l):
        C = clebsch_gordan(degree, 1, degree + 1).to(rotation)
        D = torch.einsum("abc,ad,be,def->cf", C, D, rotation, C)
    return D if irrep.p == (-1) ** irrep.l else torch.linalg.det(rotation).sign() * D


def tensor_product(x: Tensor, y: Tensor, l1: int, l2: int, l3: int) -> Tensor:
    """x (..., 2l1 + 1) times y (..., 2l2 + 1) to (..., 2l3 + 1) (slide 36)."""
    return torch.einsum("...a,...b,abc->...c", x, y, clebsch_gordan(l1, l2, l3).to(x))
