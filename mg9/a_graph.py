"""What is done with a graph once it is built (slides 11, 22): the vectors of its edges, batches, sums over
crystals.

Read in order: `edge_vectors`, `bonds_of`, `Neighbours`, `batch_graphs`, `crystals_of`, `sum_over_crystals`.
Graphs are built in `a_crystal.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mg9.a_errors import EmptyList

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def edge_vectors(graph: Data | Batch) -> Tensor:
    """r_ij = pos[j] + shift @ cell - pos[i] for each edge, (E, 3) in Å, from the centre i to the neighbour
    j (slide 11).

    Differentiable in `graph.pos` and `graph.cell`. Works on one graph and on a batch.
    """
    j, i = graph.edge_index
    batch = getattr(graph, "batch", None)
    crystal = torch.zeros_like(i) if batch is None else batch[i]
    return graph.pos[j] + torch.einsum("ec,ecd->ed", graph.shift, graph.cell[crystal]) - graph.pos[i]


def bonds_of(graph: Data | Batch) -> tuple[Tensor, Tensor]:
    """One edge of each bond (P,), and the bond of each edge (E,): i to j and j to i are one bond (slide 11).

    What depends on a length alone is so computed once for both ways. In a graph of whole shells an edge may
    lack its way back; it is then a bond of its own.
    """
    j, i = graph.edge_index
    shift = graph.shift.long()
    S = 2 * int(shift.abs().max()) + 1 if len(shift) else 1
    image = shift @ shift.new_tensor([S * S, S, 1])  # a number for each cell; the way back has minus that
    back = (i > j) | ((i == j) & (image < 0))
    ends = torch.minimum(i, j) * len(graph.z) + torch.maximum(i, j)
    _, bond = torch.unique(ends * S**3 + torch.where(back, -image, image), return_inverse=True)
    count = int(bond.max()) + 1 if len(bond) else 0
    return torch.empty_like(bond[:count]).scatter_(0, bond, torch.arange(len(i), device=i.device)), bond


class Neighbours:
    """The edges of each atom in a row of their own, all rows as long as the longest (slide 11).

    edge_index (2, E) = [j, i]; N atoms, M the most neighbours of one.
    """

    def __init__(self, edge_index: Tensor, N: int) -> None:
        self.j, self.i = j, i = edge_index
        count = torch.bincount(i, minlength=N)
        order = torch.argsort(i, stable=True)
        within = torch.arange(len(i), device=i.device) - (count.cumsum(0) - count)[i[order]]
        self.N, self.M = N, int(count.max()) if N else 0
        self.place = torch.empty_like(i).index_copy(0, order, i[order] * self.M + within)

    def rows(self, x: Tensor) -> Tensor:
        """x (E, K) as (N, M, K), zero where an atom has fewer neighbours."""
        return x.new_zeros(self.N * self.M, x.size(1)).index_copy(0, self.place, x).view(self.N, self.M, -1)

    def sum_of_products(self, x: Tensor, y: Tensor) -> Tensor:
        """sum_j x_ij y_ij, each x with each y: of (E, K) and (E, L), (N, K, L)."""
        return self.rows(x).transpose(1, 2) @ self.rows(y)


def batch_graphs(graphs: Sequence[Data]) -> Batch:
    """Several graphs as one disconnected graph with `batch` (N,), the number of the crystal of each atom
    (slide 11).

    Errors: `EmptyList`.
    """
    from torch_geometric.data import Batch

    if len(graphs) == 0:
        raise EmptyList("no graphs to batch; give at least one")
    return Batch.from_data_list(list(graphs))


def crystals_of(graph: Data | Batch) -> tuple[Tensor, int]:
    """batch (N,) and the number of crystals B; one graph is a batch of one (slide 11)."""
    batch = getattr(graph, "batch", None)
    if batch is None:
        return torch.zeros_like(graph.z), 1
    return batch, int(graph.num_graphs)


def sum_over_crystals(values: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
    """Sum of values (N, ...) over the atoms of each crystal, (B, ...) (slide 22)."""
    return values.new_zeros(n_crystals, *values.shape[1:]).index_add(0, batch, values)
