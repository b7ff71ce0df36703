"""Checks of what distance means to attention in a crystal: the nearest image, all images, and a crystal
described in seven ways (slide 41).

The student's functions take pos (N, 3) Å and cell (3, 3) Å. A pair's weight by distance is w(r) =
exp(-r / 2 Å) (1 + cos(pi r / 6 Å)) / 2, and 0 beyond 6 Å. The functions `holds_...` are the part that hidden
checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, register
from mg9.checks.products import named
from mg9.checks.strain import Cell, rattled
from mg9.checks.tools import expect_change, expect_close, expect_tensor

REACH, DECAY = 6.0, 2.0  # Å
MOST = 5  # lattice vectors in each direction that the checks look at


def weight(r: Tensor) -> Tensor:
    """w(r), smooth at REACH."""
    return torch.exp(-r / DECAY) * 0.5 * (torch.cos(torch.pi * r / REACH) + 1) * (r < REACH)


def all_distances(at: Cell) -> Tensor:
    """From each atom to each image of each other, (N, N, M) in Å."""
    cell = torch.from_numpy(at.cell)
    fractional = torch.linalg.solve(cell.T, torch.from_numpy(at.pos).T).T
    apart = fractional[None, :] - fractional[:, None]
    apart = apart - apart.round()  # so that MOST suffices wherever the atoms were put
    around = torch.cartesian_prod(*(torch.arange(-MOST, MOST + 1.0).double(),) * 3)
    return ((apart[:, :, None, :] + around) @ cell).norm(dim=3)


def rounded(at: Cell) -> Tensor:
    """The image whose fractional coordinates are within a half: in a skew cell not always the nearest."""
    cell = torch.from_numpy(at.cell)
    fractional = torch.linalg.solve(cell.T, torch.from_numpy(at.pos).T).T
    apart = fractional[None, :] - fractional[:, None]
    return ((apart - apart.round()) @ cell).norm(dim=2)


def skew(rng: np.random.Generator, atoms: int) -> Cell:
    """A cubic lattice with long lattice vectors, atoms anywhere, also outside the home cell."""
    cell = 4.0 * np.array([[1.0, 0, 0], [1, 1, 0], [1, -1, 1]]) @ b_symmetry.random_rotation(rng).T
    cell = cell @ (np.eye(3) + rng.uniform(-0.02, 0.02, size=(3, 3)))
    z, fractional = rng.integers(1, 80, size=atoms), rng.uniform(-0.3, 1.3, size=(atoms, 3))
    return Cell(f"{atoms} atoms in a skew cell", z, fractional @ cell, cell)


def tensors(at: Cell) -> tuple[Tensor, Tensor]:
    """pos and cell, as the student's functions take them."""
    return torch.from_numpy(at.pos), torch.from_numpy(at.cell)


@register(
    "attention.nearest",
    slide=41,
    outcome=6,
    cause="r = |pos[j] + image @ cell - pos[i]| for every image, then the least of them; rounding fractional "
    "coordinates finds it only where the lattice vectors are short and nearly at right angles",
)
def nearest(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for at in (*rattled(rng, "mp-22865", "mp-5827"), skew(rng, 4)):
        holds_nearest(student, function, at)
    return "the nearest of all images in CsCl, in CaTiO3, and in a cell where rounding misses it"


def holds_nearest(student: Local, function: Callable, at: Cell) -> None:
    """Distances, symmetric and zero to oneself, and the usual ways to miss an image."""
    n = len(at.z)
    got = expect_tensor(student.call(function, *tensors(at)), (n, n), "the distances").double()
    r = all_distances(at)
    wanted = r.amin(dim=2)
    pos, cell = tensors(at)
    home = (pos[None, :] - pos[:, None]).norm(dim=2)
    own = torch.where(torch.eye(n).bool(), r.masked_fill(r < 1e-9, torch.inf).amin(dim=2), wanted)
    across = all_distances(replace(at, cell=np.ascontiguousarray(at.cell.T))).amin(dim=2)
    mistakes = {
        "the images are forgotten: an atom at the edge of the cell has neighbours beyond it": home,
        "fractional coordinates were rounded: in a skew cell another image is nearer": rounded(at),
        "an atom is nearest to itself, at 0; this is the distance to its own next image": own,
        "lattice vectors are the rows of cell: image @ cell": across,
        "these are squares of distances": wanted.square(),
    }
    what = "the distance to the nearest image; (atom, atom)"
    named(got, wanted, mistakes, what, crystal=at.name)


@register(
    "attention.images",
    slide=41,
    outcome=6,
    cause="the log of the sum of weight(r) over all images, an atom's own at r = 0 among them",
)
def images(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for at in (*rattled(rng, "mp-22865", "mp-5827"), skew(rng, 3)):
        holds_images(student, function, at)
    return "every image counts; in the doubled cell two copies of an atom have its weight together"


def holds_images(student: Local, function: Callable, at: Cell) -> None:
    """Values with the usual mistakes, then the doubled cell."""

    def ask(one: Cell) -> Tensor:
        n = len(one.z)
        got = student.call(function, *tensors(one))
        if isinstance(got, Tensor) and bool((got == -torch.inf).any()):
            raise CheckFailed("a bias is -inf, yet an image is within reach", crystal=one.name)
        return expect_tensor(got, (n, n), "the bias").double()

    got, r = ask(at), all_distances(at)
    w = weight(r)
    self_only = torch.eye(len(at.z)).bool()
    without = torch.where(self_only, (w.sum(2) - 1.0).clamp(min=1e-30), w.sum(2))
    mistakes = {
        "only the nearest image counts: a supercell would show it": weight(r.amin(dim=2)).log(),
        "the log is missing: the softmax takes exp of it": w.sum(2),
        "this is the mean over the images; it depends on how many were looked at": w.mean(2).log(),
        "an atom's own images are left out: only r = 0 counts for it": torch.where(
            self_only, torch.zeros_like(got), w.sum(2).log()
        ),
        "an atom does not hear itself: the image at r = 0 is left out": without.log(),
        "the weight of the summed distance, not the sum of weights": -r.sum(2) / DECAY,
    }
    what = "the bias of a pair; (listens, is heard)"
    for mistake, wrong in mistakes.items():
        if torch.allclose(got, wrong, rtol=1e-5, atol=1e-7) and not torch.allclose(wrong, w.sum(2).log()):
            raise CheckFailed(mistake, crystal=at.name)
    expect_close(got, w.sum(2).log(), what, crystal=at.name, tolerance=1e-6)
    n, twice = len(at.z), ask(doubled(at))
    copies = torch.logaddexp(twice[:n, :n], twice[:n, n:])
    what = "in the doubled cell an atom and its copy have another weight together; (listens, is heard)"
    expect_close(copies, got, what, crystal=at.name, tolerance=1e-6)


def doubled(at: Cell) -> Cell:
    """The same crystal in a cell of twice the size: the copies come last."""
    pos = np.concatenate([at.pos, at.pos + at.cell[1]])
    return Cell(at.name, np.tile(at.z, 2), pos, at.cell * [[1], [2], [1]])


@register(
    "attention.crystal",
    slide=41,
    outcome=6,
    cause="only distances go in, to all images of each atom; no place in the list, no x, y, z",
)
def crystal(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for at in rattled(rng, "mp-22865", "mp-5827"):
        holds_crystal(student, rng, function, at)
    return (
        "one crystal described in seven ways hears the same; stretched, or with another element, it does not"
    )


def holds_crystal(student: Local, rng: np.random.Generator, function: Callable, at: Cell) -> None:
    """Every description of the crystal, and the twins."""

    def ask(one: Cell) -> Tensor:
        got = student.call(function, *(torch.from_numpy(x) for x in (one.z, one.pos, one.cell)))
        shape = (len(one.z), *tuple(getattr(got, "shape", (0, 1)))[1:2])
        return expect_tensor(got, shape, "m").double()

    before, turn = ask(at), b_symmetry.random_rotation(rng)
    order, away = rng.permutation(len(at.z)), rng.integers(-1, 2, size=(len(at.z), 3))
    if (order == np.arange(len(order))).all():
        order = order[::-1].copy()
    change = b_symmetry.random_cell_change(rng)
    turned = replace(at, pos=at.pos @ turn.T, cell=at.cell @ turn.T)
    for what, other, wanted in (
        ("the crystal was turned", turned, before),
        ("the mirror image", replace(at, pos=-turned.pos, cell=-turned.cell), before),
        ("all atoms were moved together", replace(at, pos=at.pos + rng.normal(size=3)), before),
        ("the atoms were renumbered", replace(at, z=at.z[order], pos=at.pos[order]), before[order]),
        ("other images were named", replace(at, pos=at.pos + away @ at.cell), before),
        ("other lattice vectors were named", replace(at, cell=change @ at.cell), before),
        ("the cell was doubled: does each image count?", doubled(at), before.repeat(2, 1)),
    ):
        expect_close(
            ask(other), wanted, f"{what}; an atom hears something else", crystal=at.name, tolerance=1e-6
        )
    expect_change(
        ask(at.strained(0.03 * np.eye(3))), before, "the crystal was stretched by 3 %", crystal=at.name
    )
    other = replace(at, z=np.where(at.z == at.z[0], at.z[0] + 1, at.z))
    expect_change(ask(other), before, "an element was exchanged for the next one", crystal=at.name)
