"""The symmetries of a crystal as actions, and how far a function is from respecting them (slides 08 to 11).

    invariant     f(action(x)) = f(x)            energy, band gap, bulk modulus
    extensive     f(n copies of x) = n f(x)      total energy, magnetisation
    equivariant   f(R x) = R f(x)                forces, dipole; R T R^T for tensors: stress, dielectric

Each action gives another description of the same crystal: a property must not notice, or must turn along.
`stretch` and `exchange` give another crystal: a property that does not notice those is a constant, not an
invariant.

Read in order: `rotate`, `translate`, `wrap`, `another_cell`, `permute`, `supercell`; then `stretch` and
`exchange`; `Moved` and `ACTIONS` (an action with what it does to a result); `error_under`, which asks any
function; `symmetry_error`, the same for a model that predicts many numbers at once; `augmented`, the rival
way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    Action = Callable[[Structure, np.random.Generator], "Moved"]
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


def another_cell(structure: Structure, matrix: np.ndarray) -> Structure:
    """The same lattice spanned by other vectors, matrix @ L (slides 08, 11); atoms stay where they are.

    matrix (3, 3): integers with determinant 1 or -1. Errors: ValueError for any other.
    """
    matrix = np.asarray(matrix)
    if not np.array_equal(matrix, np.round(matrix)) or not np.isclose(abs(np.linalg.det(matrix)), 1):
        raise ValueError("another choice of cell is a matrix of integers with determinant 1 or -1")
    fractional = structure.frac_coords @ np.linalg.inv(matrix)
    return _rebuilt(structure, matrix @ structure.lattice.matrix, fractional)


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


@dataclass(frozen=True)
class Moved:
    """A crystal after an action, and what the action does to a result (slides 08, 09).

    rotation (3, 3): vectors become R v; atoms (N,): the atom with number k had number atoms[k] before;
    copies: how many times the crystal is there.
    """

    structure: Structure
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    atoms: np.ndarray | None = None
    copies: int = 1


def _turned(structure: Structure, rotation: np.ndarray) -> Moved:
    return Moved(rotate(structure, rotation), rotation=rotation)


def _renumbered(structure: Structure, order: np.ndarray) -> Moved:
    return Moved(permute(structure, order), atoms=order)


def _repeated(structure: Structure, repeats: np.ndarray) -> Moved:
    copies = int(np.prod(repeats))
    order = np.repeat(np.arange(len(structure)), copies)  # the copies of an atom stand together
    return Moved(supercell(structure, repeats), atoms=order, copies=copies)


def random_cell_change(rng: np.random.Generator) -> np.ndarray:
    """A matrix of integers (3, 3) with determinant 1 or -1, never the identity (slides 08, 11)."""
    a, b, c = rng.permutation(3)
    change = np.eye(3, dtype=int)
    change[a, b] = rng.choice([-1, 1])
    change[b, c] = rng.choice([-1, 0, 1])
    return change


ACTIONS: dict[str, Action] = {
    "translation": lambda one, rng: Moved(translate(one, rng.uniform(-5, 5, size=3))),
    "rotation": lambda one, rng: _turned(one, random_rotation(rng)),
    "permutation": lambda one, rng: _renumbered(one, rng.permutation(len(one))),
    "wrap": lambda one, rng: Moved(wrap(one, rng.integers(len(one)), rng.choice([-2, -1, 1, 2], 3))),
    "supercell": lambda one, rng: _repeated(one, rng.permutation([2, 1, 1])),
    "reflection": lambda one, rng: _turned(one, random_rotation(rng, reflect=True)),
    "another cell": lambda one, rng: Moved(another_cell(one, random_cell_change(rng))),
}

Kind = Literal["scalar", "extensive", "vector", "atom vectors", "tensor"]


def error_under(
    f: Callable[[Structure], object], structure: Structure, action: Moved, *, kind: Kind = "scalar"
) -> float:
    """The largest difference between f(action(x)) and what f(x) must become (slides 08, 09).

    f: a structure to an array; kind: how its result transforms. "scalar" stays; "extensive" is multiplied by
    the copies; "vector" (3,) becomes R v; "atom vectors" (N, 3) turn and follow their atoms; "tensor" (3, 3)
    becomes R T R^T. action: one of `ACTIONS` applied to the structure. Unit: that of f.
    """
    before = np.asarray(f(structure), dtype=float)
    R = action.rotation
    match kind:
        case "scalar":
            expected = before
        case "extensive":
            expected = before * action.copies
        case "vector":
            expected = R @ before
        case "atom vectors":
            expected = (before if action.atoms is None else before[action.atoms]) @ R.T
        case "tensor":
            expected = R @ before @ R.T
        case _:
            raise ValueError(f"kind is {kind!r}; choose scalar, extensive, vector, atom vectors or tensor")
    return float(np.abs(np.asarray(f(action.structure), dtype=float) - expected).max())


def augmented(structures: Sequence[Structure], copies: int, rng: np.random.Generator) -> list[Structure]:
    """Each structure in `copies` random orientations, one after the other (slide 08): a network that does not
    know the symmetry is shown it, and pays in data and time."""
    return [rotate(one, random_rotation(rng)) for one in structures for _ in range(copies)]


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
        name: np.abs(_finite(predict, [action(one, rng).structure for one in structures]) - expected)
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
