"""MEGNet: atoms, bonds and one global state, each with features that learn (slides 26, 27).

    e_ij' = phi_e(v_i, v_j, e_ij, u)                      atoms -> bonds
    v_i'  = phi_v(mean over j of e_ij', v_i, u)           bonds -> atoms
    u'    = phi_u(mean of e_ij', mean of v_i', u)         atoms and bonds -> state
    e_ij'' from u', then v_i'' from e_ij''                state -> bonds -> atoms

The state u comes in with what the crystal is exposed to (a pressure, a strain), or as a learned token, and
goes out as the summary that the heads read.

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet].
Read in order: `e_updates.py` (the first three lines), `MEGNet` (its five slots), `masked_error` (labels that
are missing); then what was released: `e_megnet_paper.py`.
Differs from the paper: the deck's round hands the new state back to bonds and atoms, and the deck's readout
is through the state alone. The last round ends at the state: a bond that changes after it could not reach
the readout. The paper's block is the first three lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_errors import N_ELEMENTS
from mg9.a_graph import bonds_of, crystals_of
from mg9.c_radial import GaussianBasis
from mg9.e_updates import AtomUpdate, BondUpdate, StateUpdate, dense

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class MEGNet(nn.Module):
    """The network of slides 26 and 27 with the deck's order of updates; forward: a graph or a batch of graphs
    to (B,), or to (B, heads) where there are several heads on the one trunk.

    state_size: how many numbers `graph.state` (B, state_size) holds, in units that make them of order one;
    with 0 the state starts as a learned token. [chen2019megnet]
    Errors: ValueError for a graph without the state that was announced.
    """

    def __init__(
        self,
        *,
        features: int = 32,
        rounds: int = 3,
        hidden: int = 64,
        cutoff: float = 5.0,
        state_size: int = 0,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.state_size = state_size
        self.basis = GaussianBasis(cutoff=cutoff)
        self.atoms = nn.Embedding(N_ELEMENTS, features)
        self.bonds = dense(len(self.basis.mu), hidden, features)
        self.token = nn.Parameter(torch.zeros(features))
        self.state = dense(state_size, hidden, features) if state_size else None
        kinds = (BondUpdate, AtomUpdate, StateUpdate, BondUpdate, AtomUpdate)
        size = {"features": features, "hidden": hidden}
        self.rounds = nn.ModuleList(
            nn.ModuleList(kind(**size) for kind in (kinds if k < rounds - 1 else kinds[:3]))
            for k in range(rounds)
        )
        self.heads = nn.ModuleList(dense(features, hidden, 1, activate_last=False) for _ in range(heads))

    def forward(self, graph: Data | Batch) -> Tensor:
        batch, B = crystals_of(graph)  # slot 1, the graph: built by a_crystal.py
        v = self.atoms(graph.z - 1)  # slot 2, node features (N, F)
        one_way, bond = bonds_of(graph)  # they start the same both ways
        u = self.basis(graph.distance.index_select(0, one_way))  # (P, K)
        e = self.bonds(u).index_select(0, bond)  # slot 3, edge features (E, F)
        state = self.token.expand(B, -1)  # (B, F)
        if self.state is not None:
            state = state + self.state(self._given_state(graph, B).to(state.dtype))
        for updates in self.rounds:  # slot 4, message and update
            for update in updates:
                change = update(v, e, state, graph.edge_index, batch)
                if isinstance(update, BondUpdate):
                    e = e + change
                elif isinstance(update, AtomUpdate):
                    v = v + change
                else:
                    state = state + change
        return torch.cat([head(state) for head in self.heads], dim=1).squeeze(1)  # slot 5, readout

    def _given_state(self, graph: Data | Batch, n_crystals: int) -> Tensor:
        got = graph.state if "state" in graph else None
        if got is None or got.numel() != n_crystals * self.state_size:
            raise ValueError(
                f"a state of {self.state_size} numbers was announced, but the graph has "
                f"{'none' if got is None else tuple(got.shape)}; set graph.state = torch.tensor([[...]]), of "
                f"shape (1, {self.state_size}), before batching"
            )
        return got.reshape(n_crystals, self.state_size)


def masked_error(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error over the labels that there are: NaN marks a missing one (slide 27).

    predicted, labels: (B, heads), each column in units in which its labels are of order one. Each property
    counts equally, however many rows know it. Errors: ValueError if the shapes differ or no label is there.
    """
    if predicted.shape != labels.shape:
        raise ValueError(
            f"predictions have shape {tuple(predicted.shape)}, labels {tuple(labels.shape)}; "
            "give one column for each head and NaN where a label is missing"
        )
    known = torch.isfinite(labels)
    if not known.any():
        raise ValueError("none of these rows has a label; leave such a batch out")
    error = torch.where(known, predicted - torch.where(known, labels, 0.0), 0.0).abs()
    count = known.sum(dim=0)
    return (error.sum(dim=0)[count > 0] / count[count > 0]).mean()
