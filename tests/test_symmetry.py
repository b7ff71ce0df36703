"""The actions of slides 08 to 11: five that leave the crystal the same, two that make another one.

Oracle: pymatgen's StructureMatcher, which asks whether two descriptions are of one crystal.
"""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher

from mg9 import b_symmetry as symmetry
from mg9 import data

CRYSTALS = ("mp-22865", "mp-390", "mp-2133", "mp-10948")
MATCHER = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=0.01, scale=False)
SAME = {
    "rotate": lambda s, rng: symmetry.rotate(s, symmetry.random_rotation(rng)),
    "reflect": lambda s, rng: symmetry.rotate(s, symmetry.random_rotation(rng, reflect=True)),
    "translate": lambda s, rng: symmetry.translate(s, rng.normal(size=3)),
    "wrap": lambda s, rng: symmetry.wrap(s, int(rng.integers(len(s))), rng.integers(-3, 4, size=3)),
    "permute": lambda s, rng: symmetry.permute(s, rng.permutation(len(s))),
    "supercell": lambda s, rng: symmetry.supercell(s, (2, 1, 1)),
}
OTHER = {
    "stretch": lambda s, rng: symmetry.stretch(s, 1.01),
    "exchange": lambda s, rng: symmetry.exchange(s, int(rng.integers(len(s))), "Xe"),
}


@pytest.fixture(params=CRYSTALS)
def crystal(request):
    return data.formation_energy().structure(request.param)


@pytest.mark.parametrize("action", SAME)
def test_another_description_is_the_same_crystal(crystal, action):
    other = SAME[action](crystal, np.random.default_rng(3))
    assert MATCHER.fit(crystal, other)
    assert other.density == pytest.approx(crystal.density, rel=1e-12)


@pytest.mark.parametrize("action", OTHER)
def test_another_crystal_is_another_crystal(crystal, action):
    assert not MATCHER.fit(crystal, OTHER[action](crystal, np.random.default_rng(3)))


@pytest.mark.parametrize("action", SAME | OTHER)
def test_the_given_structure_is_left_alone(crystal, action):
    before = copy.deepcopy(crystal)
    other = (SAME | OTHER)[action](crystal, np.random.default_rng(3))
    assert other is not crystal and crystal == before
    assert np.array_equal(crystal.frac_coords, before.frac_coords)


@given(seed=st.integers(0, 2**32 - 1), reflect=st.booleans())
@settings(max_examples=50, deadline=None)
def test_rotations_are_orthogonal_and_proper_unless_asked(seed, reflect):
    matrix = symmetry.random_rotation(np.random.default_rng(seed), reflect=reflect)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(-1.0 if reflect else 1.0)


def test_rotations_favour_no_direction():
    """Uniform over SO(3): each entry has mean 0 and variance 1/3, the trace mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    turned = np.array([symmetry.random_rotation(rng) for _ in range(4000)])
    np.testing.assert_allclose(turned.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose(turned.var(axis=0), 1 / 3, atol=0.02)
    trace = np.trace(turned, axis1=1, axis2=2)
    assert abs(trace.mean()) < 0.06 and abs(trace.var() - 1) < 0.08


def test_rotate_turns_lattice_and_atoms_by_the_matrix(crystal):
    matrix = symmetry.random_rotation(np.random.default_rng(5))
    turned = symmetry.rotate(crystal, matrix)
    np.testing.assert_allclose(turned.lattice.matrix, crystal.lattice.matrix @ matrix.T, atol=1e-12)
    np.testing.assert_allclose(turned.cart_coords, crystal.cart_coords @ matrix.T, atol=1e-10)


def test_translate_is_in_angstrom_and_keeps_the_lattice(crystal):
    moved = symmetry.translate(crystal, (0.5, -1.0, 20.0))
    np.testing.assert_allclose(moved.cart_coords - crystal.cart_coords, [[0.5, -1.0, 20.0]] * len(crystal))
    assert np.array_equal(moved.lattice.matrix, crystal.lattice.matrix)


def test_wrap_moves_one_atom_out_of_the_home_cell(crystal):
    moved = symmetry.wrap(crystal, 1, (1, -2, 3))
    steps = moved.frac_coords - crystal.frac_coords
    np.testing.assert_allclose(steps, [[1, -2, 3] if k == 1 else [0, 0, 0] for k in range(len(crystal))])


def test_permute_lists_the_atoms_in_the_given_order(crystal):
    order = np.roll(np.arange(len(crystal)), 1)
    renumbered = symmetry.permute(crystal, order)
    assert [renumbered[k] for k in range(len(crystal))] == [crystal[int(k)] for k in order]


def test_supercell_repeats_the_cell(crystal):
    large = symmetry.supercell(crystal, (2, 1, 3))
    assert len(large) == 6 * len(crystal)
    assert large.volume == pytest.approx(6 * crystal.volume)


def test_stretch_scales_every_length(crystal):
    np.testing.assert_allclose(symmetry.stretch(crystal, 1.04).cart_coords, 1.04 * crystal.cart_coords)
    assert symmetry.stretch(crystal, 1.04).volume == pytest.approx(1.04**3 * crystal.volume)


def test_exchange_replaces_one_element(crystal):
    other = symmetry.exchange(crystal, 1, "Xe")
    symbols = [site.specie.symbol for site in crystal]
    assert [site.specie.symbol for site in other] == [symbols[0], "Xe", *symbols[2:]]
    assert np.array_equal(other.frac_coords, crystal.frac_coords)
