"""Checks of a ladder of models and of how far its errors are to be believed (slides 47, 50).

The functions `holds_...` are the part that hidden checks repeat on other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_numbers, labelled

RUNGS = ("constant", "ridge", "boosted trees", "MLP")


@register(
    "ladder.errors",
    slide=47,
    outcome=7,
    cause="fit on formulas[train] and target[train]; predict formulas[test], in its order",
)
def ladder(
    student: Local,
    rng: np.random.Generator,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    predictions: dict,
) -> str:
    errors = holds_ladder(train_ids, test_ids, predictions)
    return ", ".join(f"{name} {error:.3f}" for name, error in errors.items()) + " eV/atom"


def holds_ladder(train_ids: Sequence[str], test_ids: Sequence[str], predictions: Any) -> dict[str, float]:
    """MAE (eV/atom) of each rung; each must be possible for a model of the formula that was fitted on
    `train_ids`."""
    if not isinstance(predictions, dict) or not set(RUNGS) <= set(predictions):
        got = sorted(predictions) if isinstance(predictions, dict) else type(predictions).__name__
        raise CheckFailed("a dict from model to predictions is wanted", expected=sorted(RUNGS), got=got)
    known = labelled().table
    try:
        formulas = known.loc[list(test_ids), "formula"].to_numpy()
        target = known.loc[list(test_ids), "formation_energy_per_atom"].to_numpy()
        mean = known.loc[list(train_ids), "formation_energy_per_atom"].mean()
    except (KeyError, TypeError) as error:
        raise CheckFailed(f"the ids are not those of crystals with formation energies: {error}") from None
    found = {
        name: expect_numbers(predictions[name], len(target), f"the prediction of {name}") for name in RUNGS
    }
    if np.abs(found["constant"] - mean).max() > 1e-4:
        raise CheckFailed(
            "the constant predictor is not the mean of the training targets: what was it fitted on?",
            expected=f"{mean:.4f} eV/atom",
            got=f"{found['constant'].mean():.4f} eV/atom",
        )
    errors = {name: float(np.abs(values - target).mean()) for name, values in found.items()}
    for name in RUNGS[1:]:
        for formula in np.unique(formulas):
            apart = np.ptp(found[name][formulas == formula])
            if apart > 1e-6:
                what = f"{name} tells polymorphs apart: a model of the formula cannot; are the rows in order?"
                raise CheckFailed(what, crystal=formula, expected="0 eV/atom", got=f"{apart:.3g} eV/atom")
        if errors[name] > 0.9 * errors["constant"]:
            raise CheckFailed(
                f"{name} is hardly better than the training mean: is the order that of the test rows?",
                expected=f"clearly less than {errors['constant']:.3f} eV/atom",
                got=f"{errors[name]:.3f} eV/atom",
            )
    if errors["boosted trees"] < 0.05:
        raise CheckFailed(
            "the boosted trees are too good to be true: the test part has been in the training part",
            expected="0.1 eV/atom or more",
            got=f"{errors['boosted trees']:.3f} eV/atom",
        )
    return errors


@register(
    "ladder.interval",
    slide=47,
    outcome=7,
    cause="draw whole compositions with replacement, 2000 times or more; the ends are the 2.5 % and 97.5 %"
    " quantiles of the mean errors",
)
def interval(student: Local, rng: np.random.Generator, function: Callable) -> str:
    error = np.abs(np.random.default_rng(1).normal(0.1, 0.2, size=120))
    holds_interval(student, function, error, [f"Fe{k}O" for k in range(120)])
    holds_interval(student, function, np.repeat(error[:60], 4), [f"Fe{k // 4}O" for k in range(240)])
    return "the 95 % interval of the mean; four polymorphs that err alike count as one observation"


def holds_interval(student: Local, function: Callable, error: np.ndarray, composition: list[str]) -> None:
    """The two ends against another bootstrap, within 6.5 % of the width; the usual mistakes by name."""
    low, high = expect_numbers(student.call(function, error.copy(), list(composition)), 2, "(low, high)")
    means = resampled(error, composition, draws=20_000)
    truth = np.quantile(means, [0.025, 0.975])
    by_row = np.quantile(resampled(error, range(len(error))), [0.025, 0.975])
    mistakes = (
        (by_row, "the rows are drawn one by one: polymorphs err alike, so draw whole compositions"),
        (
            np.quantile(error, [0.025, 0.975]),
            "these are quantiles of the errors: wanted are those of their mean",
        ),
        (np.quantile(means, [0.05, 0.95]), "this is the 90 % interval: 2.5 % are left out at each end"),
        (error.mean() + np.std(means) * np.array([-1, 1]), "this is one standard error to each side: 68 %"),
        (np.sort(truth - error.mean()), "these are distances from the mean: wanted are the ends themselves"),
    )
    width = truth[1] - truth[0]
    if np.abs([low - truth[0], high - truth[1]]).max() > 0.065 * width:
        near = (says for ends, says in mistakes if np.abs(np.array([low, high]) - ends).max() < 0.05 * width)
        raise CheckFailed(
            next(near, "another interval"),
            crystal=f"{len(error)} errors of {len(set(composition))} compositions, mean {error.mean():.4f}",
            expected=f"about {truth[0]:.4f} to {truth[1]:.4f} eV/atom",
            got=f"{low:.4f} to {high:.4f} eV/atom",
        )


def resampled(error: np.ndarray, composition: Sequence, draws: int = 4000) -> np.ndarray:
    """The means (draws,) of `error` when whole compositions are drawn with replacement."""
    names, which = np.unique(np.asarray(composition), return_inverse=True)
    total, count = np.bincount(which, error), np.bincount(which)
    drawn = np.random.default_rng(7).integers(len(names), size=(draws, len(names)))
    return total[drawn].sum(axis=1) / count[drawn].sum(axis=1)


@register(
    "ladder.paired",
    slide=47,
    outcome=7,
    cause="both models err on the same crystals: subtract crystal by crystal, then bootstrap the difference",
)
def paired(
    student: Local,
    rng: np.random.Generator,
    network_error: Any,
    formula_error: Any,
    composition: Sequence[str],
    difference: Any,
) -> str:
    n = len(composition) if isinstance(composition, list | tuple | np.ndarray) else 0
    one = expect_numbers(network_error, n, "network_error")
    other = expect_numbers(formula_error, n, "formula_error")
    got = expect_numbers(difference, 2, "the interval of the difference")
    means = resampled(one - other, composition)
    truth = np.quantile(means, [0.025, 0.975])
    width = truth[1] - truth[0]
    if np.abs(got - truth).max() > 0.15 * width:
        ends = [np.quantile(resampled(e, composition), [0.025, 0.975]) for e in (one, other)]
        mistakes = (
            (
                -truth[::-1],
                "the sign: network minus formula, so that a negative number means a better network",
            ),
            (ends[0] - ends[1], "intervals are not subtracted end by end: bootstrap the difference itself"),
            (ends[0] - ends[1][::-1], "two separate intervals: pairing by crystal gives a narrower one"),
        )
        near = (says for value, says in mistakes if np.abs(got - value).max() < 0.15 * width)
        raise CheckFailed(
            next(near, "another interval of the difference"),
            crystal=f"{n} crystals, mean difference {(one - other).mean():.4f} eV/atom",
            expected=f"about {truth[0]:.3f} to {truth[1]:.3f} eV/atom",
            got=f"{got[0]:.3f} to {got[1]:.3f} eV/atom",
        )
    better = "the network" if truth[1] < 0 else "the formula" if truth[0] > 0 else "neither"
    return f"network minus formula {truth[0]:.3f} to {truth[1]:.3f} eV/atom: {better} is better here"
