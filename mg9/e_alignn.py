"""ALIGNN: convolutions that alternate between a graph and its line graph (slides 28, 29).

    e_ij = A v_j + B v_i + C u_ij,      gate_ij = sigmoid(e_ij) / sum_j sigmoid(e_ij)
    v_i' = v_i + silu(Norm(W v_i + sum_j gate_ij * (V v_j)))
    u_ij' = u_ij + silu(Norm(e_ij))

The same layer serves both graphs. On G the nodes are atoms and the edges bonds; on L(G) the nodes are bonds
and the edges angles. Bonds are edges of the one and nodes of the other: so angles reach atoms.

Paper: Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021) [choudhary2021alignn], "edge-gated graph
convolution" and "ALIGNN update".
Read in order: `GatedSum`, `EdgeGatedConvolution`, `LineGraphConvolution`, `ALIGNN` (its five slots).
Differs from the paper: layer normalisation in place of batch normalisation, as in the authors' present code,
so that a crystal's prediction does not depend on its batch; 2 + 2 layers of 64 features in place of 4 + 4 of
256; atoms are learned rows, not the 92-dim table. Its graph of 12 neighbours serves properties, never forces.
A blind spot: the gates of a node sum to one, so they only weigh its messages against each other. Where all
bonds of an atom are alike, as in H2O, no angle between them is seen; where all atoms are alike, as in copper,
not even a distance is: the stretched crystal has the same value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import crystals_of, edge_vectors, sum_over_crystals
from mg9.c_radial import GaussianBasis
from mg9.e_angles import cosine, line_graph

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class GatedSum(nn.Module):
    """v_i' = v_i + silu(Norm(W v_i + sum_j gate_ij * (V v_j))), the half of the layer that ends at the nodes
    (slide 28) [choudhary2021alignn].

    The gates of an atom's edges sum to one. forward: v (N, F), u (E, F), edge_index (2, E) to v', e (E, F).
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.gate_j, self.gate_i, self.gate_u = (nn.Linear(features, features) for _ in range(3))
        self.own, self.message = nn.Linear(features, features), nn.Linear(features, features)
        self.node_norm = nn.LayerNorm(features)

    def forward(self, v: Tensor, u: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        j, i = edge_index
        e = u @ self.gate_u.weight.T  # (E, F); all else per node, and sums in place: edges are many
        e += self.gate_j(v).index_select(0, j)
        e += (self.gate_i(v) + self.gate_u.bias).index_select(0, i)
        gate = torch.sigmoid(e)
        summed = torch.zeros_like(v).index_add(0, i, gate * self.message(v).index_select(0, j))
        total = torch.zeros_like(v).index_add(0, i, gate)
        return v + silu(self.node_norm(self.own(v) + summed / (total + 1e-6))), e


class EdgeGatedConvolution(GatedSum):
    """`GatedSum`, then u_ij' = u_ij + silu(Norm(e_ij)) (slide 28) [choudhary2021alignn].

    forward: v (N, F), u (E, F), edge_index (2, E) to v', u'.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__(features=features)
        self.edge_norm = nn.LayerNorm(features)

    def forward(self, v: Tensor, u: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        v, e = super().forward(v, u, edge_index)
        return v, u + silu(self.edge_norm(e))


class LineGraphConvolution(nn.Module):
    """One convolution on G, then one on L(G) with the bonds that the first has made (slide 28)
    [choudhary2021alignn].

    forward: v (N, F), u (E, F), t (T, F), edge_index (2, E), lines (2, T) to v', u', t'.
    """

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.on_atoms = EdgeGatedConvolution(features=features)
        self.on_bonds = EdgeGatedConvolution(features=features)

    def forward(
        self, v: Tensor, u: Tensor, t: Tensor, edge_index: Tensor, lines: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        v, u = self.on_atoms(v, u, edge_index)
        u, t = self.on_bonds(u, t, lines)
        return v, u, t


class ALIGNN(nn.Module):
    """The network of slides 28 and 29; forward: a graph or a batch of graphs to (B,), intensive.

    line_layers: pairs of convolutions on G and on L(G); layers: convolutions on G alone, after them.
    cutoff: where the radial basis ends, in Å; the graph is `crystal_graph` within it. [choudhary2021alignn]
    """

    def __init__(
        self, *, features: int = 64, line_layers: int = 2, layers: int = 2, cutoff: float = 8.0
    ) -> None:
        super().__init__()
        self.atoms = nn.Embedding(N_ELEMENTS, features)
        self.basis = GaussianBasis(cutoff=cutoff, centers=80, beta=79 / cutoff)
        self.bonds = nn.Sequential(*_layer(80, features), *_layer(features, features))
        self.angle_basis = GaussianBasis(cutoff=2.0, centers=40, beta=39 / 2.0)
        self.angles = nn.Sequential(*_layer(40, features), *_layer(features, features))
        self.line_convolutions = nn.ModuleList(
            LineGraphConvolution(features=features) for _ in range(line_layers)
        )
        self.convolutions = nn.ModuleList(EdgeGatedConvolution(features=features) for _ in range(layers))
        if line_layers and layers:  # what would change after these could not reach the readout
            self.line_convolutions[-1].on_bonds = GatedSum(features=features)
            self.convolutions[-1] = GatedSum(features=features)
        self.head = nn.Linear(features, 1)

    def forward(self, graph: Data | Batch) -> Tensor:
        (batch, B), edge_index = crystals_of(graph), graph.edge_index  # slot 1, the graph
        lines = line_graph(edge_index)  # (2, T), and its line graph
        v = self.atoms(graph.z - 1)  # slot 2, node features (N, F)
        u = self.bonds(self.basis(graph.distance))  # slot 3, edge features (E, F)
        t = self.angles(self.angle_basis(1.0 + self.cosines(graph, lines)))  # (T, F)
        for convolution in self.line_convolutions:  # slot 4, message and update
            v, u, t = convolution(v, u, t, edge_index, lines)
        for convolution in self.convolutions:
            v, u = convolution(v, u, edge_index)
        mean = sum_over_crystals(v, batch, B) / torch.bincount(batch, minlength=B)[:, None]
        return self.head(mean).squeeze(-1)  # slot 5, readout (B,)

    @staticmethod
    def cosines(graph: Data | Batch, lines: Tensor) -> Tensor:
        """Cosine of the angle at the shared atom j, between the way to k and the way to i (T,)."""
        r = edge_vectors(graph)
        return cosine(r.index_select(0, lines[0]), -r.index_select(0, lines[1]))


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU()]
