"""The check of a network that is put together from a student's parts (slides 08, 23).

The network is put together here, where the check runs: the student's process is asked for one part at a time,
never for an energy, so that no other energy can take the network's place.

Read in order: `Parts`, `energies` (slide 23 once more), `holds_symmetries`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, figures, register
from mg9.checks.tools import KNOWN, Neighbors, expect_change, expect_tensor, known_crystals, neighbors

if TYPE_CHECKING:
    from pymatgen.core import Structure

F, K, LAYERS = 16, 41, 3  # features, Gaussians, convolutions


class Parts(NamedTuple):
    """What goes into the five slots, in the order of the notebook."""

    displacements: Callable
    whole_shells: Callable
    one_hot: Callable
    gaussian_basis: Callable
    convolution: type
    readout: Callable


@register(
    "model.symmetries",
    slide=8,
    outcome=1,
    cause="something other than Z, distances and neighbours goes in, or a step above is not yet right",
)
def symmetries(
    student: Local,
    rng: np.random.Generator,
    displacements: Callable,
    whole_shells: Callable,
    one_hot: Callable,
    gaussian_basis: Callable,
    convolution: type,
    readout: Callable,
) -> str:
    parts = Parts(displacements, whole_shells, one_hot, gaussian_basis, convolution, readout)
    model = network(student, parts)
    worst = max(holds_symmetries(model, rng, name, s) for name, s in known_crystals(*KNOWN[:3]))
    return f"rotated, moved, wrapped, renumbered, doubled: the energy changes by at most {worst:.0e} eV/atom"


def network(student: Local, parts: Parts) -> Callable[[Sequence[Neighbors]], Tensor]:
    """Crystals -> energies per atom (B,), by the student's parts with random weights."""
    layers = [
        student.make(parts.convolution, seed, torch.float64, features=F, edge_features=K)
        for seed in range(LAYERS)
    ]
    return lambda crystals: energies(student, parts, layers, crystals)


def energies(student: Local, parts: Parts, layers: Sequence[Any], crystals: Sequence[Neighbors]) -> Tensor:
    """The energies per atom (B,) of one batch, in eV as much as random weights have a unit."""
    atoms = torch.tensor([len(c.z) for c in crystals])
    first, (n, b) = torch.cumsum(atoms, 0) - atoms, (int(atoms.sum()), len(crystals))
    distance = []
    for c in crystals:
        r_ij = student.call(parts.displacements, c.pos, c.cell, c.edge_index, c.shift)
        distance.append(expect_tensor(r_ij, (len(c.shift), 3), "r_ij").double().norm(dim=1))
    r = torch.cat(distance)
    edge_index = torch.cat([c.edge_index + k for c, k in zip(crystals, first, strict=True)], dim=1)
    mask = student.call(parts.whole_shells, edge_index[1], r, 12)
    keep = expect_tensor(mask, (len(r),), "the mask of whole_shells").bool()
    edge_index, r = edge_index[:, keep], r[keep]

    weights = torch.Generator().manual_seed(0)
    embed, hidden = (torch.randn(size, generator=weights, dtype=torch.float64) for size in ((100, F), (F, F)))
    z = torch.cat([c.z for c in crystals])
    v = expect_tensor(student.call(parts.one_hot, z), (n, 100), "the one-hot rows").double() @ embed
    mu = torch.linspace(0.0, 8.0, K, dtype=torch.float64)
    u = expect_tensor(student.call(parts.gaussian_basis, r, mu, 25.0), (len(r), K), "u").double()
    for layer in layers:
        v = expect_tensor(student.call(layer, v, u, edge_index), (n, F), "v'").double()
    contributions = softplus(v @ hidden).mean(dim=1)
    batch = torch.repeat_interleave(torch.arange(b), atoms)
    return expect_tensor(student.call(parts.readout, contributions, batch, b), (b,), "the energies").double()


def holds_symmetries(
    model: Callable[[Sequence[Neighbors]], Tensor],
    rng: np.random.Generator,
    name: str,
    structure: Structure,
) -> float:
    """The largest change of the energy (eV/atom) under the symmetries of slide 08; none may exceed 1e-6."""
    n = len(structure)
    element = "Si" if structure[0].specie.symbol != "Si" else "Ge"
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
    }
    crystals = [neighbors(s, name) for s in (structure, *same.values(), *other.values())]
    order = rng.permutation(len(crystals))  # which is which is nobody's business but the check's
    values = torch.empty(len(crystals), dtype=torch.float64)
    values[torch.from_numpy(order)] = model([crystals[k] for k in order])
    before, largest = values[0], 0.0

    def turned(turns: list[np.ndarray]) -> Tensor:
        return model([neighbors(b_symmetry.rotate(structure, R), name) for R in turns])

    for action, value in zip(same, values[1:], strict=False):
        change = float((value - before).abs())
        largest = max(largest, change)
        if change > 1e-6:
            raise CheckFailed(
                f"{action} changed the energy by {change:.2g} eV/atom",
                crystal=name,
                expected="0 eV/atom",
                got=f"{change:.3g} eV/atom",
                figure=figures.rotation(turned, "eV/atom") if action == "rotating it" else None,
            )
    for action, value in zip(other, values[1 + len(same) :], strict=True):
        expect_change(value, before, action, crystal=name)
    return largest
