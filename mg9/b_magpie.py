"""Magpie: a formula as 132 numbers (slide 07).

    mean = sum_e c_e p_e        c_e: atomic fraction of element e, p_e: one of its 22 properties
    avg_dev = sum_e c_e |p_e - mean|
    mode = p_e of the most abundant element, the least such p_e where several are equally abundant
    minimum, maximum, range over the elements, however little of them there is

The vector depends on the composition only: all polymorphs have the same one.

Paper: Ward et al. (2016) [ward2016magpie].
Read in order: `magpie`, `magpie_frame`. The models on it are in b_ladder.py, their limit in b_aliasing.py.
Differs from the paper: these are the 132 of its 145 features that are statistics of element properties, as on
the slide; left out are stoichiometric norms, shares of s, p, d and f electrons, and ionic character. Values,
names and ties are matminer 0.9.3's, with NaN where a property of an element is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from mg9.data import magpie_table
from mg9.data.sources import MAGPIE

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
NAMES = tuple(f"MagpieData {statistic} {prop}" for prop in MAGPIE for statistic in STATISTICS)
EQUALLY_ABUNDANT = 1e-5  # relative difference of two fractions


class FormulaError(ValueError):
    """A formula that cannot be read, or has an element that Magpie's tables do not have (slide 07)."""


def magpie(formulas: Iterable[str]) -> tuple[np.ndarray, list[str]]:
    """The features (n, 132) of n formulas, and their 132 names (slide 07) [ward2016magpie].

    "SiO2", "O2Si" and "Si2O4" give equal vectors, to the last bit. NaN where an element's property is not
    known: the electronegativity of He, Ne, Ar and Rn, the melting point of He and Fr, the space group of At,
    Rn and Fr, and more beyond Z = 96. Units: `mg9.data.sources.MAGPIE`.
    Errors: `FormulaError`, with the formula and its number in the list.
    """
    compositions = [atomic_fractions(formula, number) for number, formula in enumerate(_listed(formulas))]
    if not compositions:
        return np.empty((0, len(NAMES))), list(NAMES)
    count = np.array([len(z) for z, _ in compositions])
    start = np.cumsum(count) - count
    formula_of = np.repeat(np.arange(len(count)), count)
    p = magpie_table()[np.concatenate([z for z, _ in compositions]) - 1]  # (elements of all formulas, 22)
    c = np.concatenate([fraction for _, fraction in compositions])[:, None]
    minimum, maximum = np.minimum.reduceat(p, start), np.maximum.reduceat(p, start)  # (n, 22)
    mean = np.add.reduceat(c * p, start)
    avg_dev = np.add.reduceat(c * np.abs(p - mean[formula_of]), start)
    most = c >= (1.0 - EQUALLY_ABUNDANT) * np.maximum.reduceat(c, start)[formula_of]
    mode = np.minimum.reduceat(np.where(most, p, np.inf), start)
    statistics = [minimum, maximum, maximum - minimum, mean, avg_dev, mode]
    return np.stack(statistics, axis=2).reshape(len(count), len(NAMES)), list(NAMES)


def magpie_frame(formulas: Iterable[str]) -> pd.DataFrame:
    """`magpie` as a table (n, 132) with a column for each feature (slide 07).

    Its index is that of `formulas`, if they are a pandas Series such as `dataset.table.formula`; else it is
    the formulas. Errors: `FormulaError`.
    """
    import pandas as pd

    formulas = _listed(formulas)
    index = formulas.index if isinstance(formulas, pd.Series) else pd.Index(formulas, name="formula")
    values, names = magpie(formulas)
    return pd.DataFrame(values, columns=names, index=index)


def features(x: Iterable[str] | np.ndarray | pd.DataFrame) -> np.ndarray:
    """(n, 132) from formulas; features (n, 132) go through as they are (slide 07).

    The first step of every model in b_ladder.py. Errors: `FormulaError`; ValueError for another width.
    """
    if getattr(x, "ndim", 1) != 2:
        return magpie(x)[0]
    if x.shape[1] != len(NAMES):
        raise ValueError(f"{x.shape[1]} columns; give a list of formulas or their {len(NAMES)} features")
    return np.ascontiguousarray(x, dtype=float)  # sums in one order, whatever the table's layout


def atomic_fractions(formula: str, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers, ascending, and atomic fractions of a formula's elements (slide 07).

    `number` is the formula's place in its list, for the message. Errors: `FormulaError`.
    """
    from pymatgen.core import Composition

    where = f"formula {number}, {formula!r}"
    if not isinstance(formula, str):
        raise FormulaError(f"{where}: not a string; drop it or write one such as 'SiO2'")
    try:
        composition = Composition(formula)
    except ValueError as error:
        raise FormulaError(f"{where}: not readable ({error}); write 'SiO2', 'Li0.5CoO2'") from None
    amounts: dict[int, float] = {}
    for element, amount in composition.items():
        if not 1 <= element.Z <= len(magpie_table()):
            advice = f"Magpie knows the elements 1 (H) to {len(magpie_table())} (Cn)"
            raise FormulaError(f"{where}: nothing is known of {element.symbol}; {advice}")
        amounts[element.Z] = amounts.get(element.Z, 0.0) + amount  # pymatgen lists D beside H
    z = np.array(sorted(amounts))
    amount = np.array([amounts[number] for number in z.tolist()])
    if not 0.0 < amount.sum() < np.inf:
        raise FormulaError(f"{where}: no atoms, or infinitely many; write 'SiO2', 'Li0.5CoO2'")
    return z, amount / amount.sum()


def _listed(formulas: Iterable[str]) -> Iterable[str]:
    if isinstance(formulas, str):
        raise FormulaError(f"{formulas!r} is one formula: give a list of formulas, [{formulas!r}]")
    return formulas if hasattr(formulas, "__len__") else list(formulas)
