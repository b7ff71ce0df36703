"""Attention on crystals: all pairs inside the cell, and Matformer on the periodic graph (slide 41).

    a_ij = softmax_j(q_i . k_j / sqrt(d) + w . u_ij)                   the slide: j runs over the whole cell
    v_i' = v_i + W sum_j a_ij V v_j
    gate_ij = sigmoid(Norm([q_i || q_i || q_i] * [k_i || k_j || e_ij] / sqrt(3F)))       the paper: over the
    v_i' = W_s v_i + silu(Norm(W sum_j W_m (gate_ij * W_u [w_i || w_j || e_ij])))        neighbours of i

They are two networks. The slide says that each atom attends to all others inside the cell. The published
Matformer does not: it gates the messages of 12 neighbours in all images, a channel at a time, and adds six
edges from each atom to its own images, so that it sees how the crystal repeats.

Paper: Yan, Liu, Lin and Ji, NeurIPS 35 (2022) [yan2022matformer].
Read in order: `CellAttention`, `CellTransformer` (the slide's); `MatformerConvolution`, `Matformer` (the
paper's, with its five slots), `NeighbourMatformer` (without the edges to its own images).
What attention costs: the rows of a softmax sum to one, so a crystal of equal atoms looks alike to
`CellTransformer` at every lattice constant, and in a supercell an atom attends to its own copies: another
value for the same crystal. The lengths of the lattice vectors are `Matformer`'s own edges: another choice of
cell has another value. `contract.py` says so, and `tests/test_matformer.py` shows it.
Differs from the paper: 64 features, 3 layers and 2 heads in place of 128, 5 and 4; the six edges are there
also where a neighbour's edge has the same ends. `CellTransformer` is the slide's network, not the paper's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from mg9.a_crystal import lattice_edges
from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import crystals_of, sum_over_crystals
from mg9.c_radial import GaussianBasis
from mg9.d_atoms import TableAtoms
from mg9.d_readout import MeanReadout

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def softmax_over_neighbours(score: Tensor, i: Tensor, N: int) -> Tensor:
    """exp(score) over its sum among the edges of the same centre i (slide 41): score (E, H) to (E, H)."""
    centre = i.unsqueeze(1).expand_as(score)
    largest = score.new_full((N, score.size(1)), -torch.inf).scatter_reduce(0, centre, score, "amax")
    weight = torch.exp(score - largest.detach()[i])  # in (0, 1]: exp cannot overflow
    total = score.new_zeros(N, score.size(1)).index_add(0, i, weight)
    return weight / total[i]


class CellAttention(nn.Module):
    """Self-attention over the edges of a graph, then a layer for each atom (slide 41).

    Distances enter the scores only: u (E, K) is the position encoding of a transformer, made periodic.
    forward: v (N, F), u (E, K), edge_index (2, E) = [j, i] to (N, F).
    """

    def __init__(self, *, features: int, edge_features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(features)
        self.query, self.key, self.value = (nn.Linear(features, features) for _ in range(3))
        self.position = nn.Linear(edge_features, heads, bias=False)
        self.join = nn.Linear(features, features)
        self.atomwise = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, 2 * features),
            nn.SiLU(),
            nn.Linear(2 * features, features),
        )

    def weights(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        """a_ij for each edge and head, (E, H); those of an atom sum to one."""
        N, F = v.shape
        j, i = edge_index
        v = self.norm(v)
        q, k = (part(v).view(N, self.heads, -1) for part in (self.query, self.key))  # (N, H, F / H)
        score = (q.index_select(0, i) * k.index_select(0, j)).sum(dim=2) / math.sqrt(F // self.heads)
        return softmax_over_neighbours(score + self.position(u), i, N)

    def forward(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        N, F = v.shape
        j, i = edge_index
        value = self.value(self.norm(v)).view(N, self.heads, -1)
        message = self.weights(v, u, edge_index).unsqueeze(2) * value.index_select(0, j)  # (E, H, F / H)
        v = v + self.join(v.new_zeros(N, F).index_add(0, i, message.flatten(1)))
        return v + self.atomwise(v)


class CellTransformer(nn.Module):
    """The slide's all-pairs attention; forward: a `cell_graph` or a batch of them to (B,), intensive (slide
    41).

    reach: where the distance encoding ends, in Å; beyond it atoms attend by their features alone.
    """

    def __init__(self, *, features: int = 64, layers: int = 3, heads: int = 4, reach: float = 12.0) -> None:
        super().__init__()
        self.atoms = nn.Embedding(N_ELEMENTS + 1, features)
        self.basis = GaussianBasis(cutoff=reach)
        width = len(self.basis.mu)
        self.layers = nn.ModuleList(
            CellAttention(features=features, edge_features=width, heads=heads) for _ in range(layers)
        )
        self.readout = MeanReadout(features=features)

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)  # slot 1, the graph: `cell_graph` of a_crystal.py
        v = self.atoms(graph.z)  # slot 2, node features (N, F)
        u = self.basis(graph.distance)  # slot 3, edge features (E, K)
        for layer in self.layers:  # slot 4, message and update
            v = layer(v, u, graph.edge_index)
        return self.readout(v, batch, n_crystals)  # slot 5, readout (B,)

    def attention(self, graph: Data | Batch) -> list[Tensor]:
        """a_ij of each layer, (E, H), for the edges of the graph: what a map of attention shows."""
        v, u, found = self.atoms(graph.z), self.basis(graph.distance), []
        for layer in self.layers:
            found.append(layer.weights(v, u, graph.edge_index))
            v = layer(v, u, graph.edge_index)
        return found


class MatformerConvolution(nn.Module):
    """The published layer: gates from queries and keys, no softmax (slide 41) [yan2022matformer].

    A softmax could not tell 12 equal neighbours from 6; a sum of gated messages can. Each head has all F
    features. forward: v (N, F), e (E, F), edge_index (2, E) = [j, i] to (N, F).
    """

    def __init__(self, *, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(features, heads * features) for _ in range(3))
        self.edge = nn.Linear(features, heads * features, bias=False)
        self.gate_norm, self.content = nn.LayerNorm(3 * features), nn.Linear(3 * features, 3 * features)
        self.message = nn.Sequential(nn.Linear(3 * features, features), nn.LayerNorm(features))
        self.join, self.norm = nn.Linear(heads * features, features), nn.BatchNorm1d(features)
        self.skip = nn.Linear(features, features)

    def gates(self, v: Tensor, e: Tensor, edge_index: Tensor) -> Tensor:
        """gate_ij in 0 to 1 for each edge, head and channel, (E, H, 3F); they sum to nothing."""
        N, F = v.shape
        j, i = edge_index
        q, k = self.query(v).view(N, -1, F), self.key(v).view(N, -1, F)
        k_ij = torch.cat([k[i], k[j], self.edge(e).view(len(e), -1, F)], dim=2)
        return torch.sigmoid(self.gate_norm(q[i].repeat(1, 1, 3) * k_ij / math.sqrt(3 * F)))

    def forward(self, v: Tensor, e: Tensor, edge_index: Tensor) -> Tensor:
        N, F = v.shape
        j, i = edge_index
        value = self.value(v).view(N, -1, F)
        content = self.content(torch.cat([value[i], value[j], self.edge(e).view(len(e), -1, F)], dim=2))
        message = self.message(self.gates(v, e, edge_index) * content)  # (E, H, F)
        summed = v.new_zeros(N, self.heads, F).index_add(0, i, message)
        return self.skip(v) + silu(self.norm(self.join(summed.flatten(1))))


class Matformer(nn.Module):
    """The published network; forward: a `crystal_graph` or a batch of them to (B,), intensive (slide 41)
    [yan2022matformer].

    cutoff: where the radial basis ends, in Å; a lattice vector much longer than that is not seen.
    """

    def __init__(self, *, features: int = 64, layers: int = 3, heads: int = 2, cutoff: float = 8.0) -> None:
        super().__init__()
        self.atoms = nn.Sequential(TableAtoms(), nn.Linear(TableAtoms.width, features))
        self.basis = GaussianBasis(cutoff=cutoff, centers=128, beta=127 / cutoff)
        self.bonds = nn.Sequential(nn.Linear(128, features), nn.Softplus(), nn.Linear(features, features))
        self.convolutions = nn.ModuleList(
            MatformerConvolution(features=features, heads=heads) for _ in range(layers)
        )
        self.head = nn.Sequential(nn.Linear(features, features), nn.SiLU(), nn.Linear(features, 1))

    def edges(self, graph: Data | Batch) -> tuple[Tensor, Tensor]:
        """edge_index (2, E + 6N) and distance (E + 6N,) in Å: neighbours, and images of the atom itself."""
        edge_index, distance = lattice_edges(graph)
        return torch.cat([graph.edge_index, edge_index], dim=1), torch.cat([graph.distance, distance])

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)
        edge_index, distance = self.edges(graph)  # slot 1, the graph
        v = self.atoms(graph.z)  # slot 2, node features (N, F)
        e = self.bonds(self.basis(distance))  # slot 3, edge features (E, F)
        for convolution in self.convolutions:  # slot 4, message and update
            v = convolution(v, e, edge_index)
        mean = sum_over_crystals(v, batch, n_crystals) / torch.bincount(batch, minlength=n_crystals)[:, None]
        return self.head(mean).squeeze(-1)  # slot 5, readout (B,)


class NeighbourMatformer(Matformer):
    """Matformer without the edges along the lattice: every choice of cell has the same value (slide 41)."""

    def edges(self, graph: Data | Batch) -> tuple[Tensor, Tensor]:
        return graph.edge_index, graph.distance
