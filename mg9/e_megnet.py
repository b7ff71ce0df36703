"""MEGNet: atoms, bonds and one global state, each with features that learn (slides 26, 27).

    e_ij' = phi_e(v_i, v_j, e_ij, u)                      atoms -> bonds
    v_i'  = phi_v(mean over j of e_ij', v_i, u)           bonds -> atoms
    u'    = phi_u(mean of e_ij', mean of v_i', u)         atoms and bonds -> state
    e_ij'' from u', then v_i'' from e_ij''                state -> bonds -> atoms

The state u comes in with what the crystal is exposed to (a pressure, a strain), or as a learned token, and
goes out as the summary that the heads read.

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet].
Read in order: `BondUpdate`, `AtomUpdate`, `StateUpdate`, `MEGNet` (its five slots), `masked_error` (labels
that are missing), then what was released: `ReleasedSet2Set`, `ReleasedMEGNet`.
Differs from the paper: `MEGNet` has the deck's round, which hands the new state back to bonds and atoms, and
the deck's readout through the state alone. Its last round ends at the state: a bond that changes after it
could not reach the readout. The paper's block is the first three lines, with dense layers before it; its
readout is Set2Set over atoms and over bonds, joined with u. That is `ReleasedMEGNet`.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mg9.a_errors import N_ELEMENTS, UnknownElement
from mg9.a_graph import crystals_of, sum_over_crystals
from mg9.c_radial import GaussianBasis

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


class ShiftedSoftplus(nn.Module):
    """log(1 + exp(x)) - log 2, which is 0 at 0: the activation of MEGNet (slide 26) [chen2019megnet]."""

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x) - log(2.0)


def dense(*sizes: int, activate_last: bool = True) -> nn.Sequential:
    """Linear layers with the shifted softplus between them, and after the last if asked (slide 26)."""
    layers: list[nn.Module] = []
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(before, after), ShiftedSoftplus()]
    return nn.Sequential(*layers if activate_last else layers[:-1])


def mean_at(values: Tensor, place: Tensor, n: int) -> Tensor:
    """The mean of those values (M, F) that have the same place (M,), (n, F); 0 where there are none
    (slide 26)."""
    count = torch.bincount(place, minlength=n).clamp(min=1).unsqueeze(1)
    return values.new_zeros(n, values.size(1)).index_add(0, place, values) / count


class BondUpdate(nn.Module):
    """e_ij' = phi_e(v_i, v_j, e_ij, u) (slide 26) [chen2019megnet].

    The first product is split: W_i v_i, W_j v_j and W_u u are taken per atom, not per bond.
    """

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(4 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        j, i = edge_index
        first = self.layers[0]
        W_i, W_j, W_e, W_u = first.weight.split(v.size(1), dim=1)
        centre = torch.addmm(first.bias, v, W_i.T) + (state @ W_u.T).index_select(0, batch)  # (N, H)
        z_ij = centre.index_select(0, i) + (v @ W_j.T).index_select(0, j)  # (E, H)
        return self.layers[1:](torch.addmm(z_ij, e, W_e.T))


class AtomUpdate(nn.Module):
    """v_i' = phi_v(mean over j of e_ij', v_i, u) (slide 26) [chen2019megnet].

    The mean is over the bonds that end in i, those whose e_ij' was made from [v_i, v_j] in this order.
    """

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(3 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        bonds = mean_at(e, edge_index[1], len(v))  # (N, F)
        return self.layers(torch.cat([bonds, v, state.index_select(0, batch)], dim=1))


class StateUpdate(nn.Module):
    """u' = phi_u(mean of e_ij', mean of v_i', u), (B, F) (slide 26) [chen2019megnet]."""

    def __init__(self, *, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = dense(3 * features, hidden, hidden, features, activate_last=False)

    def forward(self, v: Tensor, e: Tensor, state: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        B = len(state)
        bonds = mean_at(e, batch.index_select(0, edge_index[1]), B)
        return self.layers(torch.cat([bonds, mean_at(v, batch, B), state], dim=1))


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
        e = self.bonds(self.basis(graph.distance))  # slot 3, edge features (E, F)
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


class ReleasedSet2Set(nn.Module):
    """Set2Set as it was released, (M, F) to (B, 2G) (slide 26) [vinyals2016set2set].

    It works on m = W x + b, its gates are hard sigmoids (0.2 x + 0.5, cut to 0 and 1), and its memory cell is
    empty again in each step.
    """

    def __init__(self, *, features: int, width: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.project = nn.Linear(features, width)
        self.gates = nn.Linear(2 * width, 4 * width)

    def forward(self, x: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        m = self.project(x)  # (M, G)
        q_star = m.new_zeros(n_crystals, 2 * m.size(1))
        for _ in range(self.steps):
            take, _, fresh, give = self.gates(q_star).chunk(4, dim=1)  # the second gate forgets: nothing to
            question = _hard_sigmoid(give) * torch.tanh(_hard_sigmoid(take) * torch.tanh(fresh))  # (B, G)
            score = (m * question.index_select(0, batch)).sum(dim=1)  # (M,)
            largest = score.new_full((n_crystals,), -torch.inf).scatter_reduce(0, batch, score, "amax")
            weight = torch.exp(score - largest.detach().index_select(0, batch)).unsqueeze(1)
            total = sum_over_crystals(weight, batch, n_crystals)
            answer = sum_over_crystals(weight * m, batch, n_crystals) / total  # (B, G)
            q_star = torch.cat([question, answer], dim=1)
        return q_star


def _hard_sigmoid(x: Tensor) -> Tensor:
    return (0.2 * x + 0.5).clamp(0.0, 1.0)


class ReleasedMEGNet(nn.Module):
    """The network as published and released: one pass bond, atom, state a block, dense layers before the
    later blocks, Set2Set over atoms and over bonds joined with the state (slides 26, 27) [chen2019megnet].

    forward: a graph or a batch of graphs to (B,). `graph.state` (B, 2), zeros if there is none, as for all
    crystals that it was trained on. Errors: `UnknownElement` for an element that training did not show.
    """

    width = 32

    def __init__(self, *, set2set_steps: int = 3) -> None:
        super().__init__()
        self.basis = GaussianBasis(cutoff=5.0, centers=100, beta=4.0)  # width 0.5 Å, centres 0.05 Å apart
        self.atoms = nn.Embedding(95, 16)
        self.register_buffer("seen", torch.ones(95, dtype=torch.bool))
        F = self.width
        self.encode = nn.ModuleList([dense(16, 64, F), dense(100, 64, F), dense(2, 64, F)])
        self.before = nn.ModuleList(
            nn.ModuleList(nn.Identity() if k == 0 else dense(F, 64, F) for _ in range(3)) for k in range(3)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(kind(features=F, hidden=64) for kind in (BondUpdate, AtomUpdate, StateUpdate))
            for _ in range(3)
        )
        self.of_atoms = ReleasedSet2Set(features=F, width=16, steps=set2set_steps)
        self.of_bonds = ReleasedSet2Set(features=F, width=16, steps=set2set_steps)
        self.head = dense(32 + 32 + F, 32, 16, 1, activate_last=False)

    def forward(self, graph: Data | Batch) -> Tensor:
        self._refuse_unseen(graph.z)
        (batch, B), edge_index = crystals_of(graph), graph.edge_index
        state = graph.state if "state" in graph else graph.distance.new_zeros(B, 2)
        inputs = self.atoms(graph.z), self.basis(graph.distance), state.reshape(B, 2)
        v, e, state = (layers(x) for layers, x in zip(self.encode, inputs, strict=True))
        for before, (bond, atom, whole) in zip(self.before, self.blocks, strict=True):
            v_, e_, state_ = (layers(x) for layers, x in zip(before, (v, e, state), strict=True))
            e_new = bond(v_, e_, state_, edge_index, batch)
            v_new = atom(v_, e_new, state_, edge_index, batch)
            state = state + whole(v_new, e_new, state_, edge_index, batch)
            v, e = v + v_new, e + e_new
        bonds = self.of_bonds(e, batch.index_select(0, edge_index[1]), B)
        return self.head(torch.cat([self.of_atoms(v, batch, B), bonds, state], dim=1)).squeeze(1)

    def _refuse_unseen(self, z: Tensor) -> None:
        if int(z.max()) >= len(self.seen) or not bool(self.seen[z].all()):
            bad = next(int(n) for n in z if n >= len(self.seen) or not self.seen[n])
            raise UnknownElement(
                f"atomic number {bad}: none of this model's training crystals had it; use another model"
            )
