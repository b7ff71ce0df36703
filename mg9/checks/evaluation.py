"""Checks of what is reported about a model (slides 24, 47, 50).

Each check takes the adapter `student`, a random generator and the student's objects (see `mg9/checks`).
The functions `holds_...` are the part that hidden checks repeat on other crystals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_tensor


@register(
    "split.chemistry",
    slide=50,
    outcome=7,
    cause="hold out a whole family (splits.family_split): the test part is chemistry that was never seen",
)
def chemistry_split(
    student: Local, rng: np.random.Generator, formulas: Sequence[str], train: Any, validation: Any, test: Any
) -> str:
    from mg9.splits import SharedComposition, Split, chemistry_family, refuse_shared_compositions

    formulas = _formulas_of_a_data_set(formulas, student.budget)
    try:
        split = Split(np.asarray(train), np.asarray(validation), np.asarray(test), "")
        refuse_shared_compositions(split, formulas)
    except SharedComposition as error:
        raise CheckFailed(str(error)) from error
    except (ValueError, IndexError, TypeError) as error:
        raise WrongKind(f"train, validation and test must be lists of rows: {error}") from error
    families = np.array([chemistry_family(formula) for formula in formulas])
    known = set(families[split.train]) | set(families[split.validation])
    if shared := sorted(set(families[split.test]) & known):
        raise CheckFailed(
            f"the family {str(shared[0])!r} is in the test part and in the training or validation part"
        )
    least = min(100, len(formulas) // 10)  # a tenth where the tiny budget leaves few crystals
    if len(split.test) < least:
        what = "the test part is too small to say anything"
        raise CheckFailed(what, expected=f"{least} crystals or more", got=len(split.test))
    return f"{len(split.test)} crystals of {', '.join(sorted(set(families[split.test])))} are new chemistry"


def _formulas_of_a_data_set(formulas: Any, budget: str) -> list[str]:
    """The student's list of formulas, if it is that of a table of the course, row by row in the order of the
    notebook (or of the data set), and as long as the training budget leaves it."""
    from mg9 import data

    if not isinstance(formulas, (list, tuple, np.ndarray)) or not all(isinstance(f, str) for f in formulas):
        raise WrongKind("formulas should be the list of the table's formulas", got=type(formulas).__name__)
    given = list(map(str, formulas))
    for table in (data.formation_energy().table, data.band_gap().table):
        least = min(600, len(table)) if budget == "tiny" else len(table)
        for rows in (table.sample(frac=1, random_state=0), table):
            if given != list(rows["formula"].head(len(given))):
                continue
            if len(given) < least:
                what = "rows are missing from the table: split all of it"
                raise CheckFailed(what, expected=f"{least} formulas", got=len(given), cause="")
            return given
    what = (
        "these are not the formulas of the course's table in its order: use list(table['formula']) as it is"
    )
    raise CheckFailed(what, cause="")


@register(
    "blind.form",
    slide=24,
    outcome=3,
    cause="one number for each blind crystal, in the order of data.blind(...): trained.predict(blind_graphs)",
)
def blind_form(student: Local, rng: np.random.Generator, target: str, prediction: Any) -> str:
    from mg9 import data

    n = len(data.blind(target))
    value = expect_tensor(prediction, (n,), "blind_prediction").double()
    if float(value.std()) < 1e-6:
        raise CheckFailed(
            "all blind crystals get the same number: that is the constant predictor, not a network", cause=""
        )
    largest, unit = {"formation_energy": (15.0, "eV/atom"), "band_gap": (30.0, "eV")}[target]
    if float(value.abs().max()) > largest:
        got = f"{float(value.abs().max()):.3g} {unit}"
        raise CheckFailed(
            "a prediction is out of range: is it still standardised?",
            expected=f"at most {largest} {unit}",
            got=got,
            cause="the network predicts numbers of mean 0 and variance 1; trained.predict(...) has the unit",
        )
    return f"{n} predictions from {float(value.min()):.2f} to {float(value.max()):.2f} {unit}"


@register(
    "report.families",
    slide=47,
    outcome=7,
    cause="for each family the mean of |target - prediction|, not the mean of signed residuals",
)
def families(student: Local, rng: np.random.Generator, function: Callable) -> str:
    target = np.array([0.0, -1.0, -2.0, -3.0])
    holds_families(
        student, function, target, target + [0.1, -0.3, 0.5, 0.5], ["oxide", "oxide", "halide", "oxide"]
    )
    return "one mean absolute error for each family; errors of opposite sign do not cancel"


def holds_families(
    student: Local, function: Callable, target: np.ndarray, prediction: np.ndarray, family: list
) -> None:
    """The dictionary of errors against pandas' groupby."""
    import pandas as pd

    got = student.call(function, target, prediction, family)
    truth = pd.Series(np.abs(target - prediction)).groupby(np.array(family)).mean().to_dict()
    if not isinstance(got, dict) or set(got) != set(truth):
        raise WrongKind(
            "a dict from family to error is wanted",
            expected=sorted(truth),
            got=sorted(map(str, got)) if isinstance(got, dict) else type(got).__name__,
        )
    for name, error in truth.items():
        if not isinstance(got[name], (int, float, np.floating, Tensor)):
            raise WrongKind(
                f"the error of {name!r} is not a number", expected=f"{error:.4f} eV", got=got[name]
            )
        if not abs(float(got[name]) - error) <= 1e-9:  # NaN is close to nothing
            raise CheckFailed(
                f"another error for the family {name!r}",
                expected=f"{error:.4f} eV",
                got=f"{float(got[name]):.4f} eV",
            )
