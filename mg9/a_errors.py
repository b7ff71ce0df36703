"""Bad crystals, each with an error of its own (slide 05): what is wrong, at which site of which crystal, and
what to do.

Read in order: the errors, `atomic_numbers` (what can be refused before neighbours are known),
`refuse_odd_distances` (what can be refused after); `atoms_of_molecule` and `refuse_one_place`, the same for
molecules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

N_ELEMENTS = 100
SAME_PLACE = 0.1  # Å: nearer than this, two atoms are one


class CrystalError(ValueError):
    """A structure from which no graph can be built (slide 05)."""


class PartialOccupancy(CrystalError):
    """A site holds a mixture of elements, or is sometimes empty (slide 05)."""


class UnknownElement(CrystalError):
    """A site holds something that is none of the elements 1 to 100 (slide 05)."""


class NotFinite(CrystalError):
    """A coordinate or a lattice vector is NaN or infinite (slide 05)."""


class FlatCell(CrystalError):
    """The three lattice vectors lie in a plane, or nearly so: no room for the atoms (slide 05)."""


class AtomsCoincide(CrystalError):
    """Two atoms are in one place (slide 05)."""


class NoNeighbours(CrystalError):
    """An atom has no neighbour within the cutoff (slide 05)."""


class UnreadableFile(CrystalError):
    """A file that does not parse as a crystal (slide 05)."""


class EmptyList(CrystalError):
    """There is no crystal, or no atom, to build from (slide 05)."""


def atomic_numbers(structure: Structure, name: str) -> np.ndarray:
    """Z of every site (N,), after the checks that need no neighbours (slide 05).

    Errors: `EmptyList`, `PartialOccupancy`, `UnknownElement`, `NotFinite`, `FlatCell`.
    """
    if len(structure) == 0:
        raise EmptyList(f"{name or 'structure'}: no atoms; give a structure with at least one site")
    numbers = []
    for site, occupants in enumerate(structure.species_and_occu):
        element, occupancy = next(iter(occupants.items()))
        if len(occupants) != 1 or abs(occupancy - 1.0) > 1e-6:
            advice = "order it with pymatgen's OrderDisorderedStructureTransformation, or drop it"
            where = f"{_label(structure, name)}, site {site} ({occupants})"
            raise PartialOccupancy(f"{where}: partial occupancy; {advice}")
        number = getattr(element, "Z", 0)
        if type(element).__name__ == "DummySpecies" or not 1 <= number <= N_ELEMENTS:
            advice = f"not one of the elements 1 to {N_ELEMENTS}; replace it"
            raise UnknownElement(f"{_label(structure, name)}, site {site} ({element}): {advice}")
        numbers.append(number)
    if not np.isfinite(structure.lattice.matrix).all():
        raise NotFinite(f"{_label(structure, name)}: a lattice vector is NaN or infinite; mend the cell")
    if structure.volume < len(structure):
        advice = "less than 1 Å³ for each atom: the lattice vectors nearly lie in a plane; mend the cell"
        raise FlatCell(f"{_label(structure, name)}: {advice}")
    if not np.isfinite(structure.frac_coords).all():
        where = _site(structure, first_bad_row(structure.frac_coords))
        raise NotFinite(f"{_label(structure, name)}, {where}: a coordinate is NaN or infinite; mend it")
    return np.array(numbers, dtype=np.int64)


def refuse_odd_distances(
    structure: Structure, i: np.ndarray, j: np.ndarray, distance: np.ndarray, cutoff: float, name: str
) -> None:
    """Errors `AtomsCoincide` and `NoNeighbours` (slide 05), from the neighbours i, j, distance (E,) in Å."""
    if len(distance) and distance.min() < SAME_PLACE:
        nearest = int(np.argmin(distance))
        where = f"{_label(structure, name)}: {_site(structure, i[nearest])}"
        if i[nearest] == j[nearest]:
            advice = "the cell is too small; check the lattice vectors and their unit (Å)"
            raise AtomsCoincide(f"{where} is {distance[nearest]:.3f} Å from its own periodic image: {advice}")
        advice = f"are {distance[nearest]:.3f} Å apart; delete one of them (Structure.merge_sites)"
        raise AtomsCoincide(f"{where} and {_site(structure, j[nearest])} {advice}")
    count = np.bincount(i, minlength=len(structure))
    if count.min() == 0:
        where = _site(structure, np.argmin(count))
        advice = "raise the cutoff or check the cell"
        raise NoNeighbours(f"{_label(structure, name)}, {where}: no neighbour within {cutoff} Å; {advice}")


def atoms_of_molecule(z: Sequence[int], pos: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """z (N,) and pos (N, 3) of a molecule as arrays (slide 05).

    Errors: `EmptyList`, `CrystalError` for unequal lengths, `NotFinite`, `UnknownElement`.
    """
    z, pos = np.asarray(z, dtype=np.int64), np.asarray(pos, dtype=float).reshape(-1, 3)
    label = name or "molecule"
    if len(z) == 0:
        raise EmptyList(f"{label}: no atoms; give at least one atomic number and position")
    if len(z) != len(pos):
        raise CrystalError(
            f"{label}: {len(z)} atomic numbers but {len(pos)} positions; give one of each per atom"
        )
    if not np.isfinite(pos).all():
        raise NotFinite(
            f"{label}, atom {first_bad_row(pos)}: a coordinate is NaN or infinite; mend the input"
        )
    if not ((z >= 1) & (z <= N_ELEMENTS)).all():
        bad = int(np.flatnonzero((z < 1) | (z > N_ELEMENTS))[0])
        raise UnknownElement(f"{label}, atom {bad}: atomic number {z[bad]} is not in 1 to {N_ELEMENTS}")
    return z, pos


def refuse_one_place(i: np.ndarray, j: np.ndarray, distance: np.ndarray, label: str) -> None:
    """Error `AtomsCoincide` (slide 05) for two atoms of a molecule, given its edges (E,)."""
    if len(distance) and distance.min() < SAME_PLACE:
        a = int(np.argmin(distance))
        raise AtomsCoincide(
            f"{label}: atoms {i[a]} and {j[a]} are {distance[a]:.3f} Å apart; delete one of them"
        )


def refuse_bad_limits(cutoff: float, neighbors: int = 1) -> None:
    """Error `CrystalError` (slide 05) for a cutoff (Å) or a number of neighbours that leaves no edges."""
    if not 0 < cutoff < np.inf:
        raise CrystalError(f"the cutoff is {cutoff} Å; give a positive number, 8.0 for instance")
    if neighbors < 1:
        raise CrystalError(f"neighbors is {neighbors}; ask for at least one neighbour of each atom")


def first_bad_row(values: np.ndarray) -> int:
    """The first row of values (N, 3) that is not finite (slide 05)."""
    return int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])


def _label(structure: Structure, name: str) -> str:
    return name or structure.formula


def _site(structure: Structure, site: int | np.integer) -> str:
    return f"site {site} ({structure[int(site)].specie})"
