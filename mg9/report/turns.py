"""One model on several splits: each family, element or cluster held out in turn (slide 47)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from mg9.groups import reduced_formulas
from mg9.report.models import Reading, fitted, predicted, targets
from mg9.report.statistics import bootstrap, frame
from mg9.splits import Split

if TYPE_CHECKING:
    from pandas import DataFrame

    from mg9.data import Dataset


def in_turn(dataset: Dataset, target: str, model: Any, splits: Iterable[Split]) -> DataFrame:
    """One model fitted and tested on each of several splits, such as those of `cluster_splits`, worst first
    (slide 47). Index: the claim; columns n, mae, low, high in the target's unit."""
    reading = model if isinstance(model, Reading) else Reading(model)
    inputs = reading.inputs(dataset.structures(dataset.table.index))
    groups, rows = reduced_formulas(dataset.table["formula"]), {}
    for split in tqdm(list(splits), desc="held out in turn", unit="training", delay=2, leave=False):
        values, test = targets(dataset, target, split), split.test
        error = np.abs(predicted(fitted(reading.model, inputs, values, split), inputs, test) - values[test])
        rows[split.claim] = (len(test), error.mean(), *bootstrap(error, groups[test]))
    return frame(rows, ["n", "mae", "low", "high"]).sort_values("mae", ascending=False)
