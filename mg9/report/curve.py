"""The learning curve, and what limits a model: data, model or representation (slides 34, 47)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from mg9.report.models import fitted, predicted, take
from mg9.report.statistics import bootstrap, frame

if TYPE_CHECKING:
    from pandas import DataFrame

    from mg9.report.study import Report

GAIN = 0.05  # by which twice the data must lower the error to count


@dataclass(frozen=True)
class Curve:
    """A learning curve (slide 47): `table` of n and MAE: train, test, low, high; and what limits it."""

    table: DataFrame
    limited_by: str
    because: str


def limited_by(half: np.ndarray, full: np.ndarray, training: float, floor: float, groups: Sequence):
    """(verdict, reason) from the absolute test errors (n,) with half and with all of the training data, the
    training MAE, and the least training MAE that the inputs allow (slides 34, 47).

    1. Twice the data lower the test error by 5 % or more, and the 95 % interval of the gain excludes zero:
       data-limited.
    2. If not, and the training error is at least half the test error, the model cannot even fit what it saw:
       representation-limited if the floor is half of the training error or more, else model-limited.
    3. If not, it fits what it saw and more of the same does not help: representation-limited. What it reads
       does not say how the test part differs.
    """
    gain = 1 - full.mean() / half.mean()
    low, high = bootstrap(half - full, groups)
    span = f"{low / half.mean():.0%} to {high / half.mean():.0%}"
    said = f"twice the data lower the test error by {gain:.0%} ({span})"
    if gain >= GAIN and low > 0:
        return "data-limited", said
    fit = f"the training error is {training / full.mean():.0%} of the test error"
    if training >= 0.5 * full.mean() and floor >= 0.5 * training:
        return "representation-limited", f"{said}; {fit}, and crystals that read alike account for it"
    if training >= 0.5 * full.mean():
        return "model-limited", f"{said}; {fit}: it cannot fit what it saw"
    return "representation-limited", f"{said}; {fit}: it fits what it saw, and more of it does not help"


def floor_of(inputs: Sequence, target: np.ndarray) -> float:
    """The least MAE of any model on rows (n, F) of which some are equal: each predicted by the median of its
    equals (slide 47). 0 for inputs that are no matrix."""
    if not isinstance(inputs, np.ndarray):
        return 0.0
    which = np.unique([row.tobytes() for row in np.ascontiguousarray(inputs)], return_inverse=True)[1]
    medians = np.array([np.median(target[which == k]) for k in range(which.max() + 1)])
    return float(np.abs(target - medians[which]).mean())


def measured(report: Report, name: str, fractions: Sequence[float]) -> Curve:
    """The curve of a model of the ladder at fractions of the training part, nested (slide 34)."""
    reading, inputs = report.models[name], report.read(report.models[name])
    split, values, groups = report.split, report.values, report.groups[report.split.test]
    order = np.random.default_rng(report.seed).permutation(split.train)
    rows, errors = [], []
    for fraction in tqdm(fractions, desc="learning curve", unit="training", delay=2, leave=False):
        train = order[: max(2, round(fraction * len(order)))]
        model = fitted(reading.model, inputs, values, replace(split, train=train))
        errors.append(np.abs(predicted(model, inputs, split.test) - values[split.test]))
        seen = np.abs(predicted(model, inputs, train) - values[train]).mean()
        rows.append((len(train), seen, errors[-1].mean(), *bootstrap(errors[-1], groups)))
    floor = floor_of(take(inputs, split.train), values[split.train])
    table = frame(dict(enumerate(rows)), ["n", "train", "test", "low", "high"])
    return Curve(table, *limited_by(errors[-2], errors[-1], rows[-1][1], floor, groups))
