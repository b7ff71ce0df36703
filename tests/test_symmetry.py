"""The actions of slides 08 to 11: six that leave the crystal the same, two that make another one; the error
under them.

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
    "another cell": lambda s, rng: symmetry.another_cell(s, symmetry.random_cell_change(rng)),
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


def test_another_cell_spans_the_same_lattice_and_leaves_the_atoms(crystal):
    change = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
    other = symmetry.another_cell(crystal, change)
    np.testing.assert_allclose(other.lattice.matrix, change @ crystal.lattice.matrix)
    np.testing.assert_allclose(other.cart_coords, crystal.cart_coords, atol=1e-10)
    for bad in (2 * np.eye(3), np.eye(3) * 0.5, np.zeros((3, 3))):
        with pytest.raises(ValueError, match="integers with determinant 1 or -1"):
            symmetry.another_cell(crystal, bad)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_cell_changes_are_integers_of_determinant_one_and_never_nothing(seed):
    change = symmetry.random_cell_change(np.random.default_rng(seed))
    assert change.dtype == int and round(abs(np.linalg.det(change))) == 1
    assert not np.array_equal(change, np.eye(3))


# What an action does to a result

KINDS = {  # of each kind one function that transforms as the kind says, whatever the action
    "scalar": lambda s: s.density,
    "extensive": lambda s: s.volume,
    "vector": lambda s: dipole(s),
    "atom vectors": lambda s: pulls(s),
    "tensor": lambda s: pulls(s).T @ pulls(s) / len(s),
}


def pulls(structure) -> np.ndarray:
    """A vector at each atom, towards heavier neighbours (N, 3)."""
    i, j, image, r = structure.get_neighbor_list(6.0)
    z = np.array(structure.atomic_numbers)
    vectors = structure.cart_coords[j] + image @ structure.lattice.matrix - structure.cart_coords[i]
    weights = z[j] * np.exp(-r) * (6.0 - r) ** 2
    found = np.zeros((len(structure), 3))
    np.add.at(found, i, weights[:, None] * vectors)
    return found


def dipole(structure) -> np.ndarray:
    return (pulls(structure) * np.array(structure.atomic_numbers)[:, None]).mean(axis=0)


def rattled(structure):
    away = np.random.default_rng(1).normal(scale=0.03, size=(len(structure), 3))
    return type(structure)(structure.lattice, structure.species, structure.frac_coords + away)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", symmetry.ACTIONS)
def test_the_error_is_zero_for_what_transforms_as_it_says(crystal, action, kind):
    one = rattled(crystal)
    moved = symmetry.ACTIONS[action](one, np.random.default_rng(4))
    size = max(1.0, np.abs(KINDS[kind](one)).max())
    assert symmetry.error_under(KINDS[kind], one, moved, kind=kind) < 1e-9 * size


@pytest.mark.parametrize("kind", ["vector", "atom vectors", "tensor"])
def test_what_turns_is_not_a_scalar_and_what_does_not_turn_is_no_vector(crystal, kind):
    one = rattled(crystal)
    moved = symmetry.ACTIONS["rotation"](one, np.random.default_rng(4))
    f = KINDS[kind]
    assert symmetry.error_under(f, one, moved, kind="scalar") > 1e-3 * np.abs(f(one)).max()
    fixed = {"vector": np.ones(3), "atom vectors": np.ones((len(one), 3)), "tensor": np.diag([1.0, 2.0, 3.0])}
    assert symmetry.error_under(lambda s: fixed[kind], one, moved, kind=kind) > 0.1


def test_forces_follow_their_atoms(crystal):
    one = rattled(crystal)
    order = np.roll(np.arange(len(one)), 1)
    moved = symmetry.Moved(symmetry.permute(one, order), atoms=order)
    assert symmetry.error_under(pulls, one, moved, kind="atom vectors") < 1e-9
    forgotten = symmetry.Moved(symmetry.permute(one, order))
    assert symmetry.error_under(pulls, one, forgotten, kind="atom vectors") > 1e-3
    with pytest.raises(ValueError, match="choose scalar"):
        symmetry.error_under(pulls, one, moved, kind="forces")


def test_augmentation_shows_each_crystal_in_several_orientations(crystal):
    many = symmetry.augmented([crystal, crystal], 3, np.random.default_rng(0))
    assert len(many) == 6 and all(MATCHER.fit(crystal, one) for one in many)
    corners = {tuple(np.round(one.lattice.matrix[0], 6)) for one in many}
    assert len(corners) == 6
