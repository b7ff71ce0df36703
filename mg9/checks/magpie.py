"""Checks of what can be made of a formula alone: features, their limit, their scale (slides 07, 47).

The functions `holds_...` are the part that hidden checks repeat on other formulas and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mg9.b_magpie import atomic_fractions, magpie
from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_numbers, expect_tensor, labelled
from mg9.data import magpie_table
from mg9.data.sources import MAGPIE

PROPERTIES = {"Electronegativity": "", "MeltingT": "K", "CovalentRadius": "pm"}


@register(
    "magpie.statistics",
    slide=7,
    outcome=1,
    cause="mean and avg_dev weigh each element by its fraction c; minimum, maximum and range do not",
)
def statistics(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for formula in ("SiO2", "CaTiO3", "NaCl", "BaTiO3", "Fe"):
        for name in PROPERTIES:
            holds_statistics(student, function, formula, name)
    return "six statistics of five formulas; where elements are equally abundant, the mode is the least"


def holds_statistics(student: Local, function: Callable, formula: str, name: str) -> None:
    """The six numbers of one property of one formula; the usual mistakes are called by name."""
    z, c = atomic_fractions(formula)
    p = magpie_table()[z - 1, list(MAGPIE).index(name)]
    got = six(student.call(function, p, c))
    mean = float((c * p).sum())
    mode = p[c >= c.max() - 1e-9].min()
    truth = np.array([p.min(), p.max(), np.ptp(p), mean, (c * abs(p - mean)).sum(), mode])
    unit, where = PROPERTIES.get(name, ""), f"{name} of {formula}"
    mistakes = (
        (3, p.mean(), "the mean does not weigh the elements by their fractions c"),
        (4, abs(p - mean).mean(), "avg_dev does not weigh the deviations by the fractions c"),
        (4, abs(p - p.mean()).mean(), "avg_dev does not weigh by the fractions c"),
        (
            4,
            (c * (p - mean) ** 2).sum() ** 0.5,
            "avg_dev is the mean of |p - mean|, not a standard deviation",
        ),
        (4, abs((c * (p - mean)).sum()), "in avg_dev deviations of opposite sign cancel: take |p - mean|"),
        (5, p[c.argmax()], "of equally abundant elements the mode is the least p"),
        (5, p[c >= c.max() - 1e-9].max(), "of equally abundant elements the mode is the least p"),
        (5, p.max(), "the mode is the property of the most abundant element, not the largest property"),
    )
    titles = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
    for number, title in enumerate(titles):
        if abs(got[number] - truth[number]) <= 1e-9 * max(1.0, abs(truth[number])):
            continue
        named = (says for k, value, says in mistakes if k == number and np.isclose(got[number], value))
        raise CheckFailed(
            next(named, f"the {title} is another one"),
            crystal=where,
            expected=f"{title} {truth[number]:.6g} {unit}".strip(),
            got=f"{got[number]:.6g} {unit}".strip(),
        )


def six(value: Any) -> np.ndarray:
    """Six finite numbers, from a list, tuple, array or tensor."""
    return expect_numbers(value, 6, "[minimum, maximum, range, mean, avg_dev, mode]")


@register(
    "magpie.floor",
    slide=7,
    outcome=1,
    cause="the best single value for a composition is the median of its targets; average |y - median|"
    " over all rows",
)
def floor(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_floor(student, function, ["SiO2", "SiO2", "NaCl", "SiO2"], [-3.2, -0.8, -2.1, -3.0])
    holds_floor(student, function, ["TiO2", "NaCl", "TiO2", "MgO"], [-3.0, -2.0, -3.4, -3.1])
    holds_floor(student, function, ["NaCl", "MgO"], [-2.0, -3.0])
    silica = labelled().table.query("formula == 'SiO2'")["formation_energy_per_atom"].to_numpy()
    lost = holds_floor(student, function, ["SiO2"] * len(silica), silica)
    return f"{len(silica)} forms of SiO2: no model of the formula has an MAE below {lost:.3f} eV/atom on them"


def holds_floor(student: Local, function: Callable, composition: list[str], target: Sequence[float]) -> float:
    """The floor (eV/atom) against its definition; the usual mistakes are called by name."""
    y, names = np.asarray(target, dtype=float), np.array(composition)
    got = student.call(function, list(composition), y)
    got = expect_numbers([got] if np.ndim(got) == 0 else got, 1, "the floor")[0]
    groups = [y[names == name] for name in np.unique(names)]
    spread = [abs(own - np.median(own)) for own in groups]
    truth = float(np.concatenate(spread).mean())
    several = [one for one in spread if len(one) > 1] or [np.zeros(1)]
    mistakes = (
        (np.mean([one.mean() for one in spread]), "average over the rows, not over the compositions"),
        (np.concatenate(several).mean(), "compositions with one row count too: they are rows of the test"),
        (np.concatenate([abs(own - own.mean()) for own in groups]).mean(), "for absolute errors the"
         " best value is the median, not the mean"),
        (abs(y - np.median(y)).mean(), "one value for all rows: each composition may have its own"),
        (np.concatenate(spread).sum(), "the sum over the rows is still to be divided by their number"),
    )  # fmt: skip
    if abs(got - truth) > 1e-9:
        named = (says for value, says in mistakes if np.isclose(got, value) and abs(value - truth) > 1e-9)
        rows = ", ".join(f"{name} {one:.2f}" for name, one in list(zip(names, y, strict=True))[:4])
        raise CheckFailed(
            next(named, "another floor"),
            crystal=rows + (", ..." if len(y) > 4 else ""),
            expected=f"{truth:.4f} eV/atom",
            got=f"{got:.4f} eV/atom",
        )
    return truth


@register(
    "magpie.scaling",
    slide=47,
    outcome=7,
    cause="mean and deviation come from x[train] alone; the same two are used for every row",
)
def scaling(student: Local, rng: np.random.Generator, function: Callable) -> str:
    formulas = ["NaCl", "SiO2", "He", "CaTiO3", "Fe2O3", "ZnS", "Ne", "BN", "Cs2O", "SiC"]
    holds_scaling(student, rng, function, formulas, np.array([8, 1, 0, 3, 5, 2, 9]))
    return "mean 0 and deviation 1 over the training part, and what is outside it changes nothing"


def holds_scaling(
    student: Local, rng: np.random.Generator, function: Callable, formulas: list[str], train: np.ndarray
) -> None:
    """Standardised Magpie features, and the twin: another test part must not change a training crystal."""
    x = magpie(formulas)[0]
    got = table(student.call(function, x, train), x.shape)
    mean, outside = np.nanmean(x[train], axis=0), np.setdiff1d(np.arange(len(x)), train)
    other = x.copy()
    other[outside] = 2.0 * x[outside] + rng.uniform(1.0, 2.0, size=(len(outside), 1))
    moved = np.abs(table(student.call(function, other, train), x.shape)[train] - got[train]).max()
    if moved > 1e-9:
        row = int(outside[0])
        what = f"{formulas[row]} is not in the training part, and yet it changes the features of the others"
        raise CheckFailed(
            f"{what}: the scaler has seen the test part", expected="0", got=f"a change of {moved:.3g}"
        )
    filled = np.where(np.isnan(x), mean, x)
    varies = filled[train].std(axis=0) > 1e-9
    if np.abs(got[:, ~varies][train]).max(initial=0.0) > 1e-9:
        raise CheckFailed("a feature that does not vary over the training part should become 0 there")
    if np.abs(got[train].mean(axis=0)).max() > 1e-6:
        worst = np.abs(got[train].mean(axis=0)).max()
        raise CheckFailed(
            "over the training part each feature should have mean 0", expected="0", got=f"{worst:.3g}"
        )
    deviations = [np.nanstd(x[train], axis=0, ddof=k) for k in (0, 1)]
    deviations += [filled[train].std(axis=0, ddof=k) for k in (0, 1)]  # unknown values filled in first
    for number in np.flatnonzero(varies):
        column = (filled[:, number] - mean[number])[:, None] / np.array([d[number] for d in deviations])
        if np.abs(column - got[:, number : number + 1]).max(axis=0).min() > 1e-6:
            own = got[train, number].std()
            raise CheckFailed(
                "a feature is not (x - mean) / deviation with those of the training part, for all rows alike",
                crystal=f"feature {number} of {', '.join(formulas[:3])}, ...",
                expected="deviation 1 over the training part",
                got=f"{own:.4f}" + (" there, another scale elsewhere" if abs(own - 1) < 0.1 else ""),
            )


def table(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The features, finite and of that shape; NaN is told as what it is."""
    array = np.asarray(value, dtype=float) if isinstance(value, list | np.ndarray) else value
    if isinstance(array, np.ndarray) and array.shape == shape and np.isnan(array).any():
        row, column = np.argwhere(np.isnan(array))[0]
        raise CheckFailed(
            f"row {row}, feature {column} is NaN: an unknown value becomes the training mean (0 after"
            " standardising), and a deviation of 0 must not divide"
        )
    return expect_tensor(array, shape, "the features").double().numpy()
