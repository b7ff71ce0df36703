"""Splits, each with the claim that a test error under it supports (slides 34, 47, 50).

A test error without the axis along which the test set was held out cannot be interpreted. A random split
says how a model does on crystals like the known ones; a split that keeps a whole family of compounds back
says how it does on new chemistry.

    random_split, stratified_split    like the known ones     family_split     new chemistry
    composition_split                 new compositions        prototype_split  new structure types
    system_split                      new sets of elements

Read in order: `Split`, `random_split`, `composition_split`, `family_split`, then the others. A new element,
the worst cluster, and what is calculated next are in `held_out.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mg9.groups import (
    chemical_systems,
    chemistry_family,
    effective_sample_size,
    pooled,
    prototypes,
    reduced_formulas,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure


class SharedComposition(ValueError):
    """One composition on both sides of a split that promises new compositions (slide 47)."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the training, validation and test part, and the claim that the test error supports
    (slide 47).

    groups: for every row of the table the group that is kept on one side, None where rows are dealt singly;
    note: what a reader should know beside the claim; polymorphs: the claim allows a composition in two parts.
    Errors: ValueError when a part is empty, or a row is in two parts or negative.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    claim: str
    groups: np.ndarray | None = None
    note: str = ""
    polymorphs: bool = False

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            if len(getattr(self, part)) == 0:
                raise ValueError(f"the {part} part is empty; use more rows or other fractions")
        rows, count = np.unique(np.concatenate([self.train, self.validation, self.test]), return_counts=True)
        if (count > 1).any():
            raise ValueError(f"row {rows[count > 1][0]} is in more than one part of the split")
        if rows[0] < 0:
            raise ValueError(f"row {rows[0]} is counted from the end; count from the first row, which is 0")

    @property
    def effective_sample_size(self) -> float:
        """Of the test part (slide 47): how many independent groups its rows are worth, see
        `mg9.groups.effective_sample_size`. With one family held out it is 1: one look at new chemistry."""
        return float(len(self.test)) if self.groups is None else effective_sample_size(self.groups[self.test])

    def __str__(self) -> str:
        sizes = f"{len(self.train)} train, {len(self.validation)} validation, {len(self.test)} test"
        size = f"effective sample size of the test part {self.effective_sample_size:.4g}"
        note = f"; {self.note}" if self.note else ""
        return f"{sizes}; supports the claim: {self.claim}; {size}{note}"


def random_split(n_rows: int, *, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> Split:
    """Rows dealt at random; fractions of all rows (slides 24, 47).

    Errors: ValueError when a part would be empty.
    """
    order = np.random.default_rng(seed).permutation(n_rows)
    n_test, n_validation = round(test * n_rows), round(validation * n_rows)
    parts = np.split(order, [n_test, n_test + n_validation])
    claim = "new crystals like the known ones, polymorphs of them included"
    return Split(parts[2], parts[1], parts[0], claim, polymorphs=True)


def stratified_split(
    target: Sequence[float], *, bins: int = 10, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Rows dealt at random within quantile bins of the target: each part has its distribution (slide 47).

    target (n_rows,), finite; fractions of all rows. Errors: ValueError for a target that is not finite, and
    when a bin is too small to be dealt.
    """
    from sklearn.model_selection import train_test_split

    values = np.asarray(target, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(
            f"the target of row {np.flatnonzero(~np.isfinite(values))[0]} is not finite; drop it"
        )
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    which = np.searchsorted(edges, values)
    rows = np.arange(len(values))
    rest, test_rows = train_test_split(rows, test_size=test, stratify=which, random_state=seed)
    train, validation_rows = train_test_split(
        rest, test_size=validation / (1.0 - test), stratify=which[rest], random_state=seed
    )
    claim = "new crystals like the known ones, polymorphs of them included, with the same range of the target"
    return Split(train, validation_rows, test_rows, claim, polymorphs=True)


def composition_split(
    formulas: Sequence[str], *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Compositions dealt at random, all polymorphs of one on the same side; fractions of the compositions
    (slide 47).

    Errors: ValueError when a part would be empty.
    """
    claim = "new compositions of known chemistry"
    return _deal_all(reduced_formulas(formulas), "compositions", claim, validation, test, seed)


def system_split(
    formulas: Sequence[str], *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Chemical systems (sets of elements) dealt at random; fractions of the systems (slide 47).

    Errors: ValueError when a part would be empty.
    """
    claim = "new sets of elements, each element known from others"
    return _deal_all(chemical_systems(formulas), "chemical systems", claim, validation, test, seed)


def prototype_split(
    structures: Sequence[Structure], *, validation: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Structure types dealt at random (`mg9.groups.prototypes`); fractions of the types, which differ in size
    (slide 47). A composition may be on both sides, with another structure.

    Errors: ValueError when a part would be empty.
    """
    claim = "new structure types, of compositions that may be known"
    return _deal_all(
        prototypes(structures), "structure types", claim, validation, test, seed, polymorphs=True
    )


def family_split(
    formulas: Sequence[str], *, hold_out: str = "oxide", validation: float = 0.1, seed: int = 0
) -> Split:
    """One chemistry family is the test part; the rest is split by composition into training and validation
    (slide 50). "other" stands for all families with fewer than ten members.

    Errors: ValueError for a family that the formulas do not contain, with those that they do.
    """
    families = np.array([chemistry_family(formula) for formula in formulas])
    names = pooled(families) if hold_out == "other" else families
    if hold_out not in names:
        raise ValueError(
            f"no {hold_out!r} among the formulas; the families are {', '.join(sorted(set(families)))}"
        )
    claim = f"new chemistry: no {hold_out} was seen in training"
    return hold_out_rows(formulas, names == hold_out, names, claim, validation, seed)


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


def _deal_all(
    groups: np.ndarray,
    what: str,
    claim: str,
    validation: float,
    test: float,
    seed: int,
    *,
    polymorphs: bool = False,
) -> Split:
    """All groups dealt at random to the three parts; the note says whether that is harder than random."""
    rest, test_rows = deal_groups(np.arange(len(groups)), groups, test, seed)
    train, validation_rows = deal_groups(rest, groups, validation / (1.0 - test), seed)
    number = len(set(groups))
    note = f"{number:,} {what} in {len(groups):,} rows"
    if number > 0.8 * len(groups):
        note += ": nearly every row is a group of its own, so this is hardly harder than a random split"
    return Split(train, validation_rows, test_rows, claim, groups, note, polymorphs)


def hold_out_rows(
    formulas: Sequence[str], held: np.ndarray, groups: np.ndarray, claim: str, validation: float, seed: int
) -> Split:
    """The rows where `held` is true are the test part, the others are dealt by composition (slide 47)."""
    reduced = reduced_formulas(formulas)
    train, validation_rows = deal_groups(np.flatnonzero(~held), reduced, validation, seed)
    return Split(train, validation_rows, np.flatnonzero(held), claim, groups)


def deal_groups(
    rows: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows without and with `fraction` of their groups (slide 47)."""
    from sklearn.model_selection import GroupShuffleSplit

    if len(rows) == 0:
        return rows, rows  # the part that this leaves empty is named by Split
    dealer = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
    kept, taken = next(dealer.split(rows, groups=groups[rows]))
    return rows[kept], rows[taken]
