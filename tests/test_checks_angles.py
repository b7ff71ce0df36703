"""The checks of the assignment "angles": right code passes however it is written, wrong code fails by name.

Right and wrong code are those of the self-test's description; here they run without a sandbox. What holds for
every assignment of this kind stands in test_checks_practice.py.
"""

import re

import numpy as np
import pytest
import torch
from checking import described, graded, mutated, names_with, outcomes, solved

import course.hidden.angles  # noqa: F401  registers the hidden checks
from mg9.a_crystal import radius_graph
from mg9.checks import REGISTRY, CheckFailed, angles, check, find
from mg9.checks.strain import GPA, Cell, rattled
from mg9.checks.tools import known_crystals
from mg9.e_angles import line_graph
from mg9.potential import differentiate

find("angles.lines")
GRADED = graded("angles")
DESCRIBED = described("angles")


@pytest.fixture(scope="module")
def reference():
    return solved("angles")


@pytest.mark.parametrize("rewrite", DESCRIBED["rewrite"], ids=lambda one: one["name"])
def test_right_code_passes_however_it_is_written(rewrite):
    assert not outcomes(names_with("angles", rewrite["cells"]), GRADED)


@pytest.mark.parametrize("mutant", DESCRIBED["mutant"], ids=lambda one: one["name"])
def test_wrong_code_fails_and_its_mistake_is_named(mutant):
    failures = outcomes(names_with("angles", mutated("angles", mutant)), GRADED)
    assert set(failures) == set(mutant["fails"])
    first = failures[mutant["fails"][0]]
    assert re.search(mutant["says"], first), first
    assert f"reread slide {REGISTRY[mutant['fails'][0]].slide:02d}" in first


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text"])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))


def test_an_energy_that_sees_no_angle_is_found(reference):
    def constant(z, pos, cell):
        return torch.tensor(1.0) * len(z)

    with pytest.raises(CheckFailed, match="stayed the same"):
        check("angles.energy", constant)


@pytest.mark.parametrize("name", ["angles.forces", "angles.stress", "hidden.angles.contract"])
def test_an_energy_of_the_volume_alone_is_found(name):
    def volume(z, pos, cell):
        return torch.linalg.det(cell).abs()

    def slopes(z, pos, cell):
        return torch.zeros_like(pos), torch.eye(3).double()

    with pytest.raises(CheckFailed, match="one atom was moved|no atom of a rattled crystal feels a force"):
        check(name, volume, slopes)


# What the checks rest on


def test_the_pairs_are_those_of_the_package():
    name, structure = known_crystals("mp-5827")[0]
    edges = radius_graph(structure, cutoff=4.0).edge_index
    assert set(angles.pairs_of(edges)) == set(map(tuple, line_graph(edges).T.tolist()))


def test_the_notebook_s_forces_and_stress_are_those_of_the_package(reference):
    (at,) = rattled(np.random.default_rng(0), "mp-22865")
    z, pos, cell = (torch.from_numpy(x) for x in (at.z, at.pos, at.cell))
    forces, stress = reference["derivatives"](z, pos, cell)
    graph = reference["radius_graph"](
        reference["Structure"](at.cell, at.z, at.pos, coords_are_cartesian=True),
        cutoff=reference["CUTOFF"],
        dtype=torch.float64,
    )
    found = differentiate(lambda g: reference["energy_of"](g.z, g.pos, g.cell[0]).reshape(1), graph)
    torch.testing.assert_close(found.forces, forces)
    torch.testing.assert_close(found.stress[0], stress)
    assert float(reference["pressure"](stress)) == pytest.approx(-GPA * float(torch.trace(stress)) / 3)


def test_a_strain_moves_atoms_and_lattice():
    at = Cell("", np.array([1]), np.array([[1.0, 2.0, 3.0]]), 4 * np.eye(3))
    wide = at.strained(0.1 * np.eye(3))
    np.testing.assert_allclose(wide.pos, 1.1 * at.pos)
    np.testing.assert_allclose(wide.cell, 1.1 * at.cell)
