"""Checks of what a report shows: one failure mode on real crystals, and the seven points (slides 47, 50)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, register
from mg9.checks.tools import expect_numbers, labelled
from mg9.report.checklist import POINTS

FAILURES = ("polymorph aliasing", "cutoff", "twelfth neighbour")


@register(
    "failure.evidence",
    slide=50,
    outcome=7,
    cause="evidence is a list of (material_id, condition, predicted energy in eV/atom), real crystals only",
)
def failure(student: Local, rng: np.random.Generator, kind: Any, evidence: Any) -> str:
    ids, conditions, energies = rows_of(kind, evidence)
    known = labelled().table.loc[ids]
    formula, spread = known["formula"].iloc[0], float(np.ptp(energies))
    if kind == "polymorph aliasing":
        own = known["formation_energy_per_atom"].to_numpy()
        if len(set(ids)) < 2 or known["formula"].nunique() > 1:
            raise CheckFailed(
                "two or more crystals of one formula are wanted",
                got=sorted(set(known["formula"])),
                expected="one formula, several ids",
            )
        if spread > 1e-6:
            raise CheckFailed(
                "the polymorphs get different predictions: a model of the formula cannot do that",
                crystal=formula,
                expected="0 eV/atom",
                got=f"{spread:.3g} eV/atom",
            )
        if np.ptp(own) < 0.05:
            raise CheckFailed(
                "these polymorphs hardly differ in energy: nothing is lost by taking them for one",
                crystal=formula,
                expected="0.05 eV/atom or more",
                got=f"{np.ptp(own):.3f}",
            )
        return f"{len(ids)} crystals of {formula} span {np.ptp(own):.2f} eV/atom and get one prediction"
    if len(set(ids)) > 1:
        raise CheckFailed(
            "one crystal under several conditions is wanted", expected="one id", got=sorted(set(ids))
        )
    wanted, least = (3, 0.01) if kind == "cutoff" else (2, 1e-4)
    if len(set(conditions)) < wanted:
        raise CheckFailed(
            f"{kind}: too few conditions", expected=f"{wanted} or more", got=len(set(conditions))
        )
    if spread < least:
        raise CheckFailed(
            f"{kind}: the prediction hardly changes; look for a crystal where it does",
            crystal=f"{ids[0]} ({formula})",
            expected=f"{least} eV/atom or more",
            got=f"{spread:.3g} eV/atom",
        )
    return (
        f"{kind}: {formula} ({ids[0]}) changes by {spread:.3f} eV/atom over {len(set(conditions))} conditions"
    )


def rows_of(kind: Any, evidence: Any) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, conditions as text, and energies (eV/atom) of the evidence; otherwise `CheckFailed`."""
    if kind not in FAILURES:
        raise CheckFailed("FAILURE is not one of the three", expected=", ".join(FAILURES), got=kind)
    rows = list(evidence) if isinstance(evidence, list | tuple) else []
    if len(rows) < 2 or not all(isinstance(row, list | tuple) and len(row) == 3 for row in rows):
        raise CheckFailed(
            "the evidence should be two or more rows of three",
            got=evidence,
            expected="[(material_id, condition, energy), ...]",
        )
    ids = [row[0] for row in rows]
    unknown = [name for name in ids if not isinstance(name, str) or name not in labelled().table.index]
    if unknown:
        raise CheckFailed(
            "no crystal of the formation-energy table", expected="ids such as mp-10851", got=unknown[0]
        )
    energies = expect_numbers([row[2] for row in rows], len(rows), "the predicted energies")
    return ids, [str(row[1]) for row in rows], energies


@register(
    "report.checklist",
    slide=47,
    outcome=7,
    cause="print(study) says what is missing, why it matters and which method delivers it",
)
def checklist(student: Local, rng: np.random.Generator, printed: Any) -> str:
    if not isinstance(printed, str):
        raise CheckFailed("the printed report is wanted", expected="str(study)", got=type(printed).__name__)
    marks = dict((int(number), mark) for mark, number in re.findall(r"^\[(.)\] (\d)  ", printed, flags=re.M))
    if sorted(marks) != list(range(1, len(POINTS) + 1)):
        raise CheckFailed(
            "this is not the report of a study with its seven points",
            expected="str(study)",
            got=f"points {sorted(marks)}",
        )
    for number, mark in sorted(marks.items()):
        if mark != "x":
            title, why, how = POINTS[number - 1]
            state = "missing" if mark == " " else "there, and it fails"
            raise CheckFailed(
                f"point {number}, {title!r}, is {state}. It matters: {why}", expected=how, got=state
            )
    return "seven of seven: exemplary"
