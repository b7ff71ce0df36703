"""Polymorph aliasing: the error that no composition-only model can go below (slides 07, 50).

Polymorphs have one composition, so a model f(composition) gives them one value c. For a composition with
targets y_1 ... y_n, sum_k |y_k - c| is least where c is their median, so that

    MAE >= (1/n) sum_k |y_k - median(y)|

however much data the model was given. The mean instead of the median is the best c for the squared error: the
deviation around it is what a model reaches at best that was trained on squared errors. It is never smaller
than the one around the median, and no lower limit of the MAE.

Read in order: `aliasing_floor`, `AliasingFloor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mg9.b_magpie import atomic_fractions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AliasingFloor:
    """What `aliasing_floor` found; its string is a summary with the worst compositions (slides 07, 50).

    table: one line for each composition with several rows, the worst first; its index is the formula as first
    written, its columns are rows, least, greatest, median, mean, and the mean absolute deviations floor (from
    the median) and around_mean.
    """

    n_rows: int
    n_polymorphs: int  # rows whose composition occurs more than once
    floor: float  # over all rows, in the target's unit
    floor_of_polymorphs: float  # over those rows only; NaN without any
    around_mean: float  # as floor_of_polymorphs, about the mean of each composition
    table: pd.DataFrame

    def __str__(self) -> str:
        if not self.n_polymorphs:
            return f"no composition occurs twice in {self.n_rows} rows: the floor is 0"
        return (
            f"{self.n_polymorphs} of {self.n_rows} rows are polymorphs, of {len(self.table)} compositions. "
            "No composition-only model has an MAE\n"
            f"below {self.floor_of_polymorphs:.4g} on these rows, below {self.floor:.4g} on all rows "
            f"(around the mean: {self.around_mean:.4g} on these rows). The worst:\n"
            f"{self.table.head(10).to_string(float_format='{:.4g}'.format)}"
        )


def aliasing_floor(formulas: Sequence[str], target: Sequence[float]) -> AliasingFloor:
    """The least MAE of any composition-only model on the rows given (slides 07, 50).

    formulas (n,), target (n,) intensive, in any unit. It is the floor of these very rows: for the limit of a
    test error, give the rows of the test part. A composition that occurs once adds nothing, so the more of
    its polymorphs a table leaves out, the lower its floor.
    Errors: ValueError for lengths that differ or targets that are not finite; `FormulaError`.
    """
    import pandas as pd

    values = np.asarray(target, dtype=float)
    if len(values) != len(formulas):
        raise ValueError(f"{len(values)} targets for {len(formulas)} formulas; give one for each, in order")
    if not np.isfinite(values).all():
        number = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"the target of row {number} is NaN or infinite; drop the row or mend it")
    rows: dict[tuple, list[int]] = {}
    for number, formula in enumerate(formulas):
        z, fraction = atomic_fractions(formula, number)
        rows.setdefault((*z.tolist(), *fraction.round(8).tolist()), []).append(number)
    several = [group for group in rows.values() if len(group) > 1]
    formula_of = list(formulas)
    table = pd.DataFrame(
        [_deviations(values[group]) for group in several],
        columns=["rows", "least", "greatest", "median", "mean", "floor", "around_mean"],
        index=pd.Index([formula_of[group[0]] for group in several], name="formula"),
    ).sort_values("floor", ascending=False, kind="stable")
    lost, polymorphs = float((table.rows * table.floor).sum()), int(table.rows.sum())
    return AliasingFloor(
        n_rows=len(values),
        n_polymorphs=polymorphs,
        floor=lost / len(values),
        floor_of_polymorphs=lost / polymorphs if polymorphs else np.nan,
        around_mean=float((table.rows * table.around_mean).sum()) / polymorphs if polymorphs else np.nan,
        table=table,
    )


def _deviations(y: np.ndarray) -> tuple[int, float, float, float, float, float, float]:
    median, mean = np.median(y), y.mean()
    return len(y), y.min(), y.max(), median, mean, np.abs(y - median).mean(), np.abs(y - mean).mean()
