"""Errors with intervals, and errors by region (slide 47)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mg9.groups import LEAST, chemistry_family, elements_of, pooled, space_group

if TYPE_CHECKING:
    from pandas import DataFrame

LEVEL, DRAWS = 0.95, 2000


def bootstrap(
    values: Sequence[float], groups: Sequence, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` (n,) under resampling of whole groups (n,) (slide 47).

    Polymorphs err alike, so a composition is drawn with all of its rows. The interval is that of another draw
    of test crystals from the same place; it knows nothing of another seed, or of a family that is not there.
    (nan, nan) for fewer than two groups.
    """
    names, which = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    total, count = np.bincount(which, np.asarray(values, dtype=float)), np.bincount(which)
    rng, means = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        drawn = rng.integers(len(names), size=len(names))
        means[draw] = total[drawn].sum() / count[drawn].sum()
    tail = (1 - LEVEL) / 2
    return float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def by_region(
    residual: np.ndarray, formulas: Sequence[str], types: Sequence[str], groups: Sequence[str]
) -> DataFrame:
    """Mean absolute error, its interval and the bias in each region, worst first within its kind (slide 47).

    residual (n,): prediction - target; types: `mg9.groups.prototypes`; groups: what the bootstrap keeps
    together. Columns kind, region, n, mae, low, high, bias. A crystal counts under each of its elements;
    regions with fewer than ten crystals are pooled into "other".
    """
    import pandas as pd

    families = [chemistry_family(formula) for formula in formulas]
    single = {
        "family": families,
        "prototype": list(types),
        "space group": [space_group(name) for name in types],
    }
    members = {
        (kind, name): np.flatnonzero(names == name)
        for kind, names in ((kind, pooled(names)) for kind, names in single.items())
        for name in np.unique(names)
    }
    contains = [elements_of(formula) for formula in formulas]
    few: list[int] = []
    for element in sorted(frozenset().union(*contains)):
        rows = np.array([k for k, elements in enumerate(contains) if element in elements])
        if len(rows) < LEAST:
            few += rows.tolist()
        else:
            members["element", element] = rows
    if few:
        members["element", "other"] = np.unique(few)
    table = []
    for (kind, name), rows in members.items():
        error = np.abs(residual[rows])
        low, high = bootstrap(error, np.asarray(groups)[rows])
        table.append((kind, name, len(rows), error.mean(), low, high, residual[rows].mean()))
    columns = ["kind", "region", "n", "mae", "low", "high", "bias"]
    return pd.DataFrame(table, columns=columns).sort_values(
        ["kind", "mae"], ascending=[True, False], ignore_index=True
    )


def frame(rows: Mapping[Any, tuple], columns: list[str]) -> DataFrame:
    """A table with a named row for each entry (slide 47)."""
    import pandas as pd

    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
