"""NequIP: messages are tensor products with the direction to the neighbour (slide 37).

    m_ij = R(r_ij) (W h_j ⊗ Y(r_ij))                      a path for each l1 ⊗ l2 -> l3
    h_i' = Gate( W' sum_j m_ij / sqrt(n) + W_Z h_i )       W_Z belongs to the element of i
    E_i  = readout of the scalars of h_i

SchNet's filter R(r_ij) knows how far a neighbour is; Y knows in which direction, and h_j which way it points
itself. With l_max = 0 nothing but SchNet's kind of message is left.

Paper: Batzner and others, Nat. Commun. 13, 2453 (2022) [batzner2022nequip].
Read in order: `Interaction` (its parts are in `f_layers.py`), `NequIP` (its five slots), `NativeForces`.
Differs from the paper: the frequencies of the Bessel functions are fixed. The slide calls forces a native
l = 1 output; the paper and the released code differentiate the energy, and so does `NequIP` in a `Potential`.
`NativeForces` is what the slide says; such forces are not the slope of an energy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import Neighbours, crystals_of, edge_vectors, sum_over_crystals
from mg9.f_irreps import SCALAR, Features, Irrep, natural, spherical_harmonics
from mg9.f_layers import (
    Convolution,
    ElementLinear,
    ElementRows,
    EquivariantLinear,
    Gate,
    RadialBasis,
    perceptron,
)

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class Interaction(nn.Module):
    """One round of messages: h' = Gate(W' sum_j m_ij / sqrt(n) + W_Z h) (slide 37) [batzner2022nequip].

    before, widths: features of each irrep of h and of h'; those that no path reaches are left out, the rest
    are `after`. mean_neighbors: n.
    """

    def __init__(
        self,
        before: Mapping[Irrep, int],
        widths: Mapping[Irrep, int],
        *,
        l_max: int,
        sizes: Sequence[int],
        mean_neighbors: float,
        elements: int,
    ) -> None:
        super().__init__()
        wanted = list({SCALAR: 0, **widths})  # scalars in any case: they are the gates
        self.convolution = Convolution(before, wanted, l_max=l_max, sizes=sizes)
        reached = self.convolution.after
        self.after = {irrep: width for irrep, width in widths.items() if irrep in reached}
        self.gate = Gate(self.after)
        self.into = EquivariantLinear(before, before)
        self.out_of = EquivariantLinear(reached, self.gate.before)
        self.keep = ElementLinear(before, self.gate.before, elements=elements)
        self.scale = mean_neighbors**-0.5

    def forward(
        self, h: Features, Y: Sequence[Tensor], basis: Tensor, around: Neighbours, element: Tensor
    ) -> dict[Irrep, Tensor]:
        change = self.out_of(self.convolution(self.into(h), Y, basis, around))
        kept = self.keep(h, element)
        return self.gate(
            {irrep: self.scale * x + kept.get(irrep, x.new_zeros(1)) for irrep, x in change.items()}
        )


class NequIP(nn.Module):
    """The network of slide 37; forward: a radius graph or a batch of them to (B,), extensive.

    features: of each irrep up to l_max, of both parities unless parity is False, which keeps the harmonics'
    own; cutoff in Å; mean_neighbors: of the training part, so that sums are of order one; elements: atomic
    numbers that have weights. Errors: `UnknownElement` for another one. [batzner2022nequip]
    """

    last = (SCALAR,)  # irreps that the last round makes

    def __init__(
        self,
        *,
        features: int = 32,
        l_max: int = 1,
        layers: int = 3,
        cutoff: float = 5.0,
        parity: bool = True,
        radial: int = 8,
        hidden: int = 64,
        mean_neighbors: float = 30.0,
        elements: Sequence[int] = range(1, N_ELEMENTS + 1),
    ) -> None:
        super().__init__()
        self.l_max, n = l_max, len(elements)
        self.rows = ElementRows(elements)
        self.basis = RadialBasis(cutoff=cutoff, functions=radial)
        self.atoms = nn.Embedding(n, features)
        kinds = [Irrep(degree, p) for degree in range(l_max + 1) for p in (1, -1)]
        widths = {ir: features for ir in kinds if parity or ir == natural(ir.l)}
        self.interactions, h = nn.ModuleList(), {SCALAR: features}
        for layer in range(layers):
            wanted = widths if layer < layers - 1 else {irrep: features for irrep in self.last}
            self.interactions.append(
                Interaction(
                    h,
                    wanted,
                    l_max=l_max,
                    sizes=(radial, hidden, hidden),
                    mean_neighbors=mean_neighbors,
                    elements=n,
                )
            )
            h = self.interactions[-1].after
        self.atomwise = perceptron(features, 1)

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)
        E_i = self.atomwise(self.features_of(graph)[SCALAR].squeeze(2)).squeeze(1)  # (N,)
        return sum_over_crystals(E_i, batch, n_crystals)  # slot 5, readout (B,)

    def features_of(self, graph: Data | Batch) -> dict[Irrep, Tensor]:
        """h after the last round, {irrep: (N, F, 2l + 1)}."""
        element = self.rows(graph.z)
        h = {SCALAR: self.atoms(element).unsqueeze(2)}  # slot 2, node features (N, F, 1)
        basis = self.basis(graph.distance)  # slots 1, the graph, and 3, edge features (E, K) and harmonics
        Y = spherical_harmonics(edge_vectors(graph), self.l_max)
        around = Neighbours(graph.edge_index, len(element))
        for interaction in self.interactions:
            h = interaction(h, Y, basis, around, element)  # slot 4, message and update
        return h


class NativeForces(NequIP):
    """Forces read from the l = 1 features, as slide 37 says; forward: a graph to (N, 3) in eV/Å.

    They turn with the crystal, but no energy stands behind them: around a closed path they do work. That is
    why NequIP, as published, does not do this (slides 35, 37) [batzner2022nequip].
    """

    last = (natural(1),)

    def __init__(self, *, features: int = 32, **kwargs) -> None:
        super().__init__(features=features, **kwargs)
        self.atomwise = EquivariantLinear({natural(1): features}, {natural(1): 1})

    def forward(self, graph: Data | Batch) -> Tensor:
        return self.atomwise(self.features_of(graph))[natural(1)].squeeze(1)
