"""MEGNet as published and released: three blocks, then Set2Set over atoms and bonds (slides 26, 27).

    v, e, u <- dense layers of v, e, u                    before each block but the first
    e_ij' = phi_e(v_i, v_j, e_ij, u),  v_i' = phi_v(mean_j e_ij', v_i, u),  u' = phi_u(mean e', mean v', u)
    each block's result is added to what came in before the dense layers
    property = MLP([Set2Set(v), Set2Set(e), u])

Paper: Chen, Ye, Zuo, Zheng, Ong, Chem. Mater. 31, 3564 (2019) [chen2019megnet].
Read in order: `e_updates.py`, `attend`, `ReleasedSet2Set`, `ReleasedMEGNet`; then `CommonSet2Set` and
`RetrainedMEGNet`. Their weights: `pretrained/megnet.py`, `pretrained/megnet_matgl.py`.
Differs from the paper: `ReleasedMEGNet` follows the code and the weights that were released with it; where
that code goes its own way (Set2Set), the class says so. `RetrainedMEGNet` is what matgl trained later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mg9.a_errors import UnknownElement
from mg9.a_graph import bonds_of, crystals_of, sum_over_crystals
from mg9.c_radial import GaussianBasis
from mg9.e_updates import AtomUpdate, BondUpdate, ShiftedSoftplus, StateUpdate, dense

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def attend(x: Tensor, question: Tensor, batch: Tensor) -> Tensor:
    """[q, sum_k softmax(x_k . q) x_k] of each crystal, the softmax over its own x (slide 26)
    [vinyals2016set2set].

    x: (M, G); question q: (B, G); batch: (M,), the crystal of each x. To (B, 2G).
    """
    B = len(question)
    score = (x * question.index_select(0, batch)).sum(dim=1)  # (M,)
    largest = score.new_full((B,), -torch.inf).scatter_reduce(0, batch, score, "amax")
    weight = torch.exp(score - largest.detach().index_select(0, batch)).unsqueeze(1)
    total = sum_over_crystals(weight, batch, B).clamp(min=1.0)  # 1 at least, 0 only where there is no x
    answer = sum_over_crystals(weight * x, batch, B) / total
    return torch.cat([question, answer], dim=1)


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
            q_star = attend(m, question, batch)
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
        self.last = nn.Identity()  # after the last layer of phi_e, phi_v and phi_u
        self.of_atoms = ReleasedSet2Set(features=F, width=16, steps=set2set_steps)
        self.of_bonds = ReleasedSet2Set(features=F, width=16, steps=set2set_steps)
        self.head = dense(32 + 32 + F, 32, 16, 1, activate_last=False)

    def forward(self, graph: Data | Batch) -> Tensor:
        self._refuse_unseen(graph.z)
        (batch, B), edge_index = crystals_of(graph), graph.edge_index
        one_way, bond = bonds_of(graph)  # bonds start the same both ways
        distance = graph.distance.index_select(0, one_way)
        inputs = self.atoms(graph.z), self.basis(distance), self.given_state(graph, B)
        v, e, state = (layers(x) for layers, x in zip(self.encode, inputs, strict=True))
        e = e.index_select(0, bond)  # (E, F)
        for before, (bond, atom, whole) in zip(self.before, self.blocks, strict=True):
            v_, e_, state_ = (layers(x) for layers, x in zip(before, (v, e, state), strict=True))
            e_new = self.last(bond(v_, e_, state_, edge_index, batch))
            v_new = self.last(atom(v_, e_new, state_, edge_index, batch))
            state = state + self.last(whole(v_new, e_new, state_, edge_index, batch))
            v, e = v + v_new, e + e_new
        bonds = self.of_bonds(e, batch.index_select(0, edge_index[1]), B)
        return self.head(torch.cat([self.of_atoms(v, batch, B), bonds, state], dim=1)).squeeze(1)

    def given_state(self, graph: Data | Batch, n_crystals: int) -> Tensor:
        """(B, 2)."""
        state = graph.state if "state" in graph else graph.distance.new_zeros(2 * n_crystals)
        return state.reshape(n_crystals, 2)

    def _refuse_unseen(self, z: Tensor) -> None:
        if int(z.max()) >= len(self.seen) or not bool(self.seen[z].all()):
            bad = next(int(n) for n in z if n >= len(self.seen) or not self.seen[n])
            raise UnknownElement(
                f"atomic number {bad}: none of this model's training crystals had it; use another model"
            )


class CommonSet2Set(nn.Module):
    """Set2Set with an LSTM that keeps its memory, (M, F) to (B, 2F) (slide 26) [vinyals2016set2set]."""

    def __init__(self, *, features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.lstm = nn.LSTMCell(2 * features, features)

    def forward(self, x: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        q_star, memory = x.new_zeros(n_crystals, 2 * x.size(1)), None
        for _ in range(self.steps):
            memory = self.lstm(q_star, memory)  # question and memory cell, (B, F) each
            q_star = attend(x, memory[0], batch)
        return q_star


class RetrainedMEGNet(ReleasedMEGNet):
    """The network as matgl trained it anew (slides 26, 27) [chen2019megnet]: wider bumps, exp(-d^2 / 2), up
    to 1 Å beyond the cutoff; the shifted softplus after phi_e, phi_v, phi_u too; a common Set2Set.

    kinds: of labels (such as functionals), each with a learned state; `graph.state` (B,) says which, the
    first if there is none. With 0, `graph.state` and errors are as for `ReleasedMEGNet`. cutoff: in Å.
    """

    def __init__(self, *, cutoff: float = 4.0, set2set_steps: int = 2, kinds: int = 0) -> None:
        super().__init__()
        F = self.width
        self.basis = GaussianBasis(cutoff=cutoff + 1.0, centers=100, beta=0.5)
        self.last = ShiftedSoftplus()
        self.kinds = nn.Embedding(kinds, 16) if kinds else None
        self.encode[2] = dense(16 if kinds else 2, 64, F)
        self.of_atoms = CommonSet2Set(features=F, steps=set2set_steps)
        self.of_bonds = CommonSet2Set(features=F, steps=set2set_steps)
        self.head = dense(2 * F + 2 * F + F, 32, 16, 1, activate_last=False)

    def given_state(self, graph: Data | Batch, n_crystals: int) -> Tensor:
        """(B, 2), or with kinds (B, 16)."""
        if self.kinds is None:
            return super().given_state(graph, n_crystals)
        state = graph.state if "state" in graph else graph.z.new_zeros(n_crystals)
        return self.kinds(state.reshape(n_crystals))
