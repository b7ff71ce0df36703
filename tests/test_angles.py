"""Triplets, line graph and the functions of angles, against loops, SciPy and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from scipy import special

from mg9.a_crystal import radius_graph
from mg9.a_graph import batch_graphs, edge_vectors
from mg9.e_angles import (
    SmoothBesselBasis,
    SphericalBesselBasis,
    ThreeBodyBasis,
    bessel_zeros,
    cosine,
    harmonics,
    legendre,
    line_graph,
    spherical_bessel,
    triplets,
)

DOUBLE = torch.float64
RADII = torch.linspace(0.3, 5.0, 4001, dtype=DOUBLE)


@st.composite
def edges(draw):
    n_edges = draw(st.integers(0, 25))
    ends = st.lists(st.integers(0, 5), min_size=n_edges, max_size=n_edges)
    keep = draw(st.none() | st.lists(st.booleans(), min_size=n_edges, max_size=n_edges))
    index = torch.tensor([draw(ends), draw(ends)], dtype=torch.int64).reshape(2, n_edges)
    return index, None if keep is None else torch.tensor(keep, dtype=torch.bool)


@given(edges())
@settings(max_examples=150, deadline=None)
def test_triplets_and_line_graph_are_the_double_loop(case):
    """Any list of edges: several between two atoms, from an atom to itself, in any order, none at all."""
    edge_index, keep = case
    j, i = edge_index.tolist()
    used = [e for e in range(len(i)) if keep is None or keep[e]]
    centred = [[a, b] for b in used for a in used if i[a] == i[b] and a != b]
    onward = [[a, b] for b in used for a in used if i[a] == j[b]]
    assert triplets(edge_index, keep).T.tolist() == centred
    assert line_graph(edge_index, keep).T.tolist() == onward


def copper(repeat=1) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", 3.61 * np.eye(3), ["Cu"], [[0, 0, 0]])
    return cell.get_primitive_structure() * (repeat, repeat, repeat)


def test_a_cell_thinner_than_the_cutoff_has_the_angles_of_the_crystal():
    """One atom a cell, all of its neighbours its own images: 12 of them, 132 angles."""
    thin, wide = radius_graph(copper(), cutoff=3.0), radius_graph(copper(3), cutoff=3.0)
    assert triplets(thin.edge_index).shape == (2, 12 * 11)
    assert line_graph(thin.edge_index).shape == (2, 12 * 12)
    assert triplets(wide.edge_index).shape == (2, 27 * 12 * 11)
    found = []
    for graph in (thin, wide):
        a, b = edge_vectors(graph)[triplets(graph.edge_index)]
        found.append(np.unique(cosine(a, b).numpy().round(4)))
    np.testing.assert_allclose(*found, atol=1e-4)
    np.testing.assert_allclose(found[0], [-1, -0.5, 0, 0.5], atol=2e-4)


def test_no_angle_joins_two_crystals():
    graphs = [radius_graph(copper(), cutoff=3.0), radius_graph(copper(2), cutoff=3.0)]
    batch = batch_graphs(graphs)
    crystal = batch.batch[batch.edge_index[1]]
    for build in (triplets, line_graph):
        a, b = build(batch.edge_index)
        assert (crystal[a] == crystal[b]).all()
        assert len(a) == sum(build(graph.edge_index).size(1) for graph in graphs)


def test_the_line_graph_turns_at_the_shared_atom():
    """k -> j then j -> i: the angle at j, between the vectors to k and to i."""
    salt = Structure.from_spacegroup("Fm-3m", 5.69 * np.eye(3), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    graph = radius_graph(salt, cutoff=3.0, dtype=DOUBLE)
    first, second = line_graph(graph.edge_index)
    r = edge_vectors(graph)
    cos = cosine(r[first], -r[second])  # seen from j: first points to k, the second edge points from i to j
    values, counts = np.unique(cos.numpy().round(6), return_counts=True)
    assert values.tolist() == [-1, 0, 1] and counts.tolist() == [48, 48 * 4, 48]  # 48 edges, octahedra


def test_the_cosine_is_differentiable_everywhere():
    torch.manual_seed(0)
    a, b = torch.randn(2, 6, 3, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(cosine, (a, b))
    line = torch.tensor([[1.0, 0.0, 0.0], [-2.0, 0.0, 0.0]], dtype=DOUBLE).requires_grad_()
    (gradient,) = torch.autograd.grad(cosine(line, line.flip(0)).sum(), line)
    assert (
        torch.isfinite(gradient).all() and gradient.abs().max() < 1e-12
    )  # a line is where the cosine is flat


def test_functions_are_scipy_s():
    x = torch.linspace(0.2, 20, 500, dtype=DOUBLE)
    for l in range(4):
        np.testing.assert_allclose(
            spherical_bessel(x, 4)[:, l], special.spherical_jn(l, x.numpy()), atol=1e-12
        )
        np.testing.assert_allclose(
            legendre(x / 20, 4)[:, l], special.eval_legendre(l, x.numpy() / 20), atol=1e-14
        )
    zeros = bessel_zeros(4, 5).numpy()
    for l in range(4):
        assert np.abs(special.spherical_jn(l, zeros[l])).max() < 1e-14
        signs = special.spherical_jn(l, np.linspace(0.1, zeros[l, -1] - 1e-6, 4000)) > 0
        assert np.abs(np.diff(signs.astype(int))).sum() == 4  # none is left out


@pytest.mark.parametrize("basis", [SphericalBesselBasis(degrees=1, count=4), SmoothBesselBasis(count=4)])
def test_radial_functions_are_orthonormal_in_the_sphere(basis):
    r = torch.linspace(1e-4, 5.0, 20001, dtype=DOUBLE)
    values = basis.double()(r)
    overlap = torch.trapezoid(values[:, :, None] * values[:, None] * r[:, None, None] ** 2, r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(4, dtype=DOUBLE), atol=1e-5, rtol=0)


def test_one_basis_ends_with_a_slope_and_the_other_without():
    for basis, smooth in ((SphericalBesselBasis(), False), (SmoothBesselBasis(), True)):
        r = torch.tensor([5.0 - 1e-9], dtype=DOUBLE, requires_grad=True)
        for column in basis.double()(r)[0]:
            (slope,) = torch.autograd.grad(column, r, create_graph=True)
            (curvature,) = torch.autograd.grad(slope, r, retain_graph=True)
            assert column.abs() < 1e-6
            assert (slope.abs() < 1e-6) == smooth and (curvature.abs() < 1e-5) == smooth


def test_the_addition_theorem():
    """A sum over m of products of harmonics is the Legendre polynomial of the angle, however long the vectors
    are."""
    torch.manual_seed(0)
    a, b = torch.randn(2, 50, 3, dtype=DOUBLE)
    products = (harmonics(a) * harmonics(b)).split([1, 3, 5], dim=1)
    found = torch.stack([of_l.sum(dim=1) for of_l in products], dim=1)
    torch.testing.assert_close(found, legendre(cosine(a, b), 3))


def test_the_three_body_basis_is_its_product():
    radial, cos = SphericalBesselBasis().double()(RADII), torch.linspace(-1, 1, len(RADII), dtype=DOUBLE)
    basis = ThreeBodyBasis().double()(radial, cos)
    for l in range(3):
        Y = np.sqrt((2 * l + 1) / (4 * np.pi)) * special.eval_legendre(l, cos.numpy())
        for n in range(3):
            zero = float(bessel_zeros(3, 3)[l, n])
            norm = np.sqrt(2 / 5.0**3) / abs(special.spherical_jn(l + 1, zero))
            expected = norm * special.spherical_jn(l, zero * RADII.numpy() / 5.0) * Y
            np.testing.assert_allclose(basis[:, 3 * l + n], expected, atol=1e-6)
