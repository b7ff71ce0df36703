"""Two descriptions of one crystal, and what is asked of whoever says that they are (slides 08, 11, 22).

A transformation is itself a test, so two things are asked of it: that it leaves the crystal the same (all
distances, and the energy of a right model), and that it can fail (a model with the fault that it is for
changes its energy). The faulty models are in `faulty.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, faulty
from mg9.checks.tools import expect_tensor, known_crystals, random_crystals


@dataclass(frozen=True)
class Crystal:
    """One description: z (N,), pos (N, 3) Å, cell (3, 3) Å with the lattice vectors as rows."""

    name: str
    z: np.ndarray
    pos: np.ndarray
    cell: np.ndarray


def distorted(rng: np.random.Generator, name: str, structure: Any) -> Crystal:
    """The crystal with every atom moved and the cell strained at random: no symmetry or right angle of its
    own is left to hide a mistake."""
    strain = np.eye(3) + rng.normal(scale=0.03, size=(3, 3))
    z, cell = np.array(structure.atomic_numbers), structure.lattice.matrix @ strain
    pos = structure.cart_coords @ strain + rng.normal(scale=0.06, size=(len(z), 3))
    return Crystal(f"{name}, distorted at random", z, pos, cell)


def known(rng: np.random.Generator) -> list[Crystal]:
    """Wurtzite ZnO and CaTiO3, distorted."""
    return [distorted(rng, name, structure) for name, structure in known_crystals("mp-2133", "mp-5827")]


def drawn(rng: np.random.Generator) -> list[Crystal]:
    """Three crystals of the default set, distorted."""
    return [distorted(rng, name, structure) for name, structure in random_crystals(rng, 3, most_atoms=8)]


def transformed(student: Local, function: Callable, c: Crystal, *how: Any, copies: int = 1) -> Crystal:
    """What the student's function made of the crystal, if it is a crystal of as many atoms."""
    got = student.call(function, c.z, c.pos, c.cell, *how)
    if got is None:
        raise CheckFailed("None came back: is the return statement missing?")
    if not isinstance(got, tuple | list) or len(got) != 3:
        found = f"{type(got).__name__} of {len(got)}" if isinstance(got, tuple | list) else type(got).__name__
        raise CheckFailed("three arrays are wanted", expected="z, pos, cell", got=found)
    same = all(np.array_equal(one, two) for one, two in zip(got, (c.z, c.pos, c.cell), strict=True))
    if same:
        raise CheckFailed("this test cannot fail: it left the crystal as it was", crystal=c.name)
    n = copies * len(c.z)
    z, pos, cell = (
        expect_tensor(value, shape, what).numpy().astype(float)
        for value, shape, what in zip(got, [(n,), (n, 3), (3, 3)], ("z", "pos", "cell"), strict=True)
    )
    if np.abs(z - np.rint(z)).max() > 0:
        raise CheckFailed("z holds atomic numbers", expected="whole numbers", got=z[:3])
    other = Crystal(c.name, np.rint(z).astype(int), pos, cell)
    return other


def holds_same(c: Crystal, other: Crystal, copies: int = 1) -> None:
    """Two descriptions have the same volume for each atom, elements, and distances between them."""
    before, after = (abs(float(np.linalg.det(x.cell))) for x in (c, other))
    if abs(after - copies * before) > 1e-6 * before:
        raise CheckFailed(
            "not a symmetry: the cell has another volume",
            crystal=c.name,
            expected=f"{copies * before:.3f} Å³",
            got=f"{after:.3f} Å³",
        )
    if sorted(other.z) != sorted(np.repeat(c.z, copies)):
        raise CheckFailed(
            "not a symmetry: there are other elements, or other numbers of them", crystal=c.name
        )
    one, two = distances(c), distances(other)
    for pair in sorted(one.keys() | two.keys()):
        wanted, got = np.repeat(one.get(pair, np.empty(0)), copies), two.get(pair, np.empty(0))
        number = min(len(wanted), len(got))
        off = np.abs(wanted[:number] - got[:number]) > 1e-6
        if len(wanted) != len(got) or off.any():
            at = int(off.argmax()) if off.any() else number
            raise CheckFailed(
                f"not a symmetry: the distances between {pair[0]} and {pair[1]} are others",
                crystal=c.name,
                expected=_entry(wanted, at),
                got=_entry(got, at),
            )


def distances(c: Crystal) -> dict[tuple[str, str], np.ndarray]:
    """The sorted distances (Å) up to the cutoff for each pair of elements."""
    from pymatgen.core import Element

    from mg9.a_errors import CrystalError

    try:
        i, j, r_ij = faulty.neighbours(c.z, c.pos, c.cell)
    except (CrystalError, ValueError) as error:
        raise CheckFailed(
            f"not a symmetry: what came back is no crystal ({error})", crystal=c.name
        ) from error
    r = np.linalg.norm(r_ij, axis=1)
    i, j, r = (x[r < faulty.CUTOFF - 1e-5] for x in (i, j, r))
    symbol = {int(z): Element.from_Z(int(z)).symbol for z in set(c.z)}
    pairs = {(int(a), int(b)) for a, b in zip(c.z[i], c.z[j], strict=True) if a <= b}
    return {
        (symbol[a], symbol[b]): np.sort(r[(c.z[i] == a) & (c.z[j] == b)])
        for a, b in pairs
    }  # fmt: skip


def change_of(model: str, c: Crystal, other: Crystal, copies: int = 1) -> float:
    """How much another description changes a model's energy, in eV per atom."""
    energy = faulty.MODELS[model]
    expected = energy(c.z, c.pos, c.cell) * (copies if model in faulty.TOTAL else 1)
    return abs(energy(other.z, other.pos, other.cell) - expected)


def expect_caught(model: str, pairs: Sequence[tuple[Crystal, Crystal]], copies: int = 1) -> str:
    """What the check says, if a right model keeps its energy and the faulty one does not."""
    kept = max(change_of("right", *pair, copies) for pair in pairs)
    if kept > 1e-8:
        raise CheckFailed(
            "not a symmetry: the energy of a right model changes",
            crystal=pairs[0][0].name,
            expected="0 eV/atom",
            got=f"{kept:.2g} eV/atom",
        )
    caught = max(change_of(model, *pair, copies) for pair in pairs)
    if caught < 1e-6:
        raise CheckFailed(f"this test cannot fail: the faulty model {model!r} passes it")
    return f"a right model changes by {kept:.0e} eV/atom, {model} by {caught:.2g}"


def expect_cell(other: Crystal, wanted: np.ndarray, mistakes: dict[str, np.ndarray]) -> None:
    """The lattice vectors that were asked for; a usual mistake is called by its name."""
    for mistake, wrong in mistakes.items():
        if near(other.cell, wrong) and not near(wrong, wanted):
            raise CheckFailed(mistake, crystal=other.name)
    if not near(other.cell, wanted):
        k = int(np.abs(other.cell - wanted).max(axis=1).argmax())
        raise CheckFailed(
            f"lattice vector {'abc'[k]} (row {k} of cell) is another one than was asked for",
            crystal=other.name,
            expected=in_angstrom(wanted[k]),
            got=in_angstrom(other.cell[k]),
        )


def expect_pos(other: Crystal, wanted: np.ndarray, what: str, mistakes: dict[str, np.ndarray]) -> None:
    """The positions that were asked for."""
    for mistake, wrong in mistakes.items():
        if near(other.pos, wrong) and not near(wrong, wanted):
            raise CheckFailed(mistake, crystal=other.name)
    if near(other.pos, wanted):
        return
    n = int(np.abs(other.pos - wanted).max(axis=1).argmax())
    steps = (other.pos - wanted) @ np.linalg.inv(other.cell)
    if near(steps, np.rint(steps)):
        what = "atoms were folded back into the cell: that is a second symmetry, leave them where they are"
    raise CheckFailed(
        f"{what} (atom {n})",
        crystal=other.name,
        expected=in_angstrom(wanted[n]),
        got=in_angstrom(other.pos[n]),
    )


def near(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(np.abs(one - other).max() < 1e-6)


def _entry(values: np.ndarray, number: int) -> str:
    return f"{values[number]:.3f} Å" if number < len(values) else "none within the cutoff"


def in_angstrom(v: np.ndarray) -> str:
    return "(" + ", ".join(f"{float(x):.3f}" for x in v) + ") Å"
