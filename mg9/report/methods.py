"""The sentences of a methods section, from what data set, split and installation know (slide 47)."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import mg9
from mg9.report.statistics import DRAWS, LEVEL

if TYPE_CHECKING:
    from mg9.data import Dataset
    from mg9.splits import Split

PACKAGES = ("numpy", "scikit-learn", "torch", "torch-geometric", "pymatgen", "spglib")


def sentences(dataset: Dataset, target: str, split: Split, *, selection: str, audited: str) -> str:
    """Source, snapshot, parts, selection, intervals and versions (slide 47).

    selection: what was chosen, and on which part; audited: what was done about duplicates.
    """
    source = dataset.provenance
    words = [
        f"The {target.replace('_', ' ')} ({dataset.units.get(target, 'no unit given')}) of "
        f"{len(dataset.table):,} crystals was taken from {source.package} ({', '.join(source.files)} in "
        f"{source.archive}, sha256 {source.sha256[:16]}; {source.licence}).",
        f"Original data: {' '.join(_sentence(citation) for citation in source.citations)}",
        *(_sentence(note) for note in source.notes),
        f"{len(split.train):,} were used for training, {len(split.validation):,} for validation and "
        f"{len(split.test):,} for testing (sha256 of the row numbers {digest(split)}), so that the test "
        f"error supports the claim: {split.claim}.",
        f"The effective sample size of the test part is {split.effective_sample_size:.4g}.",
        _sentence(audited),
        f"The test part was held out before anything was chosen; {selection.strip().rstrip('.')}.",
        f"Intervals are {LEVEL:.0%} bootstrap intervals of {DRAWS:,} draws over the compositions of the test "
        "part, for one trained model.",
        f"Computed with mg9 {mg9.__version__}, {_versions()}.",
    ]
    return " ".join(words)


def digest(split: Split) -> str:
    """Sixteen digits that change with any row of any part (slide 47)."""
    parts = (split.train, split.validation, split.test)
    return hashlib.sha256("|".join(" ".join(map(str, sorted(rows))) for rows in parts).encode()).hexdigest()[
        :16
    ]


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
