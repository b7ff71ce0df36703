"""Graphormer: attention between all atoms of a cell, biased by the graph between them (slide 41).

    h_i  = x(Z_i) + x_in(deg_in(i)) + x_out(deg_out(i))               how many neighbours an atom has
    a_ij = softmax_j(q_i . k_j / sqrt(d) + b(hops(i, j)) + c_ij)      how far away j is, and along which bonds
    c_ij = mean over the n bonds of the shortest path from i to j of u_n . w_n
    h_i' = h_i + W sum_j a_ij V h_j,     then a layer for each atom

A transformer reads a set; all that it knows about the crystal stands in the three biases. One node more, the
token, attends to all atoms and is what the property is read from.

Paper: Ying and others, NeurIPS 34 (2021) [ying2021graphormer], "centrality", "spatial" and "edge encoding".
Read in order: `PathBias`, `BiasedAttention`, `Graphormer` (its five slots).
Differs from the paper: the paper is about molecules. Here a path leads through periodic images: hops are
counted on the quotient graph of the cell, whose edges are those of `crystal_graph`. Bonds are Gaussians of
their length, not types. Of several shortest paths the paper takes one; which one would depend on the
numbering of the atoms, so c_ij is the mean over all of them. An atom that is its own neighbour in another
image has a c_ii: without it, a cell of one atom would not see its lattice constant.
In a supercell a copy of an atom is another node, some hops away: another value for the same crystal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import crystals_of
from mg9.c_radial import GaussianBasis

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

MOST = 64  # neighbours that are told apart


class PathBias(nn.Module):
    """b(hops(i, j)) + c_ij for all pairs of each crystal (slide 41) [ying2021graphormer].

    hops: the longest path that counts; all longer ones, and no path at all, share one b and have no c.
    forward: u (E, K), ends (3, E) = [crystal, i, j], i and j counted in their crystal, B crystals of at most
    M atoms, to (B, M, M, H).
    """

    def __init__(self, *, heads: int, edge_features: int, hops: int) -> None:
        super().__init__()
        self.hops, self.heads = hops, heads
        self.by_hops = nn.Embedding(hops + 2, heads)
        self.by_bond = nn.Linear(edge_features, hops * heads, bias=False)

    def forward(self, u: Tensor, ends: Tensor, B: int, M: int) -> Tensor:
        where = tuple(ends)
        bonds = self.by_bond(u)  # (E, hops H): u . w_n for each place n of a path
        A = u.new_zeros(B, M, M).index_put(where, u.new_ones(len(u)), accumulate=True)  # edges from j to i
        X = u.new_zeros(B, M, M, bonds.size(1)).index_put(where, bonds, accumulate=True)
        X = X.unflatten(3, (self.hops, self.heads))
        hops = self.count(A)
        walks, total = A, X[:, :, :, 0]  # of n steps from i to j: how many, and the sum of their bonds
        c = torch.zeros_like(total)
        for n in range(1, self.hops + 1):
            mean = total / (n * walks.clamp(min=1)).unsqueeze(
                3
            )  # every walk of n = hops(i, j) is a shortest path
            shortest = hops == n if n > 1 else hops <= 1  # an atom's bonds to its own images
            c = torch.where(shortest.unsqueeze(3), mean, c)
            if n < self.hops:
                total = torch.einsum("bikh,bkj->bijh", total, A) + torch.einsum(
                    "bik,bkjh->bijh", walks, X[:, :, :, n]
                )
                walks = walks @ A
        return self.by_hops(hops) + c

    def count(self, A: Tensor) -> Tensor:
        """Bonds on the shortest path from i to j, (B, M, M), hops + 1 where there is none that short."""
        reached = torch.eye(A.size(1), device=A.device).expand_as(A).bool()
        hops = torch.where(reached, 0, self.hops + 1)
        bonded = (A > 0).float()
        for n in range(1, self.hops + 1):
            further = (reached.float() @ bonded > 0) & ~reached
            hops, reached = hops.masked_fill(further, n), reached | further
        return hops


class BiasedAttention(nn.Module):
    """Self-attention with a bias for each pair, then a layer for each node (slide 41) [ying2021graphormer].

    forward: h (B, M, F), bias (B, H, M, M), -inf where j is no node, to (B, M, F).
    """

    def __init__(self, *, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(features)
        self.query, self.key, self.value = (nn.Linear(features, features) for _ in range(3))
        self.join = nn.Linear(features, features)
        self.nodewise = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, features), nn.GELU(), nn.Linear(features, features)
        )

    def weights(self, h: Tensor, bias: Tensor) -> Tensor:
        """a_ij (B, H, M, M); the rows of a node sum to one."""
        h = self.norm(h)
        q, k = self.split(self.query(h)), self.split(self.key(h))
        return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.size(3)) + bias, dim=3)

    def split(self, h: Tensor) -> Tensor:
        """(B, M, F) as (B, H, M, F / H)."""
        return h.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, h: Tensor, bias: Tensor) -> Tensor:
        value = self.split(self.value(self.norm(h)))
        message = self.weights(h, bias) @ value  # (B, H, M, F / H)
        h = h + self.join(message.transpose(1, 2).flatten(2))
        return h + self.nodewise(h)


class Graphormer(nn.Module):
    """The network of slide 41; forward: a `crystal_graph` or a batch of them to (B,), intensive.

    hops: bonds of the longest path that is told apart; cutoff: where the radial basis ends, in Å.
    [ying2021graphormer]
    """

    def __init__(
        self, *, features: int = 64, layers: int = 3, heads: int = 4, hops: int = 4, cutoff: float = 8.0
    ) -> None:
        super().__init__()
        self.atoms = nn.Embedding(N_ELEMENTS + 1, features)
        self.degree_in, self.degree_out = (nn.Embedding(MOST, features) for _ in range(2))
        self.token, self.token_bias = nn.Parameter(torch.randn(features)), nn.Parameter(torch.zeros(heads))
        self.basis = GaussianBasis(cutoff=cutoff)
        self.bias = PathBias(heads=heads, edge_features=len(self.basis.mu), hops=hops)
        self.layers = nn.ModuleList(BiasedAttention(features=features, heads=heads) for _ in range(layers))
        self.head = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, 1))

    def forward(self, graph: Data | Batch) -> Tensor:
        h, bias = self.prepared(graph)  # slots 1 to 3: graph, node features and edge features
        for layer in self.layers:  # slot 4, message and update
            h = layer(h, bias)
        return self.head(h[:, 0]).squeeze(-1)  # slot 5, readout (B,): the token

    def prepared(self, graph: Data | Batch) -> tuple[Tensor, Tensor]:
        """h (B, 1 + M, F), the token first, and the bias (B, H, 1 + M, 1 + M) of every pair."""
        (batch, B), (j, i) = crystals_of(graph), graph.edge_index  # slot 1, the graph: a_crystal.py
        count = torch.bincount(batch, minlength=B)
        M, place = int(count.max()), torch.arange(len(batch), device=batch.device)
        place = place - (count.cumsum(0) - count)[batch]  # of an atom in its crystal
        degree_in, degree_out = (torch.bincount(k, minlength=len(batch)).clamp(max=MOST - 1) for k in (i, j))
        v = self.atoms(graph.z) + self.degree_in(degree_in) + self.degree_out(degree_out)  # slot 2, (N, F)
        u = self.basis(graph.distance)  # slot 3, edge features (E, K)
        ends = torch.stack([batch[i], place[i], place[j]])
        h = self.token.repeat(B, 1 + M, 1).index_put((batch, 1 + place), v)
        pairs = self.bias(u, ends, B, M).permute(0, 3, 1, 2)
        bias = self.token_bias.view(1, -1, 1, 1).repeat(B, 1, 1 + M, 1 + M)
        bias[:, :, 1:, 1:] = pairs
        there = torch.arange(1 + M, device=batch.device) <= count.unsqueeze(1)  # (B, 1 + M)
        return h, bias.masked_fill(~there[:, None, None, :], -torch.inf)

    def attention(self, graph: Data | Batch) -> list[Tensor]:
        """a_ij of each layer, (B, H, 1 + M, 1 + M), the token first: what a map of attention shows."""
        (h, bias), found = self.prepared(graph), []
        for layer in self.layers:
            found.append(layer.weights(h, bias))
            h = layer(h, bias)
        return found
