"""Allegro: equivariant and strictly local, with features of ordered pairs in place of messages (slide 38).

    x_ij = MLP(Z_i, Z_j, r_ij) f_cut(r_ij),   V_ij = (W x_ij) Y(r_ij)          how it starts: scalars, tensors
    G_i  = sum_k (W x_ik) Y(r_ik) / sqrt(n)                                    what stands around i
    V_ij' = W (V_ij ⊗ G_i)
    x_ij' = (x_ij + MLP(x_ij, scalars of V_ij ⊗ G_i) f_cut(r_ij)) / sqrt(2)
    E_i  = sum_j MLP(x_ij) f_cut(r_ij) / sqrt(n)

All of it belongs to pairs with the same centre i, so nothing beyond the cutoff of i ever reaches E_i, however
many layers there are. After T rounds of messages the reach is T times the cutoff; here a crystal can be cut
into pieces, with a shell of one cutoff around each, and put together again on as many machines.

Paper: Musaelian and others, Nat. Commun. 14, 579 (2023) [musaelian2023allegro].
Read in order: `Layer`, `Allegro` (its five slots).
Differs from the paper: one width for all perceptrons, and old and new scalars count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import Neighbours, crystals_of, edge_vectors, sum_over_crystals
from mg9.f_irreps import (
    SCALAR,
    Features,
    Irrep,
    natural,
    spherical_harmonics,
    tensor_product,
)
from mg9.f_layers import ElementRows, EquivariantLinear, RadialBasis, paths, perceptron

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class Layer(nn.Module):
    """V_ij ⊗ G_i and what it does to the scalars (slide 38) [musaelian2023allegro].

    before: the irreps of V; wanted: those to make. forward: x (E, S), V {irrep: (E, F, 2l + 1)}, Y a list
    over l of (E, 2l + 1), around the pairs of each atom, envelope (E, 1); to x and V.
    """

    def __init__(
        self,
        before: Sequence[Irrep],
        wanted: Sequence[Irrep],
        *,
        features: int,
        scalars: int,
        l_max: int,
        mean_neighbors: float,
    ) -> None:
        super().__init__()
        self.features, self.scale = features, mean_neighbors**-0.5
        self.paths = paths(before, wanted, l_max)
        made = {to: 0 for _, _, to in self.paths}
        for _, _, to in self.paths:
            made[to] += features
        self.around = perceptron(scalars, (l_max + 1) * features)
        self.mix = EquivariantLinear(made, {to: features for to in made})
        self.update = perceptron(scalars + made[SCALAR], scalars, scalars)
        self.after = list(made)

    def forward(
        self, x: Tensor, V: Features, Y: Sequence[Tensor], around: Neighbours, envelope: Tensor
    ) -> tuple[Tensor, dict[Irrep, Tensor]]:
        G_ij = []  # G_i of each pair, (E, F, 2l + 1) for each l
        for weight, y in zip(self.around(x).split(self.features, dim=1), Y, strict=True):
            G_i = self.scale * around.sum_of_products(weight, y)  # (N, F, 2l + 1)
            G_ij.append(G_i.index_select(0, around.i))
        made: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.after}
        for v, y, to in self.paths:
            made[to].append(tensor_product(V[v], G_ij[y.l], v.l, y.l, to.l))
        V = {irrep: torch.cat(parts, dim=1) for irrep, parts in made.items()}
        new = self.update(torch.cat([x, V[SCALAR].squeeze(2)], dim=1))
        return (x + new * envelope) * 0.5**0.5, self.mix(V)


class Allegro(nn.Module):
    """The strictly local network of slide 38; forward: a radius graph or a batch to (B,), extensive.

    features: of each irrep up to l_max, of both parities unless parity is False; scalars: of a pair; cutoff
    in Å; mean_neighbors: of the training part; elements: atomic numbers that have weights. Errors:
    `UnknownElement` for another one. [musaelian2023allegro]
    """

    def __init__(
        self,
        *,
        features: int = 32,
        scalars: int = 64,
        l_max: int = 1,
        layers: int = 2,
        cutoff: float = 5.0,
        parity: bool = True,
        radial: int = 8,
        mean_neighbors: float = 30.0,
        elements: Sequence[int] = range(1, N_ELEMENTS + 1),
    ) -> None:
        super().__init__()
        self.l_max, self.scale = l_max, mean_neighbors**-0.5
        self.rows = ElementRows(elements)
        self.basis = RadialBasis(cutoff=cutoff, functions=radial)
        self.atoms = nn.Embedding(len(elements), scalars // 4)
        self.pairs = perceptron(2 * (scalars // 4) + radial, scalars, scalars)
        self.directions = perceptron(scalars, (l_max + 1) * features)
        V = [natural(degree) for degree in range(l_max + 1)]
        kinds = [Irrep(degree, p) for degree in range(l_max + 1) for p in (1, -1)]
        widths = [irrep for irrep in kinds if parity or irrep == natural(irrep.l)]
        self.layers = nn.ModuleList()
        for layer in range(layers):
            self.layers.append(
                Layer(
                    V,
                    widths if layer < layers - 1 else [SCALAR],
                    features=features,
                    scalars=scalars,
                    l_max=l_max,
                    mean_neighbors=mean_neighbors,
                )
            )
            V = self.layers[-1].after
        self.pairwise = perceptron(scalars, scalars // 2, 1)

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)
        return sum_over_crystals(self.atom_energies(graph), batch, n_crystals)  # slot 5, readout (B,)

    def atom_energies(self, graph: Data | Batch) -> Tensor:
        """E_i (N,): each a function of the neighbours of i within the cutoff, and of nothing else."""
        (j, i), r = graph.edge_index, graph.distance  # slot 1, the graph: built by a_crystal.py
        N, z = len(graph.z), self.atoms(self.rows(graph.z))  # slot 2, node features (N, S / 4)
        envelope = self.basis.envelope(r).unsqueeze(1)
        pair = [z.index_select(0, i), z.index_select(0, j), self.basis(r)]
        x = self.pairs(torch.cat(pair, dim=1)) * envelope  # slot 3, edge features (E, S), and harmonics
        Y = spherical_harmonics(edge_vectors(graph), self.l_max)
        weights = self.directions(x).unsqueeze(2).chunk(self.l_max + 1, dim=1)
        V: Mapping[Irrep, Tensor] = {
            natural(degree): w * y.unsqueeze(1) for degree, (w, y) in enumerate(zip(weights, Y, strict=True))
        }
        around = Neighbours(graph.edge_index, N)
        for layer in self.layers:  # slot 4, in place of messages
            x, V = layer(x, V, Y, around, envelope)
        E_ij = (self.pairwise(x) * envelope).squeeze(1)
        return self.scale * E_ij.new_zeros(N).index_add(0, i, E_ij)
