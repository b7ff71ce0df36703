"""Splits, each with the claim that a test error under it supports (slides 34, 47, 50).

A test error without the axis along which the test set was held out cannot be interpreted. A random split
says how a model does on crystals like the known ones; a split that keeps a whole family of compounds back
says how it does on new chemistry.

Read in order: `Split`, `random_split`, `composition_split`, `family_split`, `chemistry_family`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FAMILIES = (  # the first match decides, so an oxyfluoride is an oxide
    ("oxide", {"O"}),
    ("halide", {"F", "Cl", "Br", "I"}),
    ("chalcogenide", {"S", "Se", "Te"}),
    ("nitride", {"N"}),
    ("pnictide", {"P", "As", "Sb", "Bi"}),
    ("carbide", {"C"}),
    ("hydride", {"H"}),
    ("boride", {"B"}),
    ("silicide or germanide", {"Si", "Ge"}),
)


class SharedComposition(ValueError):
    """One composition on both sides of a split that promises new compositions (slide 47)."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the training, validation and test part, and the claim that the test error supports
    (slide 47).

    Errors: ValueError when a part is empty or a row is in two parts.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    claim: str

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            if len(getattr(self, part)) == 0:
                raise ValueError(f"the {part} part is empty; use more rows or other fractions")
        rows, count = np.unique(np.concatenate([self.train, self.validation, self.test]), return_counts=True)
        if (count > 1).any():
            raise ValueError(f"row {rows[count > 1][0]} is in more than one part of the split")

    def __str__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        return f"{sizes}; supports the claim: {self.claim}"


def random_split(n_rows: int, *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Split:
    """Rows dealt at random; fractions of all rows (slides 24, 47).

    Errors: ValueError when a part would be empty.
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    n_test, n_validation = round(test * n_rows), round(validation * n_rows)
    parts = np.split(order, [n_test, n_test + n_validation])
    return Split(
        parts[2], parts[1], parts[0], "new crystals like the known ones, polymorphs of them included"
    )


def composition_split(
    formulas: Sequence[str], *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Compositions dealt at random, all polymorphs of one on the same side; fractions of the compositions
    (slide 47).

    Errors: ValueError when a part would be empty.
    """
    reduced = reduced_formulas(formulas)
    rest, test_rows = _deal_groups(np.arange(len(reduced)), reduced, test, seed)
    train, validation_rows = _deal_groups(rest, reduced, validation / (1.0 - test), seed)
    split = Split(train, validation_rows, test_rows, "new compositions of known chemistry")
    refuse_shared_compositions(split, formulas)
    return split


def family_split(
    formulas: Sequence[str], *, hold_out: str = "oxide", validation: float = 0.1, seed: int = 0
) -> Split:
    """One chemistry family is the test part; the rest is split by composition into training and validation
    (slide 50).

    Errors: ValueError for a family that the formulas do not contain, with those that they do.
    """
    families = np.array([chemistry_family(formula) for formula in formulas])
    if hold_out not in families:
        raise ValueError(f"no {hold_out!r} among the formulas; the families are {sorted(set(families))}")
    reduced = reduced_formulas(formulas)
    train, validation_rows = _deal_groups(np.flatnonzero(families != hold_out), reduced, validation, seed)
    test_rows = np.flatnonzero(families == hold_out)
    split = Split(train, validation_rows, test_rows, f"new chemistry: no {hold_out} was seen in training")
    refuse_shared_compositions(split, formulas)
    return split


def chemistry_family(formula: str) -> str:
    """The family by anion, "oxide" for whatever contains O, then halides and so on; "intermetallic" if
    none (slides 47, 50)."""
    from pymatgen.core import Composition

    elements = {element.symbol for element in Composition(formula).elements}
    return next((family for family, anions in FAMILIES if elements & anions), "intermetallic")


def reduced_formulas(formulas: Sequence[str]) -> np.ndarray:
    """One spelling for each composition: "Si2O4" and "O2Si" both become "SiO2" (slide 47)."""
    from pymatgen.core import Composition

    return np.array([Composition(formula).reduced_formula for formula in formulas])


def refuse_shared_compositions(split: Split, formulas: Sequence[str]) -> None:
    """Errors: `SharedComposition`, if a composition of the test or validation part is in another part too
    (slide 47)."""
    reduced = reduced_formulas(formulas)
    parts = {part: set(reduced[getattr(split, part)]) for part in ("train", "validation", "test")}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if shared := sorted(parts[one] & parts[other]):
            raise SharedComposition(
                f"{shared[0]} is in the {one} and in the {other} part ({len(shared)} such compositions): "
                "keep all polymorphs of a composition on one side, as composition_split does"
            )


def _deal_groups(
    rows: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows without and with `fraction` of their groups."""
    from sklearn.model_selection import GroupShuffleSplit

    dealer = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    kept, taken = next(dealer.split(rows, groups=groups[rows]))
    return rows[kept], rows[taken]
