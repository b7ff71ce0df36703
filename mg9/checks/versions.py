"""Descriptions of one crystal, and of crystals that are near it, for a network to be asked about (slide 08).

Read in order: `Described`, `versions`, `holds_symmetries`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mg9 import b_symmetry
from mg9.checks import CheckFailed, figures
from mg9.checks.tools import Neighbors, expect_change, neighbors

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Described(Neighbors):
    """One description of a crystal: all neighbours within 8 Å; nearest (E,): those in whole shells of 12."""

    nearest: Tensor


class Versions(NamedTuple):
    """A crystal as it is, what is the same crystal, and what is another one; by what was done to it."""

    name: str
    structure: Structure
    crystal: Described
    same: dict[str, Described]
    other: dict[str, Described]


def described(structure: Structure, name: str) -> Described:
    """The arrays of a structure. Both graphs list neighbours by centre, then distance."""
    from mg9.a_crystal import crystal_graph

    c = neighbors(structure, name)
    kept, count = (torch.bincount(i) for i in (crystal_graph(structure).edge_index[1], c.edge_index[1]))
    first = torch.repeat_interleave(count.cumsum(0) - count, count)
    return Described(**vars(c), nearest=torch.arange(len(first)) - first < kept[c.edge_index[1]])


def versions(rng: np.random.Generator, name: str, structure: Structure) -> Versions:
    """The transformations of slide 08, and three that are none."""
    n = len(structure)
    element = "Si" if structure[0].specie.symbol != "Si" else "Ge"
    moved = structure.copy()
    step = b_symmetry.random_rotation(rng)[0] * 0.2
    moved.translate_sites([n - 1], step, frac_coords=False, to_unit_cell=False)
    same = {
        "rotating it": b_symmetry.rotate(structure, b_symmetry.random_rotation(rng)),
        "reflecting it": b_symmetry.rotate(structure, b_symmetry.random_rotation(rng, reflect=True)),
        "moving all atoms together": b_symmetry.translate(structure, rng.normal(size=3)),
        "moving one atom by lattice vectors": b_symmetry.wrap(structure, int(rng.integers(n)), (1, -1, 2)),
        "renumbering its atoms": b_symmetry.permute(structure, rng.permutation(n)),
        "doubling its cell": b_symmetry.supercell(structure, (2, 1, 1)),
    }
    other = {
        "every bond was stretched by 4 %": b_symmetry.stretch(structure, 1.04),
        f"atom 0 became {element}": b_symmetry.exchange(structure, 0, element),
        f"atom {n - 1} alone was moved by 0.2 Å": moved,
    }
    kinds = ({what: described(s, name) for what, s in those.items()} for those in (same, other))
    return Versions(name, structure, described(structure, name), *kinds)


def holds_symmetries(
    model: Callable[[Sequence[Described]], Tensor], rng: np.random.Generator, asked: Versions, where: str
) -> float:
    """The largest change of the energy (eV/atom) under the symmetries of slide 08; none may exceed 1e-6."""
    crystals = [asked.crystal, *asked.same.values(), *asked.other.values()]
    order = rng.permutation(len(crystals))  # which is which is nobody's business but the check's
    values = torch.empty(len(crystals), dtype=torch.float64)
    values[torch.from_numpy(order)] = model([crystals[k] for k in order])
    before, largest = values[0], 0.0

    def turned(turns: list[np.ndarray]) -> Tensor:
        return model([described(b_symmetry.rotate(asked.structure, R), asked.name) for R in turns])

    for action, value in zip(asked.same, values[1:], strict=False):
        change = float((value - before).abs())
        largest = max(largest, change)
        if change > 1e-6:
            raise CheckFailed(
                f"{action} changed the energy by {change:.2g} eV/atom",
                crystal=where,
                expected="0 eV/atom",
                got=f"{change:.3g} eV/atom",
                figure=figures.rotation(turned, "eV/atom") if action == "rotating it" else None,
            )
    for action, value in zip(asked.other, values[1 + len(asked.same) :], strict=True):
        expect_change(value, before, action, crystal=where)
    return largest
