"""The ways in which a test part leaks into training (slide 47).

Read in order: `Leak`, `shared_compositions`, `straddling`, `duplicates`, `fitted_on`, `preprocessing`,
then `audited`, which goes through all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from mg9.groups import reduced_formulas
from mg9.report.models import take

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from mg9.report.study import Report
    from mg9.splits import Split


@dataclass(frozen=True)
class Leak:
    """One leakage path that is open (slide 47): its kind, and what was seen, with the crystals."""

    kind: str
    seen: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.seen}"


def shared_compositions(split: Split, formulas: Sequence[str]) -> dict[str, list[int]]:
    """The compositions in more than one part, each with its rows in all of them (slide 47)."""
    reduced, part = reduced_formulas(formulas), np.full(len(formulas), -1)
    for number, rows in enumerate((split.train, split.validation, split.test)):
        part[rows] = number
    rows_of: dict[str, list[int]] = {}
    for row in np.flatnonzero(part >= 0):
        rows_of.setdefault(str(reduced[row]), []).append(int(row))
    return {name: rows for name, rows in rows_of.items() if len(set(part[rows])) > 1}


def straddling(split: Split) -> list[str]:
    """The groups of the split that are in the test part and in another part (slide 47)."""
    if split.groups is None:
        return []
    seen = np.concatenate([split.train, split.validation])
    return sorted(set(split.groups[split.test].tolist()) & set(split.groups[seen].tolist()))


def duplicates(
    split: Split, formulas: Sequence[str], structures: Sequence[Structure]
) -> list[tuple[int, int]]:
    """Pairs (row in training or validation, row in test) of one structure, whatever cell describes it, by
    pymatgen's StructureMatcher with its default tolerances (slide 47)."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    in_test = np.zeros(len(formulas), dtype=bool)
    in_test[split.test] = True
    pairs = [
        (seen, tested)
        for rows in shared_compositions(split, formulas).values()
        for seen in rows
        for tested in rows
        if in_test[tested] and not in_test[seen]
    ]
    matcher = StructureMatcher()
    bar = tqdm(pairs, desc="looking for duplicates", unit="pair", delay=2, leave=False)
    return [(seen, tested) for seen, tested in bar if matcher.fit(structures[seen], structures[tested])]


def fitted_on(transformer: Any, inputs: Sequence, target: np.ndarray, split: Split) -> str:
    """On which rows a scikit-learn transformer was fitted (slide 47): "the training part", "all rows",
    "training and validation part", "other rows", or "none" where it learns nothing.

    It is fitted again on each of these and what it learned is compared: a scaler's mean, PCA's axes, the
    centres of k-means. inputs: what it was given, for all rows. "none" also where two such fits differ.
    """
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator

    if isinstance(transformer, FrozenEstimator):
        transformer = transformer.estimator
    blank = clone(transformer)

    def learned(rows: np.ndarray) -> dict[str, np.ndarray]:
        return _learned(clone(blank).fit(take(inputs, rows), target[rows]))

    both = np.concatenate([split.train, split.validation])
    here, train = _learned(transformer), learned(split.train)
    if not here or not _equal(train, learned(split.train)):
        return "none"
    choices = (("training and validation part", both), ("all rows", np.arange(len(target))))
    if _equal(here, train):
        return "the training part"
    return next((name for name, rows in choices if _equal(here, learned(rows))), "other rows")


def preprocessing(
    name: str, model: Any, inputs: Sequence, target: np.ndarray, split: Split
) -> Iterator[Leak]:
    """Leaks through preprocessing (slide 47): transformers inside a fitted pipeline, and inputs that were
    standardised or scaled over all rows before the pipeline saw them."""
    whole = (
        f"{name}: the inputs have been {{}} over all rows, the test part included; fit on the training part"
    )
    if how := _scaled_over_all(inputs, split):
        yield Leak("preprocessing", whole.format(how))
    current = inputs
    for label, step in getattr(model, "steps", [])[:-1]:
        if step is None or step == "passthrough":
            continue
        rows = fitted_on(step, current, target, split)
        if rows in ("all rows", "other rows"):
            advice = "fit it on the training part only"
            yield Leak("preprocessing", f"{name}: the step {label!r} was fitted on {rows}; {advice}")
        current = step.transform(current)


def audited(report: Report, post_relaxation: str) -> tuple[list[Leak], list[str]]:
    """The open paths of a report, and sentences on what was looked at (slide 47); see `Report.audit`."""
    split, ids = report.split, report.dataset.table.index
    shared = shared_compositions(split, report.formulas)
    pairs = duplicates(split, report.formulas, report.structures)
    leaks = [
        Leak(
            "duplicate structure", f"{ids[seen]} in training or validation is {ids[tested]} of the test part"
        )
        for seen, tested in pairs
    ]
    if both := straddling(split):
        leaks.append(Leak("group on both sides", f"{', '.join(both)}, against the claim"))
    if shared and not split.polymorphs:
        formula, rows = next(iter(shared.items()))
        more = f"; {len(shared)} such compositions" if len(shared) > 1 else ""
        seen = f"{formula} ({', '.join(ids[rows])}) is in more than one part, against the claim{more}"
        leaks.append(Leak("shared composition", seen))
    for name, model in report.fits.items():
        leaks += preprocessing(name, model, report.read(report.models[name]), report.values, split)
    if report.geometric and not post_relaxation:
        seen = f"{', '.join(report.geometric)} reads positions or cells; say whether DFT relaxed them"
        leaks.append(Leak("post-relaxation features", f"not declared: {seen}"))
    allowed = ", as the claim says," if shared and split.polymorphs else ""
    return leaks, [
        f"{len(shared)} compositions{allowed} are in more than one part, and {len(pairs)} pairs of "
        "structures of the test part and of the others match (pymatgen's StructureMatcher).",
        *(f"{leak}." for leak in leaks if leak.kind == "preprocessing"),
        f"Post-relaxation features: {post_relaxation or 'none, only the composition is read'}.",
    ]


def _learned(transformer: Any) -> dict[str, np.ndarray]:
    """What fit left behind as numbers: attributes such as mean_ and components_."""
    found = {}
    for key, value in vars(transformer).items():
        if key.endswith("_") and not key.startswith("_") and key != "n_features_in_":
            value = np.asarray(value) if not callable(value) else np.array(None)
            if value.dtype.kind in "fiub":
                found[key] = value.astype(float)
    return found


def _equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        one[key].shape == other[key].shape and np.allclose(one[key], other[key], equal_nan=True)
        for key in one
    )


def _scaled_over_all(inputs: Sequence, split: Split) -> str:
    """ "standardised" or "scaled to [0, 1]", if that holds over all rows and not over the training part."""
    x = np.asarray(inputs) if isinstance(inputs, np.ndarray) or hasattr(inputs, "iloc") else np.empty(0)
    if x.ndim != 2 or x.dtype.kind != "f":
        return ""
    x = x[:, [len(np.unique(column)) > 2 for column in x.T] & np.isfinite(x).all(axis=0)]  # no 0/1 columns
    if x.shape[1] == 0:
        return ""
    used = np.concatenate([split.train, split.validation, split.test])

    def centred(rows: np.ndarray) -> bool:
        return bool((np.abs(x[rows].mean(0)) < 1e-6 * (x[rows].std(0) + 1e-12)).mean() > 0.5)

    def unit(rows: np.ndarray) -> bool:
        return bool((np.isclose(x[rows].min(0), 0) & np.isclose(x[rows].max(0), 1)).all())

    for word, holds in (("standardised", centred), ("scaled to [0, 1]", unit)):
        if not holds(split.train) and (holds(np.arange(len(x))) or holds(used)):
            return word
    return ""
