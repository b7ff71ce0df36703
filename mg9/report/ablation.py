"""Crystals with their structure or their elements destroyed: what does a model really read? (slide 47)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from mg9.report.models import fitted, predicted
from mg9.report.statistics import bootstrap, frame

if TYPE_CHECKING:
    from pandas import DataFrame
    from pymatgen.core import Structure

    from mg9.report.study import Report

APART = 1.0  # Å between shuffled atoms, where the cell has room
ABLATIONS = ("positions shuffled", "elements exchanged", "both")


def ablated(structures: Sequence[Structure], what: str, *, seed: int = 0) -> list[Structure]:
    """The crystals with "positions shuffled", "elements exchanged" or "both" (slide 47).

    Errors: ValueError for another word.
    """
    if what not in ABLATIONS:
        raise ValueError(f"no ablation {what!r}: choose one of {', '.join(ABLATIONS)}")
    rng = np.random.default_rng(seed)
    changed = list(structures)
    if what != "elements exchanged":
        bar = tqdm(changed, desc="shuffling positions", unit="crystal", delay=2, leave=False)
        changed = [shuffled_positions(structure, rng) for structure in bar]
    if what != "positions shuffled":
        changed = exchanged_elements(changed, rng)
    return changed


def shuffled_positions(structure: Structure, rng: np.random.Generator) -> Structure:
    """Cell and elements kept, every atom somewhere else in the cell, at least 1 Å from the others (slide 47).

    Atoms that are too near are drawn again, each time with 1 % less to keep, so that it ends in every cell. A
    cell with one atom stays the same crystal.
    """
    from pymatgen.core import Structure

    N, apart = len(structure), APART
    place = rng.random((N, 3))
    while True:
        distance = structure.lattice.get_all_distances(place, place)  # (N, N) Å
        near = np.triu(distance < apart, 1).any(axis=0)  # the later one of each pair
        if not near.any():
            return Structure(structure.lattice, structure.species, place)
        place[near] = rng.random((near.sum(), 3))
        apart *= 0.99


def exchanged_elements(structures: Sequence[Structure], rng: np.random.Generator) -> list[Structure]:
    """Cells and positions kept; the elements of each crystal become as many others, drawn from all crystals
    as often as they occur there (slide 47). Which sites are alike, and how many, stays."""
    from pymatgen.core import Structure

    present = [list(dict.fromkeys(structure.species)) for structure in structures]
    pool = np.array([element.Z for elements in present for element in elements])
    exchanged = []
    for structure, elements in zip(structures, present, strict=True):
        drawn = list(dict.fromkeys(rng.choice(pool, size=50).tolist()))
        while len(drawn) < len(elements):  # few elements in all, or bad luck
            drawn = list(
                dict.fromkeys([*drawn, *rng.choice(pool, size=50).tolist(), *np.unique(pool).tolist()])
            )
        new = {element.Z: z for element, z in zip(elements, drawn, strict=False)}
        species = [new[site.specie.Z] for site in structure]
        exchanged.append(Structure(structure.lattice, species, structure.frac_coords))
    return exchanged


def retrained(report: Report, name: str) -> DataFrame:
    """A model of the ladder, trained and tested on ablated crystals (slide 47); see `Report.ablations`."""
    reading, split = report.models[name], report.split
    groups, rows = report.groups[split.test], {}
    intact = errors = np.abs(report.residual(name))
    for what in tqdm(("intact", *ABLATIONS), desc=f"ablations of {name}", unit="training", leave=False):
        if what != "intact":
            inputs = reading.inputs(ablated(report.structures, what, seed=report.seed))
            model = fitted(reading.model, inputs, report.values, split)
            errors = np.abs(predicted(model, inputs, split.test) - report.values[split.test])
        grown = [1 + change / intact.mean() for change in bootstrap(errors - intact, groups)]
        rows[what] = (errors.mean(), *bootstrap(errors, groups), errors.mean() / intact.mean(), *grown)
    return frame(rows, ["mae", "low", "high", "ratio", "ratio_low", "ratio_high"])
