"""The symmetries of a crystal as actions (slides 08 to 11).

Each function takes a structure and returns another description of the same crystal: a property must not
notice. The last two return another crystal: a property that does not notice those is a constant, not an
invariant.

Read in order: `rotate`, `translate`, `wrap`, `permute`, `supercell`; then `stretch` and `exchange`; then
`symmetry_error`, which asks a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    Action = Callable[[Structure, np.random.Generator], Structure]
    Predict = Callable[[list[Structure]], Sequence[float]]


def random_rotation(rng: np.random.Generator, *, reflect: bool = False) -> np.ndarray:
    """A rotation matrix (3, 3), uniform over SO(3); with reflect, a rotation times the inversion (slides
    08, 10)."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q = q * np.sign(np.linalg.det(q))
    return -q if reflect else q


def rotate(structure: Structure, rotation: np.ndarray) -> Structure:
    """Lattice and atoms turned by an orthogonal matrix (3, 3) (slide 08)."""
    return _rebuilt(structure, structure.lattice.matrix @ rotation.T, structure.frac_coords)


def translate(structure: Structure, vector: Sequence[float]) -> Structure:
    """All atoms moved by a vector (3,) in Å, the lattice left where it is (slide 08)."""
    shift = structure.lattice.get_fractional_coords(vector)
    return _rebuilt(structure, structure.lattice.matrix, structure.frac_coords + shift)


def wrap(structure: Structure, site: int, lattice_vectors: Sequence[int]) -> Structure:
    """One atom moved by whole lattice vectors: it is now described by another of its images (slides 08,
    11)."""
    moved = structure.frac_coords.copy()
    moved[site] += np.asarray(lattice_vectors)
    return _rebuilt(structure, structure.lattice.matrix, moved)


def permute(structure: Structure, order: Sequence[int]) -> Structure:
    """The atoms numbered in another order (slide 08)."""
    from pymatgen.core import Structure

    species = [structure.species[k] for k in order]
    return Structure(structure.lattice, species, structure.frac_coords[list(order)])


def supercell(structure: Structure, repeats: Sequence[int]) -> Structure:
    """The cell repeated along its lattice vectors: intensive properties stay, extensive ones multiply
    (slides 08, 22)."""
    return structure.make_supercell(repeats, in_place=False)


def stretch(structure: Structure, factor: float) -> Structure:
    """Another crystal: every length multiplied by the factor (slide 08)."""
    return _rebuilt(structure, structure.lattice.matrix * factor, structure.frac_coords)


def exchange(structure: Structure, site: int, element: str) -> Structure:
    """Another crystal: the element at one site replaced (slide 08)."""
    from pymatgen.core import Structure

    species = list(structure.species)
    species[site] = element
    return Structure(structure.lattice, species, structure.frac_coords)


ACTIONS: dict[str, Action] = {
    "translation": lambda structure, rng: translate(structure, rng.uniform(-5, 5, size=3)),
    "rotation": lambda structure, rng: rotate(structure, random_rotation(rng)),
    "permutation": lambda structure, rng: permute(structure, rng.permutation(len(structure))),
    "wrap": lambda structure, rng: wrap(
        structure, rng.integers(len(structure)), rng.choice([-2, -1, 1, 2], 3)
    ),
    "supercell": lambda structure, rng: supercell(structure, rng.permutation([2, 1, 1])),
}


def symmetry_error(
    predict: Predict,
    structures: Sequence[Structure],
    rng: np.random.Generator,
    *,
    actions: Mapping[str, Action] = ACTIONS,
) -> dict[str, np.ndarray]:
    """How much a prediction changes when the same crystal is described in another way (slide 08).

    predict: structures to one number each (M,), of an intensive property. Returns for each action
    |predict(action(structure)) - predict(structure)|, (M,), in the unit of predict; each structure meets
    another random rotation, translation, ... drawn from rng.
    Errors: ValueError when predict does not give one finite number for each structure.
    """
    from tqdm.auto import tqdm

    expected = _finite(predict, structures)
    steps = tqdm(actions.items(), desc="symmetry", unit="action", delay=2, leave=False)
    return {
        name: np.abs(_finite(predict, [action(one, rng) for one in structures]) - expected)
        for name, action in steps
    }


def _finite(predict: Predict, structures: Sequence[Structure]) -> np.ndarray:
    values = np.asarray(predict(list(structures)), dtype=float)
    if values.shape != (len(structures),) or not np.isfinite(values).all():
        raise ValueError(
            f"predict gave an array of shape {values.shape} with {int((~np.isfinite(values)).sum())} NaN or "
            f"infinite entries for {len(structures)} structures; it must give one finite number for each"
        )
    return values


def _rebuilt(structure: Structure, matrix: np.ndarray, fractional: np.ndarray) -> Structure:
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(matrix), structure.species, fractional)
