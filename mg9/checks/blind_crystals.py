"""The check of predictions of blind crystals by a pretrained network (slides 47, 50): which crystals, and in
what form. How good they are, the instructors' hidden check says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, WrongKind, register
from mg9.checks.tools import expect_numbers


@register(
    "mace.blind",
    slide=47,
    outcome=6,
    cause="one number for each of blind_ids, in this order, in eV/atom",
)
def blind_form(student: Local, rng: np.random.Generator, ids: Sequence[str], prediction: Any) -> str:
    names = blind_ids(ids, student.budget)
    value = expect_numbers(prediction, len(names), "blind_prediction")
    if float(np.ptp(value)) < 1e-3:
        raise CheckFailed("all blind crystals get the same number", cause="")
    if float(np.abs(value).max()) > 15:
        what = "a prediction is out of range: are the references taken off, and is it per atom?"
        got = f"{float(np.abs(value).max()):.1f} eV/atom"
        raise CheckFailed(what, expected="at most 15 eV/atom", got=got)
    return f"{len(names)} predictions from {value.min():.2f} to {value.max():.2f} eV/atom"


SIZES = {"full": (600, 8, 80), "tiny": (200, 5, 40)}  # crystals, atoms at most, blind crystals


def asked_for(budget: str) -> list[str]:
    """The blind crystals of the notebook: of few atoms, and of elements that three training crystals have."""
    from mg9 import data
    from mg9.groups import elements_of
    from mg9.splits import random_split

    crystals, most_atoms, n = SIZES[budget]
    table = data.formation_energy().table.sample(frac=1, random_state=0)
    rows = np.flatnonzero(table["nsites"] <= most_atoms)[:crystals]
    rows = np.intersect1d(rows, random_split(len(table)).train)
    shown = Counter(element for row in rows for element in elements_of(table["formula"].iloc[row]))
    blind = data.blind("formation_energy").table
    few = blind["formula"][blind["nsites"] <= most_atoms]
    return [k for k, formula in few.items() if all(shown[e] >= 3 for e in elements_of(formula))][:n]


def blind_ids(ids: Any, budget: str) -> list[str]:
    """Those of the notebook in their order, or `CheckFailed`: who may choose, chooses what is easy."""
    if not isinstance(ids, list | tuple | np.ndarray) or not all(isinstance(k, str) for k in ids):
        raise WrongKind("blind_ids should be the list of the notebook", got=type(ids).__name__)
    wanted, ids = asked_for(budget), [str(k) for k in ids]
    if ids != wanted:
        what = "blind_ids are not those of the notebook: leave its cell and the sizes as they were"
        got = f"{len(ids)} crystals, {len(set(ids) & set(wanted))} of them asked for"
        raise CheckFailed(what, expected=f"its {len(wanted)} crystals, in its order", got=got, cause="")
    return ids
