"""Splits that hold a whole region out: an element, a cluster, all after a year (slide 47).

Read in order: `element_split`, `cluster_splits`, `time_split`. `family_split` and those that deal groups at
random are in `splits.py`.

Paper: leave-one-cluster-out is that of Meredig et al. [meredig2018loco].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mg9.groups import LEAST, chemistry_family, elements_of
from mg9.splits import Split, composition_split, hold_out_rows

if TYPE_CHECKING:
    from pandas import DataFrame


def element_split(formulas: Sequence[str], *, hold_out: str, validation: float = 0.1, seed: int = 0) -> Split:
    """All crystals that contain one element are the test part; the rest is split by composition (slide 47).

    Errors: ValueError for an element that the formulas do not contain, and when nothing else is left.
    """
    contains = np.array([hold_out in elements_of(formula) for formula in formulas], dtype=bool)
    if not contains.any():
        raise ValueError(f"no formula contains {hold_out!r}; give the symbol of an element that is there")
    groups = np.where(contains, f"with {hold_out}", f"without {hold_out}")
    claim = f"a new element: no {hold_out} was seen in training"
    return hold_out_rows(formulas, contains, groups, claim, validation, seed)


def cluster_splits(
    features: np.ndarray,
    formulas: Sequence[str],
    *,
    clusters: int = 10,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> list[Split]:
    """Leave one cluster out (LOCO), a split for each cluster: k-means on standardised features (slide 47).

    features (n_rows, F), Magpie's in the course. Scaler and k-means are to be fitted on the training part
    only, and yet it is the clusters that say which part that is. So compositions are dealt first, as in
    `composition_split`; scaler and centres are fitted on the training part of that, without labels; every row
    goes to its nearest centre; then, for each cluster, the test part keeps what is inside, the training and
    validation part what is outside. No test row has moved a centre, and together the splits test each dealt
    test row once. The price: training rows inside the held-out cluster are used nowhere.

    Clusters with fewer than ten test rows are pooled into "other"; the claim names the commonest family of
    each. Only the worst of all clusters supports "anywhere in materials space": see `mg9.report.in_turn`.
    Errors: ValueError when a part would be empty. [meredig2018loco]
    """
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    dealt = composition_split(formulas, validation=validation, test=test, seed=seed)
    scaler = StandardScaler().fit(features[dealt.train])
    centres = KMeans(clusters, n_init=4, random_state=seed).fit(scaler.transform(features[dealt.train]))
    groups = centres.predict(scaler.transform(features)).astype(str)
    small = [name for name in set(groups) if (groups[dealt.test] == name).sum() < LEAST]
    groups = np.where(np.isin(groups, small), "other", groups)
    families = np.array([chemistry_family(formula) for formula in formulas])
    splits = []
    for name in sorted(set(groups[dealt.test])):
        commonest = max(set(families), key=lambda family: (families[groups == name] == family).sum())
        claim = f"a new region of materials space: no cluster {name} ({commonest}) was seen in training"
        inside = groups == name
        train, held_back = dealt.train[~inside[dealt.train]], dealt.validation[~inside[dealt.validation]]
        splits.append(Split(train, held_back, dealt.test[inside[dealt.test]], claim, groups))
    return splits


def time_split(table: DataFrame, *, cutoff: int, validation: float = 0.1, seed: int = 0) -> Split:
    """Trained before the year `cutoff`, tested from then on; the latest of the earlier rows, a fraction
    `validation`, are the validation part (slide 47).

    table: with a column "year". Errors: ValueError when it has none, and when a part would be empty.
    """
    if "year" not in table:
        raise ValueError(
            f"no column 'year' among {', '.join(map(str, table.columns))}: the shipped data sets are not "
            "dated; take a table with the year of each entry, or another split"
        )
    years = table["year"].to_numpy()
    order = np.random.default_rng(seed).permutation(len(years))
    before = order[years[order] < cutoff]
    before = before[np.argsort(years[before], kind="stable")]
    n_train = len(before) - round(validation * len(before))
    claim = f"what is calculated next: nothing from {cutoff} on was seen in training"
    later = np.flatnonzero(years >= cutoff)
    return Split(before[:n_train], before[n_train:], later, claim, years.astype(str), polymorphs=True)
