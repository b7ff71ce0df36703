"""SchNet, continuous-filter convolutions (slides 12 to 18).

    W(r_ij) = MLP(RBF(r_ij)) * f_cut(r_ij)
    v_i' = v_i + sum_{j in N(i)} v_j * W(r_ij)              the slide
    v_i' = v_i + W_3 ssp(W_2 sum_{j in N(i)} (W_1 v_j) * W(r_ij))     the paper
    E = sum_i E_i

A convolution kernel with a slot for every distance: 2.3 and 2.7 Å have filters of their own, and all of them
are learned by one small network.

Papers: Schütt et al., NeurIPS (2017) [schutt2017schnet], and J. Chem. Phys. 148, 241722 (2018)
[schutt2018schnet], which adds crystals.
Read in order: `ContinuousFilter` (slide 13), `ContinuousFilterConvolution` and `SlideInteraction` (slide 14),
`Interaction` (the paper's block), `SchNet` (its five slots), `MeanSchNet`, `SlideSchNet`.
Published: 64 features; 3 blocks (2017) or 6 (2018); Gaussians every 0.1 Å with beta = 10 Å^-2, up to 30 Å for
molecules; 5 Å for materials. These are the defaults here, with 3 blocks and 5 Å.
Differs from the paper: its sum has neither a cutoff nor an envelope; here both are always there, as in
PyTorch Geometric's SchNet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import bonds_of, crystals_of, sum_over_crystals
from mg9.c_radial import CosineEnvelope, GaussianBasis

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

SPACING = 0.1  # Å, between the centres of the Gaussians
BETA = 10.0  # 1/Å^2


class ShiftedSoftplus(nn.Module):
    """ssp(x) = log(e^x / 2 + 1 / 2), zero at zero and smooth to every order (slide 14) [schutt2017schnet]."""

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x).sub_(math.log(2.0))


class ContinuousFilter(nn.Module):
    """W(r) = MLP(RBF(r)) * f_cut(r), a filter for every distance (slides 13, 17) [schutt2017schnet].

    forward: u (E, K), envelope (E,) to (E, F).
    """

    def __init__(self, *, features: int, edge_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _dense(edge_features, features), ShiftedSoftplus(), _dense(features, features)
        )

    def forward(self, u: Tensor, envelope: Tensor) -> Tensor:
        return self.layers(u) * envelope.unsqueeze(-1)


class ContinuousFilterConvolution(nn.Module):
    """sum_j v_j * W(r_ij), the sum of slide 14 [schutt2017schnet].

    forward: v (N, F), u (P, K), envelope (P,), edge_index (2, E) = [j, i] to (N, F). bond: (E,), the row of u
    of each edge, where i to j and j to i share one; without it P = E.
    """

    def __init__(self, *, features: int, edge_features: int) -> None:
        super().__init__()
        self.filter = ContinuousFilter(features=features, edge_features=edge_features)

    def forward(
        self, v: Tensor, u: Tensor, envelope: Tensor, edge_index: Tensor, bond: Tensor | None = None
    ) -> Tensor:
        j, i = edge_index
        filter_ij = self.filter(u, envelope)
        if bond is not None:
            filter_ij = filter_ij.index_select(0, bond)
        return torch.zeros_like(v).index_add(0, i, v.index_select(0, j) * filter_ij)


class SlideInteraction(ContinuousFilterConvolution):
    """v_i' = v_i + sum_j v_j * W(r_ij), the update as slide 14 prints it: channels never mix.

    Arguments and forward as for `ContinuousFilterConvolution`.
    """

    def forward(self, v: Tensor, *edges: Tensor) -> Tensor:
        return v + super().forward(v, *edges)


class Interaction(nn.Module):
    """The published block: atom-wise layers around the convolution mix the channels (slide 14)
    [schutt2017schnet].

    Arguments and forward as for `ContinuousFilterConvolution`.
    """

    def __init__(self, *, features: int, edge_features: int) -> None:
        super().__init__()
        self.before = _dense(features, features, bias=False)
        self.convolution = ContinuousFilterConvolution(features=features, edge_features=edge_features)
        self.after = nn.Sequential(_dense(features, features), ShiftedSoftplus(), _dense(features, features))

    def forward(self, v: Tensor, *edges: Tensor) -> Tensor:
        return v + self.after(self.convolution(self.before(v), *edges))


class SchNet(nn.Module):
    """The network of slides 12 to 18 with the published block; forward: a graph or a batch to (B,).

    The readout is a sum over atoms: extensive. Reads `graph.z`, `edge_index` and `distance` (Å); edges beyond
    the cutoff have weight zero. basis and envelope: modules of `c_radial.py`; by default Gaussians every
    0.1 Å and the cosine. [schutt2017schnet, schutt2018schnet]
    """

    block: type[nn.Module] = Interaction

    def __init__(
        self,
        *,
        features: int = 64,
        layers: int = 3,
        cutoff: float = 5.0,
        basis: nn.Module | None = None,
        envelope: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_ELEMENTS + 1, features)
        self.basis = basis or GaussianBasis(cutoff=cutoff, centers=round(cutoff / SPACING) + 1, beta=BETA)
        self.envelope = envelope or CosineEnvelope(cutoff=cutoff)
        width = self.basis(torch.ones(1)).size(-1)
        self.blocks = nn.ModuleList(self.block(features=features, edge_features=width) for _ in range(layers))
        self.atomwise = nn.Sequential(
            _dense(features, features // 2), ShiftedSoftplus(), _dense(features // 2, 1)
        )

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, n_crystals = crystals_of(graph)  # slot 1, the graph: built by a_crystal.py
        v = self.embedding(graph.z)  # slot 2, node features (N, F)
        one_way, bond = bonds_of(graph)  # a filter is the same both ways
        distance = graph.distance.index_select(0, one_way)
        u, envelope = self.basis(distance), self.envelope(distance)  # slot 3, edge features (P, K), (P,)
        for block in self.blocks:  # slot 4, message and update
            v = block(v, u, envelope, graph.edge_index, bond)
        return self.pool(self.atomwise(v).squeeze(-1), batch, n_crystals)  # slot 5, readout (B,)

    def pool(self, E_i: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        """E = sum_i E_i, extensive (slide 14): E_i (N,) to (B,)."""
        return sum_over_crystals(E_i, batch, n_crystals)


class MeanSchNet(SchNet):
    """SchNet with the mean over atoms in place of the sum: for intensive properties (slide 18)
    [schutt2018schnet]."""

    def pool(self, E_i: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        return super().pool(E_i, batch, n_crystals) / torch.bincount(batch, minlength=n_crystals)


class SlideSchNet(SchNet):
    """SchNet with the update exactly as slide 14 prints it."""

    block = SlideInteraction


def _dense(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with the published start: Glorot's weights, no bias."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
