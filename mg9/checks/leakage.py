"""Checks of what a comparison with a pretrained network is worth: what it has seen, and on which rows it is
compared (slides 43, 47, 50).

The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_numbers


@register(
    "mace.leakage",
    slide=47,
    outcome=7,
    cause="count rows of the test part: a set of what was seen, then how many ids and formulas are in it",
)
def leakage(student: Local, rng: np.random.Generator, function: Callable) -> str:
    ids = ["mp-1", "mp-2", "mp-3", "mp-4", "mp-5", "mp-6"]
    formulas = ["SiO2", "SiO2", "NaCl", "KF", "TiO2", "MgO"]
    seen_ids = ["mp-1", "mp-9", "mp-1", "mp-3", "mp-8", "mp-7"]
    seen_formulas = ["SiO2", "SiO2", "SiO2", "NaCl", "TiO2", "MgO"]
    holds_leakage(student, function, ids, formulas, seen_ids, seen_formulas)
    holds_leakage(student, function, *drawn_parts(rng, 8))
    return "two of six crystals were seen, five of their formulas; and a test part that was drawn"


def drawn_parts(rng: np.random.Generator, n: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Ids and formulas of n test crystals and of frames, some of them of these crystals."""
    ids = [f"mp-{k}" for k in rng.permutation(500)[:n]]
    formulas = [str(f) for f in rng.choice(["SiO2", "NaCl", "KF", "CsCl", "MgO"], size=n)]
    seen_ids = [str(k) for k in rng.choice([*ids[: n // 2], "mp-900", "mp-901"], size=4 * n)]
    return ids, formulas, seen_ids, [str(f) for f in rng.choice(["SiO2", "KF", "LiF"], size=4 * n)]


def holds_leakage(
    student: Local,
    function: Callable,
    ids: list[str],
    formulas: list[str],
    seen_ids: list[str],
    seen_formulas: list[str],
) -> None:
    """The two counts; the usual mistakes by name."""
    value = student.call(function, list(ids), list(formulas), list(seen_ids), list(seen_formulas))
    got = tuple(expect_numbers(value, 2, "the two counts"))
    wanted = sum(k in seen_ids for k in ids), sum(f in seen_formulas for f in formulas)
    both = sum(k in seen_ids and f in seen_formulas for k, f in zip(ids, formulas, strict=True))
    mistakes = {
        "the frames were counted, not the rows of the test part: a crystal has many frames": (
            sum(k in ids for k in seen_ids),
            sum(f in formulas for f in seen_formulas),
        ),
        "different names were counted, not rows: two polymorphs are two rows": (
            len(set(ids) & set(seen_ids)),
            len(set(formulas) & set(seen_formulas)),
        ),
        "crystals first, formulas second": wanted[::-1],
        "these are fractions: wanted are the numbers of rows": tuple(n / len(ids) for n in wanted),
        "rows that were not seen were counted": tuple(len(ids) - n for n in wanted),
        "a formula counts as well where another crystal of it was seen": (wanted[0], both),
        "a formula counts as well where its very crystal was seen": (wanted[0], wanted[1] - both),
    }
    if got != wanted:
        near = (says for says, wrong in mistakes.items() if np.allclose(got, wrong))
        told = tuple(f"{n:g}" for n in got)
        raise CheckFailed(next(near, "other counts"), expected=wanted, got=f"({', '.join(told)})")


@register(
    "mace.lend",
    slide=47,
    outcome=7,
    cause="the first k rows of test join train and leave test",
)
def lend(student: Local, rng: np.random.Generator, function: Callable) -> str:
    rows = rng.permutation(60)
    for k in (1, 7):
        got = student.call(function, rows[:40].copy(), rows[40:].copy(), k)
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise WrongKind("the rows of training and test are wanted", got=type(got).__name__)
        train, test = (set(np.asarray(part).astype(int).ravel().tolist()) for part in got)
        if both := train & test:
            what = "a row that was lent to the training part is still in the test part"
            raise CheckFailed(what, expected="no common row", got=f"{len(both)} of them")
        if len(test) != 20 - k or len(train) != 40 + k:
            what = "another number of rows moved"
            raise CheckFailed(
                what, expected=f"{40 + k} and {20 - k} rows", got=f"{len(train)} and {len(test)}"
            )
        if not set(rows[:40].tolist()) <= train or train | test != set(rows.tolist()):
            raise CheckFailed("rows got lost: train keeps its own and gains k of the test part")
        if train & set(rows[40:].tolist()) != set(rows[40 : 40 + k].tolist()):
            raise CheckFailed("other rows of test were lent than its first k")
    return "k rows join the training part and are no longer tested"


@register(
    "mace.fair",
    slide=47,
    outcome=7,
    cause="keep the rows where every model has a number, then the mean absolute error of each on these",
)
def fair(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_fair(student, rng, function, models=3, rows=12, silent=2)
    return "all models on the same rows: where one is silent, none is judged"


def holds_fair(
    student: Local, rng: np.random.Generator, function: Callable, models: int, rows: int, silent: int
) -> None:
    """Errors of models, some of which have no answer (NaN) for rows that others find hard."""
    target = rng.uniform(-3, 0, size=rows)
    predictions = {f"model {k}": target + rng.normal(0, 0.2 * (k + 1), size=rows) for k in range(models)}
    for k, name in enumerate(predictions):
        predictions[name][:silent] += 2.0 * np.sign(rng.normal(size=silent))
        if k % 2 == 0:
            predictions[name][(np.arange(silent) + k * silent // 2) % rows] = np.nan
    off = {name: np.abs(p - target) for name, p in predictions.items()}
    known = np.all([np.isfinite(o) for o in off.values()], axis=0)
    got = student.call(function, target.copy(), {name: p.copy() for name, p in predictions.items()})
    if not isinstance(got, dict) or set(got) != set(predictions):
        kind = sorted(map(str, got)) if isinstance(got, dict) else type(got).__name__
        raise WrongKind("a dict from model to error is wanted", expected=sorted(predictions), got=kind)
    values = _numbers(list(got.values()))
    found = dict(zip(got, values, strict=True))
    wanted = {name: float(o[known].mean()) for name, o in off.items()}
    mistakes = {
        "each model is judged on the rows that it chose: take the rows that all models answer": {
            name: float(np.nanmean(o)) for name, o in off.items()
        },
        "a row without an answer counts as an error of zero": {
            name: float(np.nan_to_num(o).mean()) for name, o in off.items()
        },
        "this is the root mean square error, not the mean absolute one": {
            name: float(np.sqrt((o[known] ** 2).mean())) for name, o in off.items()
        },
        "errors of opposite sign cancel": {
            name: float((p - target)[known].mean()) for name, p in predictions.items()
        },
    }
    if np.isnan(values).any():
        what = "the error of a model is NaN: rows without an answer are to be left out, for all models"
        raise CheckFailed(what, expected=f"{min(wanted.values()):.3f} eV/atom", got="NaN")
    if worst := [name for name in wanted if abs(found[name] - wanted[name]) > 1e-6]:
        near = (
            says
            for says, wrong in mistakes.items()
            if all(abs(found[name] - wrong[name]) < 1e-6 for name in wanted)
        )
        name = worst[0]
        raise CheckFailed(
            next(near, "another error"),
            crystal=f"{name}, {rows} rows of which {int(known.sum())} have an answer of every model",
            expected=f"{wanted[name]:.4f} eV/atom",
            got=f"{found[name]:.4f} eV/atom",
        )


def _numbers(values: list[Any]) -> np.ndarray:
    try:
        return np.array([float(value) for value in values])
    except (TypeError, ValueError):
        raise WrongKind("each error should be one number", got=values) from None
