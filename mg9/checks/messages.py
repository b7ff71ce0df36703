"""Checks of a message with a direction, m_i = sum_j R(r_ij) h_j Y_1(r_ij), on periodic edges (slide 37).

The student's function takes h (N, F), R (E, F), pos (N, 3) Å, cell (3, 3) Å, edge_index (2, E) = [j, i],
shift (E, 3) and returns (N, F, 3), with Y_1 of squared length 3. The functions `holds_...` are the part that
hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, register
from mg9.checks.products import named
from mg9.checks.strain import Cell, rattled
from mg9.checks.tools import expect_change, expect_close, expect_tensor


@dataclass(frozen=True)
class Edges:
    """What the student's function is given, in its order."""

    h: Tensor
    R: Tensor
    pos: Tensor
    cell: Tensor
    edge_index: Tensor
    shift: Tensor

    @property
    def values(self) -> tuple[Tensor, ...]:
        return self.h, self.R, self.pos, self.cell, self.edge_index, self.shift

    def arrows(self) -> Tensor:
        """r_ij, (E, 3) in Å."""
        j, i = self.edge_index
        return self.pos[j] - self.pos[i] + torch.einsum("ec,cd->ed", self.shift, self.cell)


def random_edges(rng: np.random.Generator, atoms: int, edges: int, features: int = 2) -> Edges:
    """Atoms in a skew cell and edges to images of others."""
    j = rng.integers(atoms, size=edges)
    i = (j + rng.integers(1, atoms, size=edges)) % atoms
    numbers = rng.normal(size=(atoms, features)), rng.normal(size=(edges, features))
    pos, cell = rng.uniform(0, 5, size=(atoms, 3)), 5 * np.eye(3) + rng.uniform(-1, 1, size=(3, 3))
    shift = rng.integers(-1, 2, size=(edges, 3)).astype(float)
    h, R, pos, cell, shift = (torch.from_numpy(x) for x in (*numbers, pos, cell, shift))
    return Edges(h, R, pos, cell, torch.from_numpy(np.stack([j, i])), shift)


def received(student: Local, function: Callable, at: Edges) -> Tensor:
    """The student's messages, if they have their shape."""
    return expect_tensor(student.call(function, *at.values), (*at.h.shape, 3), "m").double()


def truth(at: Edges) -> Tensor:
    """m (N, F, 3), edge by edge."""
    m, arrows = torch.zeros(*at.h.shape, 3).double(), at.arrows()
    for e, (j, i) in enumerate(at.edge_index.T.tolist()):
        m[i] += torch.outer(at.R[e] * at.h[j], 3**0.5 * arrows[e] / arrows[e].norm())
    return m


@register(
    "equivariance.message",
    slide=37,
    outcome=5,
    cause="r_ij = pos[j] + shift @ cell - pos[i]; Y_1 = sqrt(3) r_ij / |r_ij|; R * h[j] * Y_1, summed onto i "
    "by index_add",
)
def message(student: Local, rng: np.random.Generator, function: Callable) -> str:
    one = replace(
        random_edges(rng, 2, 1), edge_index=torch.tensor([[1], [0]]), shift=torch.zeros(1, 3).double()
    )
    holds_one_edge(student, function, one)
    many = random_edges(rng, 5, 14)
    holds_sum(student, function, many)
    return "the neighbour j speaks, the centre i hears from which side; images too; neighbours add up"


def holds_one_edge(student: Local, function: Callable, at: Edges) -> None:
    """Who hears whom, from where, and how loud."""
    where = "two atoms, one edge j = 1, i = 0"
    got, wanted = received(student, function, at), truth(at)
    if float(got[0].abs().max()) < 1e-12 and float(got[1].abs().max()) > 1e-12:
        raise CheckFailed(
            "the sender heard itself: j sends, i receives, so messages are added to i", crystal=where
        )
    expect_close(got[1], torch.zeros_like(got[1]), "atom 1 only sends, yet it heard something", crystal=where)
    deaf = received(student, function, replace(at, h=at.h * torch.tensor([[1.0], [0.0]]).double()))
    what = "the neighbour's feature is 0, so nothing can be heard: it is h_j that is sent, not h_i"
    expect_close(deaf, torch.zeros_like(deaf), what, crystal=where)
    faded = received(student, function, replace(at, R=0 * at.R))
    expect_close(faded, torch.zeros_like(faded), "R is 0, yet something is heard", crystal=where)
    far = received(student, function, replace(at, pos=at.pos + torch.tensor([[0.0], [1.0]]) * at.arrows()))
    what = "the neighbour is twice as far, R is the same: Y_1 is a direction, its length is always sqrt(3)"
    expect_close(far, got, what, crystal=where)
    mistakes = {
        "the message points away from the neighbour: r_ij goes from i to j, pos[j] - pos[i]": -wanted,
        "Y_1 has length 1; in this course its square is 3, so that each component has mean square 1": wanted
        / 3**0.5,
        "Y_1 has squared length 9: multiply the direction by sqrt(3)": wanted * 3**0.5,
    }
    named(got, wanted, mistakes, "the message of one edge; (atom, feature, axis)", crystal=where)


def holds_sum(student: Local, function: Callable, at: Edges) -> None:
    """Images, sums over neighbours, no edges, another numbering; the values."""
    where, got = f"a random graph of {len(at.h)} atoms with edges to images", received(student, function, at)
    j, i = at.edge_index
    none = replace(at, R=at.R[:0], edge_index=at.edge_index[:, :0], shift=at.shift[:0])
    alone = received(student, function, none)
    expect_close(alone, torch.zeros_like(alone), "atoms without neighbours heard something")
    together = at.R * at.h[j] * 3**0.5 / at.arrows().norm()
    wrong = torch.zeros_like(got).index_add(0, i, together[:, :, None] * at.arrows()[:, None, :])
    if torch.allclose(got, wrong):
        raise CheckFailed("divided by the length of all arrows together: each by its own, norm(dim=1)")
    twice = replace(
        at,
        R=torch.cat([at.R, at.R]),
        edge_index=torch.cat([at.edge_index, at.edge_index], dim=1),
        shift=torch.cat([at.shift, at.shift]),
    )
    what = "each neighbour was listed twice, so the sum must double"
    expect_close(received(student, function, twice), 2 * got, what, crystal=where)
    inside = replace(at, shift=torch.zeros_like(at.shift))
    mistakes = {
        "the images are forgotten: shift says how many lattice vectors away the neighbour stands": truth(
            inside
        ),
        "the images stand on the wrong side: shift @ cell is added to pos[j]": truth(
            replace(at, shift=-at.shift)
        ),
        "shift @ cell, with lattice vectors as rows of cell; this is shift @ cell.T": truth(
            replace(at, cell=at.cell.T.contiguous())
        ),
        "shift counts lattice vectors; multiply it with cell to get Å": truth(
            replace(at, cell=torch.eye(3).double())
        ),
    }
    named(got, truth(at), mistakes, "a sum of messages; (atom, feature, axis)", crystal=where)


@register(
    "equivariance.crystal",
    slide=37,
    outcome=5,
    cause="only differences of positions go in, with the shift of the image; a sum over all neighbours",
)
def crystal(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for at in rattled(rng, "mp-22865", "mp-5827"):
        holds_crystal(student, rng, function, at)
    return "arrows turn with the crystal and in the mirror, whatever its description; a stretched bond shows"


def holds_crystal(student: Local, rng: np.random.Generator, function: Callable, at: Cell) -> None:
    """Every description of the crystal, and the twins: stretched, or with another element, it has others."""

    def ask(one: Cell) -> Tensor:
        got = student.call(function, *(torch.from_numpy(x) for x in (one.z, one.pos, one.cell)))
        shape = (len(one.z), *tuple(getattr(got, "shape", (0, 2)))[1:2], 3)
        return expect_tensor(got, shape, "m").double()

    before, turn = ask(at), b_symmetry.random_rotation(rng)
    if float(before.abs().max()) < 1e-9:
        raise CheckFailed("every message is zero: no symmetry test can fail on that", crystal=at.name)
    order, away = rng.permutation(len(at.z)), rng.integers(-1, 2, size=(len(at.z), 3))
    change = b_symmetry.random_cell_change(rng)
    R = torch.from_numpy(turn)
    turned = Cell("", at.z, at.pos @ turn.T, at.cell @ turn.T)
    moved = at.pos + rng.normal(size=3), at.pos + away @ at.cell
    doubled = at.cell * [[1], [2], [1]], np.concatenate([at.pos, at.pos + at.cell[1]])
    for what, other, wanted in (
        ("the crystal was turned, the messages were not", turned, before @ R.T),
        ("the mirror image has other messages", Cell("", at.z, -turned.pos, -turned.cell), -before @ R.T),
        ("all atoms were moved, the messages changed", Cell("", at.z, moved[0], at.cell), before),
        ("other images were named, the messages changed", Cell("", at.z, moved[1], at.cell), before),
        ("other lattice vectors were named", Cell("", at.z, at.pos, change @ at.cell), before),
        ("the atoms were renumbered", Cell("", at.z[order], at.pos[order], at.cell), before[order]),
        ("the cell was doubled", Cell("", np.tile(at.z, 2), doubled[1], doubled[0]), before.repeat(2, 1, 1)),
    ):
        what = f"{what}: an atom hears something else; (atom, feature, axis)"
        expect_close(ask(other), wanted, what, crystal=at.name, tolerance=1e-6)
    expect_change(
        ask(at.strained(0.03 * np.eye(3))), before, "the crystal was stretched by 3 %", crystal=at.name
    )
    other = replace(at, z=np.where(at.z == at.z[0], at.z[0] + 1, at.z))
    expect_change(ask(other), before, "an element was exchanged for the next one", crystal=at.name)
