"""CGCNN, message passing on crystal graphs (slides 19 to 25).

    z_ij = [v_i || v_j || u_ij]
    v_i' = v_i + sum_{j in N(i)} sigmoid(W_z z_ij + b_z) * g(W_s z_ij + b_s),     g = softplus

The gate decides, for each channel of each edge, how much of the content passes.

Paper: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018) [xie2018cgcnn], Eq. 5.
Read in order: `GatedConvolution` (slide 21), `CGCNN` (its five slots: graph, node features, edge features,
message and update, readout), then what was released: `NormalizedGatedConvolution` and `ReleasedCGCNN`.
Differs from the paper: the slide and the paper's Eq. 5 show neither batch normalisation nor an outer
softplus; the released code has both. `CGCNN` is the equation, `ReleasedCGCNN` is the code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import crystals_of, sum_over_crystals
from mg9.c_radial import GaussianBasis
from mg9.d_atoms import TableAtoms
from mg9.d_readout import MeanReadout

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class GatedConvolution(nn.Module):
    """v_i' = v_i + sum_j sigmoid(W_z z_ij + b_z) * softplus(W_s z_ij + b_s) (slide 21).

    [xie2018cgcnn, Eq. 5]. forward: v (N, F), u (E, K), edge_index (2, E) = [j, i] to (N, F).
    """

    def __init__(self, *, features: int, edge_features: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * features + edge_features, features)
        self.content = nn.Linear(2 * features + edge_features, features)

    def forward_as_on_slide(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        """The equation as it is printed: concatenate, then multiply by one long matrix for every edge."""
        j, i = edge_index
        z_ij = torch.cat([v[i], v[j], u], dim=1)  # (E, 2F + K)
        message = torch.sigmoid(self.gate(z_ij)) * softplus(self.content(z_ij))  # (E, F)
        return v + torch.zeros_like(v).index_add(0, i, message)

    def forward(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        """The same sum: W z_ij = W_i v_i + W_j v_j + W_u u_ij, where the first two products are taken once
        per atom."""
        gate, content = self.gate_and_content(v, u, edge_index).chunk(2, dim=1)
        message = torch.sigmoid(gate) * softplus(content)  # (E, F)
        return v + torch.zeros_like(v).index_add(0, edge_index[1], message)

    def gate_and_content(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        """[W_z z_ij + b_z || W_s z_ij + b_s] for each edge, (E, 2F)."""
        F, K = v.size(1), u.size(1)
        j, i = edge_index
        weight = torch.cat([self.gate.weight, self.content.weight])  # (2F, 2F + K)
        bias = torch.cat([self.gate.bias, self.content.bias])  # (2F,)
        W_i, W_j, W_u = weight.split([F, F, K], dim=1)
        from_i = torch.addmm(bias, v, W_i.T).index_select(0, i)  # (E, 2F)
        from_j = (v @ W_j.T).index_select(0, j)
        return torch.addmm(from_i + from_j, u, W_u.T)


class CGCNN(nn.Module):
    """The network of slides 19 to 23 with the slide's equation; forward: a graph or a batch of graphs to
    (B,).

    atoms: a module of `d_atoms.py`, the 92-dim table by default; readout: one of `d_readout.py`, mean by
    default, which is right for intensive properties. [xie2018cgcnn, Eq. 5]
    """

    def __init__(
        self,
        *,
        features: int = 64,
        layers: int = 3,
        cutoff: float = 8.0,
        atoms: nn.Module | None = None,
        readout: nn.Module | None = None,
    ) -> None:
        super().__init__()
        atoms = atoms or TableAtoms()
        self.atoms = nn.Sequential(atoms, _variance_one(nn.Linear(atoms.width, features), atoms))
        self.basis = GaussianBasis(cutoff=cutoff)
        width = len(self.basis.mu)
        self.convolutions = nn.ModuleList(
            GatedConvolution(features=features, edge_features=width) for _ in range(layers)
        )
        self.readout = readout or MeanReadout(features=features)

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)  # slot 1, the graph: built by a_crystal.py
        v = self.atoms(graph.z)  # slot 2, node features (N, F)
        u = self.basis(graph.distance)  # slot 3, edge features (E, K)
        for convolution in self.convolutions:  # slot 4, message and update
            v = convolution(v, u, graph.edge_index)
        return self.readout(v, batch, n_crystals)  # slot 5, readout (B,)


class NormalizedGatedConvolution(GatedConvolution):
    """The released layer: batch normalisation of [gate || content] over the edges and of the sum over the
    atoms, and
    a softplus around the whole (slide 21; not in the paper's Eq. 5) [xie2018cgcnn]."""

    def __init__(self, *, features: int, edge_features: int) -> None:
        super().__init__(features=features, edge_features=edge_features)
        self.edge_norm = nn.BatchNorm1d(2 * features)
        self.atom_norm = nn.BatchNorm1d(features)

    def forward(self, v: Tensor, u: Tensor, edge_index: Tensor) -> Tensor:
        gate, content = self.edge_norm(self.gate_and_content(v, u, edge_index)).chunk(2, dim=1)
        message = torch.sigmoid(gate) * softplus(content)  # (E, F)
        summed = torch.zeros_like(v).index_add(0, edge_index[1], message)
        return softplus(v + self.atom_norm(summed))


class ReleasedCGCNN(nn.Module):
    """The network as released: 92-dim atom table, normalised layers, mean of atom features, then the MLP
    (slides 21
    to 23) [xie2018cgcnn]. forward: a graph or a batch of graphs to (B,)."""

    def __init__(
        self, *, features: int = 64, layers: int = 3, hidden: int = 128, cutoff: float = 8.0
    ) -> None:
        super().__init__()
        self.atoms = nn.Sequential(TableAtoms(), nn.Linear(TableAtoms.width, features))
        self.basis = GaussianBasis(cutoff=cutoff)
        width = len(self.basis.mu)
        self.convolutions = nn.ModuleList(
            NormalizedGatedConvolution(features=features, edge_features=width) for _ in range(layers)
        )
        self.head = nn.Sequential(
            nn.Softplus(), nn.Linear(features, hidden), nn.Softplus(), nn.Linear(hidden, 1)
        )

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)
        v = self.atoms(graph.z)
        u = self.basis(graph.distance)
        for convolution in self.convolutions:
            v = convolution(v, u, graph.edge_index)
        mean = sum_over_crystals(v, batch, n_crystals) / torch.bincount(batch, minlength=n_crystals)[:, None]
        return self.head(mean).squeeze(-1)  # (B,)


def _variance_one(linear: nn.Linear, atoms: nn.Module) -> nn.Linear:
    """`linear` with weights such that its outputs start with variance one over the elements (slide 20).

    torch's own start expects inputs that are all of order one; a one-hot row has a single one, its features
    start at 0.06 and learn slowly. Elements that training does not show keep the weights that they started
    with: `python -m benchmarks.evaluation` measures held-out oxides with both starts.
    """
    with torch.no_grad():
        length = atoms(torch.arange(1, N_ELEMENTS + 1)).norm(dim=1).mean()
        nn.init.normal_(linear.weight, std=1.0 / float(length))
    return linear
