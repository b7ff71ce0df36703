"""Irreps against e3nn, and their layers against what they promise: turned and mirrored in, turned and
mirrored out."""

from itertools import product

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mg9.f_irreps import (
    PSEUDOSCALAR,
    SCALAR,
    Irrep,
    clebsch_gordan,
    natural,
    spherical_harmonics,
    tensor_product,
    wigner,
)
from mg9.f_layers import ElementLinear, EquivariantLinear, Gate

DOUBLE = torch.float64
TRIPLES = [(a, b, c) for a, b, c in product(range(4), repeat=3) if abs(a - b) <= c <= a + b]
KINDS = [Irrep(degree, p) for degree in range(4) for p in (1, -1)]


@st.composite
def turns(draw):
    """An orthogonal matrix, a rotation or one with a mirror."""
    seed, mirror = draw(st.integers(0, 2**31)), draw(st.booleans())
    matrix = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    return -matrix if mirror else matrix


def random_features(seed, widths, atoms=5):
    generator = torch.Generator().manual_seed(seed)
    return {ir: torch.randn(atoms, F, ir.dim, generator=generator, dtype=DOUBLE) for ir, F in widths.items()}


def turned(x, R):
    return {irrep: value @ wigner(irrep, R).T for irrep, value in x.items()}


# Against e3nn


@pytest.mark.parametrize("degrees", TRIPLES, ids=str)
def test_coefficients_are_those_of_e3nn(degrees):
    """Theirs, Wigner's 3j symbols, are shorter by the root of 2 l3 + 1."""
    theirs = o3.wigner_3j(*degrees, dtype=DOUBLE) * (2 * degrees[2] + 1) ** 0.5
    torch.testing.assert_close(clebsch_gordan(*degrees), theirs, rtol=0, atol=1e-12)


def test_harmonics_are_those_of_e3nn():
    vectors = torch.randn(200, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    for degree, found in enumerate(spherical_harmonics(vectors, 3)):
        theirs = o3.spherical_harmonics(degree, vectors, normalize=True, normalization="component")
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-10)


@given(st.tuples(*[st.floats(0.1, 3.0)] * 3), st.booleans())
def test_matrices_are_those_of_e3nn(angles, mirror):
    """From Euler's angles."""
    angles = torch.tensor(angles, dtype=DOUBLE)
    R = o3.angles_to_matrix(*angles) * (-1 if mirror else 1)
    torch.set_default_dtype(DOUBLE)  # or their matrices have half of the digits
    try:
        for irrep in KINDS:
            theirs = o3.Irrep(irrep.l, irrep.p).D_from_angles(*angles, torch.tensor(int(mirror)))
            torch.testing.assert_close(wigner(irrep, R), theirs, rtol=0, atol=1e-10)
    finally:
        torch.set_default_dtype(torch.float32)


# What they promise


@given(turns(), st.integers(0, 1000))
def test_harmonics_turn_as_their_matrix_says(R, seed):
    vectors = random_features(seed, {natural(1): 1})[natural(1)].squeeze(1)
    pairs = zip(spherical_harmonics(vectors, 3), spherical_harmonics(vectors @ R.T, 3), strict=True)
    for degree, (before, after) in enumerate(pairs):
        torch.testing.assert_close(after, before @ wigner(natural(degree), R).T, rtol=0, atol=1e-12)


def test_a_vector_is_degree_one_as_it_stands():
    """(x, y, z), longer by the root of 3; degree 0 is one, and all squares of a degree sum to 2 l + 1."""
    vectors = torch.tensor([[0.0, 0.0, 2.0], [3.0, 4.0, 0.0]], dtype=DOUBLE)
    Y = spherical_harmonics(vectors, 3)
    torch.testing.assert_close(Y[0], torch.ones(2, 1, dtype=DOUBLE))
    unit = torch.tensor([[0, 0, 1.0], [0.6, 0.8, 0]], dtype=DOUBLE)
    torch.testing.assert_close(Y[1], 3**0.5 * unit)
    for degree, y in enumerate(Y):
        torch.testing.assert_close(y.square().sum(1), torch.full((2,), 2.0 * degree + 1, dtype=DOUBLE))


@given(turns(), st.sampled_from(TRIPLES), st.tuples(st.sampled_from([1, -1]), st.sampled_from([1, -1])))
def test_a_product_of_turned_features_is_the_turned_product(R, degrees, parities):
    (a, b, c), (p, q) = degrees, parities
    x = random_features(0, {Irrep(a, p): 2})[Irrep(a, p)]
    y = random_features(1, {Irrep(b, q): 2})[Irrep(b, q)]
    found = tensor_product(x @ wigner(Irrep(a, p), R).T, y @ wigner(Irrep(b, q), R).T, a, b, c)
    expected = tensor_product(x, y, a, b, c) @ wigner(Irrep(c, p * q), R).T
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_product_of_the_wrong_parity_is_betrayed_by_a_mirror_only():
    """The cross product of two vectors taken for a vector: no rotation tells, a mirror does."""
    x, y = (random_features(seed, {natural(1): 1})[natural(1)] for seed in (0, 1))
    R = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
    cross = tensor_product(x, y, 1, 1, 1)
    torch.testing.assert_close(cross * 2**0.5, torch.linalg.cross(x, y), rtol=0, atol=1e-12)
    assert Irrep(1, 1) in natural(1) * natural(1) and natural(1) not in natural(1) * natural(1)
    wrong = wigner(natural(1), R)
    torch.testing.assert_close(tensor_product(x @ R.T, y @ R.T, 1, 1, 1), cross @ wrong.T)
    mirrored = tensor_product(-x @ R.T, -y @ R.T, 1, 1, 1)
    assert (mirrored - cross @ wigner(natural(1), -R).T).abs().max() > 0.1
    torch.testing.assert_close(mirrored, cross @ wigner(Irrep(1, 1), -R).T)


def test_coefficients_are_an_orthonormal_change_of_basis():
    """l1 ⊗ l2 has (2 l1 + 1)(2 l2 + 1) components before and after."""
    for a, b in product(range(4), repeat=2):
        whole = torch.cat(
            [clebsch_gordan(a, b, c).flatten(0, 1) for c in range(abs(a - b), a + b + 1)], dim=1
        )
        torch.testing.assert_close(whole.T @ whole, torch.eye(len(whole), dtype=DOUBLE), rtol=0, atol=1e-12)


def test_a_degree_that_the_product_does_not_contain_is_refused():
    with pytest.raises(ValueError, match="1 ⊗ 1 contains 0 to 2, not 3"):
        clebsch_gordan(1, 1, 3)


# The layers

WIDTHS = {irrep: 2 + irrep.l for irrep in KINDS}
ELEMENT = torch.tensor([0, 2, 1, 0, 2])


def layers():
    torch.manual_seed(0)
    after = {irrep: 3 for irrep in KINDS}
    by_element = ElementLinear(WIDTHS, after, elements=3).double()
    gate = Gate(WIDTHS).double()
    return {
        "linear": (WIDTHS, EquivariantLinear(WIDTHS, after).double()),
        "by element": (WIDTHS, lambda x: by_element(x, ELEMENT)),
        "gate": (gate.before, gate),
    }


@pytest.mark.parametrize("name", layers())
@given(R=turns(), seed=st.integers(0, 1000))
def test_layers_turn_with_their_input(name, R, seed):
    widths, layer = layers()[name]
    x = random_features(seed, widths)
    found, expected = layer(turned(x, R)), turned(layer(x), R)
    assert set(found) == set(KINDS)
    for irrep in KINDS:
        torch.testing.assert_close(found[irrep], expected[irrep], rtol=0, atol=1e-12)
        assert expected[irrep].abs().max() > 1e-3


def test_each_element_has_its_own_matrix():
    layer = ElementLinear({SCALAR: 4}, {SCALAR: 2}, elements=3).double()
    x = {SCALAR: torch.ones(3, 4, 1, dtype=DOUBLE)}
    found = layer(x, torch.tensor([0, 1, 2]))[SCALAR].squeeze(2)
    torch.testing.assert_close(found, layer.weight["0e"].sum(2))


def test_a_swish_on_a_pseudoscalar_would_be_betrayed_by_a_mirror():
    """Which is why it passes tanh."""
    gate = Gate({SCALAR: 2, PSEUDOSCALAR: 2}).double()
    x = random_features(0, {SCALAR: 2, PSEUDOSCALAR: 2})
    mirrored = {**x, PSEUDOSCALAR: -x[PSEUDOSCALAR]}
    torch.testing.assert_close(gate(mirrored)[PSEUDOSCALAR], -gate(x)[PSEUDOSCALAR])
    swish = torch.nn.functional.silu
    assert (swish(-x[PSEUDOSCALAR]) + swish(x[PSEUDOSCALAR])).abs().max() > 0.1


def test_irreps_print_as_the_field_writes_them():
    assert [str(irrep) for irrep in (SCALAR, natural(1), Irrep(1, 1), natural(2))] == ["0e", "1o", "1e", "2e"]
    assert [str(irrep) for irrep in natural(1) * natural(2)] == ["1o", "2o", "3o"]
    assert np.isclose(natural(3).dim, 7)
