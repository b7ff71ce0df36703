"""MACE: products of neighbourhoods make many-body messages, two rounds suffice (slides 38, 39).

    A_i,l  = 1 / n * W_l sum_j R(r_ij) (h_j ⊗ Y(r_ij))_l              two bodies: i and one neighbour
    B_i,L  = w_1 A_i,L + w_2 (A_i ⊗ A_i)_L + w_3 ((A_i ⊗ A_i) ⊗ A_i)_L      three and four bodies
    h_i'   = W B_i + W_Z h_i                                          w and W_Z belong to the element of i
    E_i    = sum over rounds of a readout of the scalars of h_i

A sum over pairs of neighbours costs their number squared. The product of two sums over neighbours *is* the
sum over pairs, at the cost of one: that is where the bodies come from (slide 38).

Paper: Batatia, Kovács, Simm, Ortner and Csányi, NeurIPS 35 (2022) [batatia2022mace]; the released potential
MACE-MP-0 [batatia2024macemp] in `pretrained/mace.py`.
Read in order: `pairs` and `triples`, the products; `ProductBasis` (B); `MACE` (its five slots). A is a
`Convolution` of `f_layers.py`.
Differs from the paper: the same products in different order are counted once (for L = 0 of l up to 3 that
leaves 8 of 23), and constant factors of the layers are part of the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import Neighbours, crystals_of, edge_vectors, sum_over_crystals
from mg9.f_irreps import (
    SCALAR,
    Features,
    Irrep,
    clebsch_gordan,
    natural,
    spherical_harmonics,
    tensor_product,
)
from mg9.f_layers import (
    Convolution,
    ElementLinear,
    ElementRows,
    EquivariantLinear,
    RadialBasis,
    perceptron,
)

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def pairs(l_max: int, L: int) -> list[tuple[int, int]]:
    """(l1, l2), l1 <= l2, whose product contains L with its parity (slide 38)."""
    return [
        (l1, l2)
        for l1 in range(l_max + 1)
        for l2 in range(l1, l_max + 1)
        if abs(l1 - l2) <= L <= l1 + l2 and (l1 + l2 + L) % 2 == 0
    ]


def triples(l_max: int, L: int) -> list[tuple[int, int, int, int]]:
    """(l1, l2, l12, l3): products (l1 ⊗ l2 -> l12) ⊗ l3 -> L that differ as functions of A (slide 38).

    Those that are sums of earlier ones are left out.
    """
    kept, basis = [], torch.zeros(0, (l_max + 1) ** 6 * (2 * L + 1), dtype=torch.float64)
    for degrees in _all_triples(l_max, L):
        coupling = coupling_of(degrees, l_max, L).flatten()
        rest = coupling - basis.T @ (basis @ coupling)
        if rest.norm() > 1e-6:
            kept.append(degrees)
            basis = torch.cat([basis, (rest / rest.norm()).unsqueeze(0)])
    return kept


def coupling_of(degrees: tuple[int, int, int, int], l_max: int, L: int) -> Tensor:
    """C (M, M, M, 2L + 1), M = (l_max + 1)^2: the coefficients of one of `triples` (slide 38).

    A ⊗ A ⊗ A does not know the order of its factors, so only their mean over all orders matters.
    """
    l1, l2, l12, l3 = degrees
    C = torch.zeros(*[(l_max + 1) ** 2] * 3, 2 * L + 1, dtype=torch.float64)
    C[tuple(slice(degree**2, (degree + 1) ** 2) for degree in (l1, l2, l3))] = torch.einsum(
        "abm,mcd->abcd", clebsch_gordan(l1, l2, l12), clebsch_gordan(l12, l3, L)
    )
    return symmetric(C)


def symmetric(C: Tensor) -> Tensor:
    """The mean of C (M, M, M, ...) over the orders of its first three axes (slide 38)."""
    rest = range(3, C.dim())
    return sum(C.permute(*order, *rest) for order in permutations(range(3))) / 6


def _all_triples(l_max: int, L: int) -> Iterator[tuple[int, int, int, int]]:
    for l1 in range(l_max + 1):
        for l2 in range(l1, l_max + 1):
            for l3 in range(l_max + 1):
                if (l1 + l2 + l3 + L) % 2 == 0:
                    for l12 in range(max(l2 - l1, abs(l3 - L)), min(l1 + l2, l3 + L) + 1):
                        yield l1, l2, l12, l3


class ProductBasis(nn.Module):
    """B_i: the products of a neighbourhood with itself (slide 38) [batatia2022mace].

    correlation: factors of A, 1 to 3, that is up to four bodies. forward: A {irrep: (N, F, 2l + 1)} with all
    harmonics up to l_max; element (N,), the row of each atom's weights; to B {irrep: (N, F, 2L + 1)} for L up
    to l_out.
    """

    def __init__(self, *, features: int, l_max: int, l_out: int, correlation: int, elements: int) -> None:
        super().__init__()
        self.pairs = [pairs(l_max, L) if correlation > 1 else [] for L in range(l_out + 1)]
        self.triples = [triples(l_max, L) if correlation > 2 else [] for L in range(l_out + 1)]
        counts = [1 + len(two) + len(three) for two, three in zip(self.pairs, self.triples, strict=True)]
        self.weight = nn.ParameterList(torch.randn(elements, count, features) / count for count in counts)

    def forward(self, A: Features, element: Tensor) -> dict[Irrep, Tensor]:
        return {natural(L): self.products([*A.values()], element, L) for L in range(len(self.weight))}

    def products(self, A: list[Tensor], element: Tensor, L: int) -> Tensor:
        """(N, F, 2L + 1): the weighted sum of one, two and three factors A[l] that make L."""
        two = [tensor_product(A[l1], A[l2], l1, l2, L) for l1, l2 in self.pairs[L]]
        three = [
            tensor_product(tensor_product(A[l1], A[l2], l1, l2, l12), A[l3], l12, l3, L)
            for l1, l2, l12, l3 in self.triples[L]
        ]
        w = self.weight[L].index_select(0, element).unsqueeze(3).unbind(1)  # (N, F, 1) for each product
        return sum(w_k * product for w_k, product in zip(w, [A[L], *two, *three], strict=True))


class MACE(nn.Module):
    """The network of slide 38; forward: a radius graph or a batch of them to (B,), extensive.

    features: of each degree; l_hidden: highest degree of h between rounds; l_max: of the harmonics and of A;
    correlation: factors of A in a product; cutoff in Å; mean_neighbors: of the training part, so that sums
    are of order one; elements: atomic numbers that have weights. Errors: `UnknownElement` for another one.
    [batatia2022mace]
    """

    def __init__(
        self,
        *,
        features: int = 32,
        l_hidden: int = 1,
        l_max: int = 3,
        correlation: int = 3,
        layers: int = 2,
        cutoff: float = 5.0,
        radial: int = 8,
        hidden: int = 64,
        readout: int = 16,
        mean_neighbors: float = 30.0,
        elements: Sequence[int] = range(1, N_ELEMENTS + 1),
    ) -> None:
        super().__init__()
        self.l_max, self.mean_neighbors = l_max, mean_neighbors
        self.rows = ElementRows(elements)
        self.basis = RadialBasis(cutoff=cutoff, functions=radial, p=5)
        self.atoms = nn.Embedding(len(elements), features)
        self.rounds = nn.ModuleList()
        degrees = [0, *[l_hidden] * (layers - 1), 0]  # of h before each round, and scalars after the last
        for l_in, l_out in zip(degrees, degrees[1:], strict=False):
            h, after = ({natural(k): features for k in range(top + 1)} for top in (l_in, l_out))
            A = {natural(k): features for k in range(l_max + 1)}
            convolution = Convolution(h, list(A), l_max=l_max, sizes=(radial, *[hidden] * 3))
            parts = {
                "up": EquivariantLinear(h, h),
                "convolution": convolution,
                "A": EquivariantLinear(convolution.after, A),
                "B": ProductBasis(
                    features=features,
                    l_max=l_max,
                    l_out=l_out,
                    correlation=correlation,
                    elements=len(elements),
                ),
                "mix": EquivariantLinear(after, after),
                "keep": ElementLinear(h, after, elements=len(elements)),
            }
            self.rounds.append(nn.ModuleDict(parts))
        self.readouts = nn.ModuleList(perceptron(features, 1) for _ in range(layers - 1))
        self.readouts.append(perceptron(features, readout, 1))

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)
        E_i = sum(read(v) for read, v in zip(self.readouts, self.scalars(graph), strict=True))  # (N, 1)
        return sum_over_crystals(E_i.squeeze(1), batch, n_crystals)  # slot 5, readout (B,)

    def scalars(self, graph: Data | Batch) -> list[Tensor]:
        """The invariant features of the atoms after each round, (N, F) each: what the energy is read from,
        and an embedding for other uses (slide 38)."""
        element = self.rows(graph.z)
        h, found = {SCALAR: self.atoms(element).unsqueeze(2)}, []  # slot 2, node features (N, F, 1)
        basis = self.basis(graph.distance)  # slots 1, the graph, and 3, edge features (E, K) and harmonics
        Y = spherical_harmonics(edge_vectors(graph), self.l_max)
        around = Neighbours(graph.edge_index, len(element))
        for part in self.rounds:  # slot 4, message and update
            sums = part["convolution"](part["up"](h), Y, basis, around)
            A = {irrep: x / self.mean_neighbors for irrep, x in part["A"](sums).items()}
            m, kept = part["mix"](part["B"](A, element)), part["keep"](h, element)
            h = {irrep: x + kept[irrep] if irrep in kept else x for irrep, x in m.items()}
            found.append(h[SCALAR].squeeze(2))
        return found
