"""MACE: products are sums over pairs and triples of neighbours, and what only the latter can see."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mg9.a_crystal import molecule_graph
from mg9.f_irreps import clebsch_gordan, natural, spherical_harmonics, wigner
from mg9.f_mace import MACE, ProductBasis, coupling_of, triples

DOUBLE = torch.float64


def made(**kwargs):
    torch.manual_seed(4)
    return MACE(**{"features": 4, "cutoff": 4.0, "mean_neighbors": 3.0, **kwargs}).double().eval()


def random_A(features=3, atoms=2, l_max=3):
    generator = torch.Generator().manual_seed(0)
    return {
        natural(k): torch.randn(atoms, features, 2 * k + 1, dtype=DOUBLE, generator=generator)
        for k in range(l_max + 1)
    }


# Products


def test_the_product_of_sums_over_neighbours_is_the_sum_over_their_pairs():
    """Slide 38's claim: the body order rises, the cost does not."""
    r = torch.randn(5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))
    Y = spherical_harmonics(r, 2)
    A = {natural(k): y.sum(0).reshape(1, 1, -1) for k, y in enumerate(Y)}
    basis = ProductBasis(features=1, l_max=2, l_out=0, correlation=2, elements=1).double()
    torch.nn.init.ones_(basis.weight[0])
    found = basis(A, torch.tensor([0]))[natural(0)].item()
    by_pairs = sum(
        torch.dot(Y[k][a], Y[k][b]) / (2 * k + 1) ** 0.5
        for k, (a, b) in product(range(3), product(range(5), repeat=2))
    )
    assert found == pytest.approx(float(A[natural(0)]) + float(by_pairs))


@pytest.mark.parametrize(("L", "ordered", "kept"), [(0, 23, 8), (1, 51, 12)])
def test_products_that_differ_only_in_the_order_of_their_factors_are_counted_once(L, ordered, kept):
    """And nothing is lost: what all ordered ones span is spanned by those that are kept."""
    every = [
        coupling_of((a, b, ab, c), 3, L).flatten()
        for a, b, c in product(range(4), repeat=3)
        for ab in range(abs(a - b), a + b + 1)
        if abs(ab - c) <= L <= ab + c and (a + b + c + L) % 2 == 0
    ]
    own = [coupling_of(degrees, 3, L).flatten() for degrees in triples(3, L)]
    assert (len(every), len(own)) == (ordered, kept)
    assert torch.linalg.matrix_rank(torch.stack(every)) == kept == torch.linalg.matrix_rank(torch.stack(own))


@pytest.mark.parametrize("L", [0, 1])
def test_products_are_the_weighted_sum_written_out(L):
    A = random_A()
    basis = ProductBasis(features=3, l_max=3, l_out=L, correlation=3, elements=2).double()
    element, flat = torch.tensor([1, 0]), torch.cat([*A.values()], dim=2)
    found = basis(A, element)[natural(L)]
    for n in range(2):
        w, k = basis.weight[L][element[n]], 1
        expected = w[0, :, None] * A[natural(L)][n]
        for a, b in basis.pairs[L]:
            C = clebsch_gordan(a, b, L)
            expected += w[k, :, None] * torch.einsum("fa,fb,abc->fc", A[natural(a)][n], A[natural(b)][n], C)
            k += 1
        for degrees in basis.triples[L]:
            C = coupling_of(degrees, 3, L)
            expected += w[k, :, None] * torch.einsum("fa,fb,fc,abcd->fd", *[flat[n]] * 3, C)
            k += 1
        assert k == len(w)
        torch.testing.assert_close(found[n], expected)


@pytest.mark.parametrize("mirror", [False, True])
def test_products_turn_with_the_neighbourhood(mirror):
    R = torch.from_numpy(Rotation.random(random_state=0).as_matrix()) * (-1 if mirror else 1)
    basis = ProductBasis(features=3, l_max=3, l_out=2, correlation=3, elements=1).double()
    A, element = random_A(), torch.zeros(2, dtype=torch.long)
    found = basis({irrep: x @ wigner(irrep, R).T for irrep, x in A.items()}, element)
    for irrep, x in basis(A, element).items():
        torch.testing.assert_close(found[irrep], x @ wigner(irrep, R).T, rtol=1e-10, atol=1e-10)


# The network


def ring(places) -> object:
    """Hydrogen on some of eight places of a circle of 1.5 Å around carbon."""
    angles = np.pi / 4 * np.array(places)
    pos = 1.5 * np.stack([np.cos(angles), np.sin(angles), np.zeros(len(places))], axis=1)
    return molecule_graph([6] + [1] * len(places), np.vstack([[0, 0, 0], pos]), cutoff=4.0, dtype=DOUBLE)


def test_only_a_four_body_term_tells_two_rings_apart():
    """Places 0, 1, 3, 4 and 0, 1, 2, 5 of eight have the same distances and the same angles, as often: the
    carbon sees no difference in pairs of neighbours, but it does in triples."""
    one, other = ring([0, 1, 3, 4]), ring([0, 1, 2, 5])
    torch.testing.assert_close(one.distance.sort().values, other.distance.sort().values)

    def carbon(graph, correlation):
        with torch.no_grad():
            return made(layers=1, correlation=correlation, mean_neighbors=0.1).scalars(graph)[0][0]

    for correlation in (1, 2):
        torch.testing.assert_close(carbon(one, correlation), carbon(other, correlation), rtol=0, atol=1e-12)
    assert (carbon(one, 3) - carbon(other, 3)).abs().max() > 1e-3


def test_the_energy_is_read_after_every_round_from_scalars():
    model, graph = made(), ring([0, 2, 3])
    with torch.no_grad():
        first, last = model.scalars(graph)
        expected = model.readouts[0](first).sum() + model.readouts[1](last).sum()
        torch.testing.assert_close(model(graph), expected.reshape(1))
        torch.nn.init.zeros_(model.readouts[0][0].weight)
        assert abs(float(model(graph)) - float(expected)) > 1e-3


def test_the_mean_number_of_neighbours_divides_the_sum():
    """A mean over neighbours would not see that there are twice as many."""
    one = made(layers=1, correlation=1, mean_neighbors=3.0)
    twice = made(layers=1, correlation=1, mean_neighbors=6.0)
    graph = ring([0, 2, 5])
    with torch.no_grad():
        kept = one.rounds[0]["keep"]({natural(0): one.atoms(graph.z - 1).unsqueeze(2)}, graph.z - 1)
        kept = kept[natural(0)].squeeze(2)
        torch.testing.assert_close(one.scalars(graph)[0] - kept, 2 * (twice.scalars(graph)[0] - kept))
