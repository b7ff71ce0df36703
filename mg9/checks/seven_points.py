"""The check of the seven points of a report (slide 47).

What was printed is text, and text can be typed. So a report on other crystals is asked for, one that nobody
has seen; it is compared point by point with one that is made here.

Read in order: the check, `holds_numbers`, `other_crystals`, `holds_points`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mg9.b_ladder import constant, ridge
from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import labelled
from mg9.report.checklist import POINTS

TARGET, CLAIM = "formation_energy_per_atom", "new chemistry: no oxide was seen in training"
FREE = "(written by the author)"
Parts = tuple[list[str], list[str], list[str]]  # ids of the training, validation and test part


@register(
    "report.checklist",
    slide=47,
    outcome=7,
    cause="print(study) says what is missing, why it matters and which method delivers it",
)
def checklist(
    student: Local,
    rng: np.random.Generator,
    printed: Any,
    train_ids: Sequence[str],
    test_ids: Sequence[str],
    report_on: Callable,
) -> str:
    for number, (mark, _) in points_of(printed).items():
        if mark != "x":
            title, why, how = POINTS[number - 1]
            state = "missing" if mark == " " else "there, and it fails"
            raise CheckFailed(
                f"point {number}, {title!r}, is {state}. It matters: {why}", expected=how, got=state
            )
    holds_numbers(printed, train_ids, test_ids)
    parts = other_crystals(rng)
    holds_points(student.call(report_on, *parts), parts)
    return "seven of seven: exemplary, and on other crystals the report finds what is wrong with them"


def points_of(printed: Any) -> dict[int, tuple[str, str]]:
    """Number of a point -> its mark, its text in one line; `CheckFailed` if it is no report."""
    if not isinstance(printed, str):
        raise WrongKind("the printed report is wanted", expected="str(study)", got=type(printed).__name__)
    found = re.findall(r"^\[(.)\] (\d)  (.*?)(?=^\[.\] \d  |^\d of \d: |\Z)", printed, flags=re.M | re.S)
    points = {int(number): (mark, re.sub(r"\s+", " ", text).strip()) for mark, number, text in found}
    if sorted(points) != list(range(1, len(POINTS) + 1)):
        raise CheckFailed(
            "this is not the report of a study with its seven points",
            expected="str(study)",
            got=f"points {sorted(points)}",
        )
    return dict(sorted(points.items()))


def holds_numbers(printed: str, train_ids: Sequence[str], test_ids: Sequence[str]) -> None:
    """The errors of the two rungs that come out the same for everybody, fitted here on these crystals."""
    known = labelled().table
    try:
        train, test = (known.loc[list(ids)] for ids in (train_ids, test_ids))
    except (KeyError, TypeError) as error:
        raise CheckFailed(f"the ids are not those of crystals with formation energies: {error}") from None
    if train.empty or test.empty:
        raise CheckFailed("there is no crystal in the training part or in the test part")
    text = re.sub(r"\s+", " ", printed).partition("MAE in eV/atom: ")[2]
    for name, model in (("constant", constant()), ("ridge", ridge())):
        model.fit(list(train["formula"]), train["formation_energy_per_atom"])
        found = re.search(rf"\b{name} (\d+\.\d+)", text)
        errors = model.predict(list(test["formula"])) - test["formation_energy_per_atom"]
        if not found or abs(float(found[1]) - np.abs(errors).mean()) > 0.002:
            raise CheckFailed(
                f"the report has another error of {name} than a fit on the same crystals gives",
                expected=f"{np.abs(errors).mean():.3f} eV/atom",
                got=f"{found[1]} eV/atom" if found else "none",
                cause="the report is that of another split, or was written by hand",
            )


def other_crystals(rng: np.random.Generator) -> Parts:
    """Parts of some crystals for the claim of the exercise; against it, three compositions are in both the
    training and the test part."""
    table = labelled().table.query("nsites <= 8")
    table = table.sample(frac=1, random_state=int(rng.integers(2**31)))
    oxide = table["formula"].str.contains("O(?![a-z])")
    twice = table[~oxide & table["formula"].duplicated(keep=False)]
    pairs = [list(rows.index[:2]) for _, rows in list(twice.groupby("formula", sort=False))[:3]]
    single = table[~table["formula"].isin(table.loc[[one for one, _ in pairs], "formula"])]
    known, new = (
        list(single.index[oxide[single.index] == is_new][:n]) for is_new, n in ((False, 70), (True, 30))
    )
    return known[:60] + [one for one, _ in pairs], known[60:], new + [other for _, other in pairs]


def reported(parts: Parts) -> str:
    """The report on these crystals, of the constant predictor and ridge regression."""
    from mg9 import data, splits
    from mg9.report import Report

    dataset = data.formation_energy()
    rows = dataset.table.loc[[*parts[0], *parts[1], *parts[2]]]
    train, validation, test = np.split(np.arange(len(rows)), np.cumsum([len(part) for part in parts])[:2])
    study = Report(replace(dataset, table=rows), TARGET, splits.Split(train, validation, test, CLAIM))
    study.ladder({"constant": constant(), "ridge": ridge()})
    study.claim = "new chemistry"
    study.residuals()
    study.audit()
    study.document(selection=FREE)
    return str(study)


def holds_points(printed: Any, parts: Parts) -> None:
    """Point by point the report of a student against one that is made here; words of the author are free."""
    wanted, got = points_of(reported(parts)), points_of(printed)
    for number, (mark, text) in wanted.items():
        say = sentences(text) if number == len(wanted) else [text]
        missing = [one for one in say if one not in got[number][1]]
        if got[number][0] != mark or missing:
            title, _, how = POINTS[number - 1]
            raise CheckFailed(
                f"on other crystals point {number}, {title!r}, is another one than a report of them has",
                expected=f"[{mark}] {(missing or [text])[0]}",
                got=f"[{got[number][0]}] {got[number][1]}",
                cause=f"the lines were typed in, or are not those of study.{how} of the study that is given",
            )


def sentences(methods: str) -> list[str]:
    """Those of a methods section that are the same for everybody: not how it was selected and audited, and
    not with which versions."""
    return [
        one
        for one in methods.split(". ")
        if not re.search(f"{re.escape(FREE)}|StructureMatcher|^Post-rel|^Computed", one)
    ]
