"""M3GNet: its equations written out, its symmetries and its smoothness, and input at the edge of sense."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mg9 import data
from mg9.a_crystal import crystal_graph, molecule_graph, radius_graph
from mg9.a_graph import batch_graphs, edge_vectors
from mg9.b_symmetry import exchange, stretch, symmetry_error
from mg9.e_angles import ThreeBodyBasis, cosine
from mg9.e_m3gnet import GatedMLP, M3GNet, ReleasedM3GNet
from mg9.potential import NoCell, Potential, differentiate

DOUBLE = torch.float64


def made(kind=M3GNet, **kwargs):
    torch.manual_seed(1)
    return kind(**{"features": 16, **kwargs}).double().eval()


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    ds = data.formation_energy()
    chosen = [one for one in ds.structures(ds.table.index[50:300:25]) if len(one) < 8]
    assert sum(len(one.composition) > 1 for one in chosen) > 3
    return chosen


def graph_of(structure, **kwargs):
    return radius_graph(structure, cutoff=5.0, dtype=DOUBLE, **kwargs)


def test_a_block_is_its_equations_written_out(crystals):
    """Loops over edges and triplets. An image of an atom is a neighbour of its own. The angles are made loud:
    as the network starts, they change an energy by 1e-8."""
    model = made(blocks=2)
    for three_body in model.three_body:
        torch.nn.init.normal_(three_body.update.value[0].weight, std=100.0)
    graph = graph_of(min((one for one in crystals if len(one.composition) > 1), key=len))
    j, i = graph.edge_index.tolist()
    r, distance = edge_vectors(graph), graph.distance
    with torch.no_grad():
        v, h = model.atoms(graph.z - 1), model.basis(distance)
        e, radial = model.bonds(h), model.three_body_radial(distance)
        f_c = model.envelope(distance)
        for three_body, convolution in zip(model.three_body, model.convolutions, strict=True):
            summed = torch.zeros(len(i), 9, dtype=DOUBLE)
            for ij in range(len(i)):
                others = [ik for ik in range(len(i)) if i[ik] == i[ij] and ik != ij and f_c[ik] * f_c[ij] > 0]
                for ik in others:
                    cos = cosine(r[ik][None], r[ij][None])
                    basis = ThreeBodyBasis().double()(radial[ik][None], cos)[0]
                    summed[ij] += basis * three_body.far_atom(v[j[ik]]) * f_c[ij] * f_c[ik]
            e = e + three_body.update(summed)
            z_ij = torch.cat([v[i], v[j], e], dim=1)
            e = e + convolution.bond(z_ij) * convolution.bond_weight(h)
            z_ij = torch.cat([v[i], v[j], e], dim=1)
            message = convolution.message(z_ij) * convolution.message_weight(h)
            v = torch.stack(
                [v[a] + message[[k for k in range(len(i)) if i[k] == a]].sum(0) for a in range(len(v))]
            )
        torch.testing.assert_close(model(graph), model.atomwise(v).sum().reshape(1))


def test_the_gate_ends_in_a_sigmoid_and_the_value_in_a_swish():
    torch.manual_seed(0)
    phi, x = GatedMLP(5, 7, 3), torch.randn(4, 5)
    value = torch.nn.functional.silu(phi.value[2](torch.nn.functional.silu(phi.value[0](x))))
    gate = torch.sigmoid(phi.gate[2](torch.nn.functional.silu(phi.gate[0](x))))
    torch.testing.assert_close(phi(x), value * gate)


@pytest.mark.parametrize("kind", [M3GNet, ReleasedM3GNet])
def test_keeps_every_symmetry_and_sees_what_is_another_crystal(kind, crystals):
    model = made(kind)

    def predict(structures):
        with torch.no_grad():
            energy = model(batch_graphs([graph_of(one) for one in structures]))
        return [float(E) / len(one) for E, one in zip(energy, structures, strict=True)]

    few = crystals[:4]
    for error in symmetry_error(predict, few, np.random.default_rng(0)).values():
        assert error.max() < 1e-10
    for change in (lambda one: stretch(one, 1.02), lambda one: exchange(one, 0, "Sn")):
        assert np.abs(np.array(predict([change(one) for one in few])) - predict(few)).min() > 1e-7


@pytest.mark.parametrize("kind", [M3GNet, ReleasedM3GNet])
def test_forces_and_stress_are_slopes_of_the_energy(kind, crystals):
    model = made(kind)
    rng = np.random.default_rng(0)
    crystal = min((one for one in crystals if len(one) > 2), key=len).copy()
    moves = rng.normal(scale=0.06, size=(len(crystal), 3))
    crystal = Structure(
        crystal.lattice, crystal.species, crystal.cart_coords + moves, coords_are_cartesian=True
    )
    found = differentiate(model, graph_of(crystal))
    direction, step = rng.normal(size=(len(crystal), 3)), 1e-4
    strain = rng.normal(size=(3, 3))
    strain = strain + strain.T

    def energy(pos, cell):
        moved = Structure(cell, crystal.species, pos, coords_are_cartesian=True)
        return float(model(graph_of(moved)).detach())

    pos, cell = crystal.cart_coords, crystal.lattice.matrix
    slope = (energy(pos + step * direction, cell) - energy(pos - step * direction, cell)) / (2 * step)
    assert float((found.forces.numpy() * direction).sum()) == pytest.approx(-slope, rel=1e-4, abs=1e-7)
    up, down = (np.eye(3) + sign * step * strain for sign in (1, -1))
    slope = (energy(pos @ up, cell @ up) - energy(pos @ down, cell @ down)) / (2 * step) / crystal.volume
    assert float((found.stress[0].numpy() * strain).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7)


def line_of_three(x: float):
    return molecule_graph([6, 8, 14], [[0, 0, 0], [1.9, 0.2, 0.1], [x, 0, 0]], cutoff=5.0, dtype=DOUBLE)


@pytest.mark.parametrize("at", [5.0, 4.0])
def test_nothing_jumps_where_a_neighbour_or_an_angle_appears(at):
    model = made()
    inside, outside = (differentiate(model, line_of_three(at + d), stress=False) for d in (-1e-7, 1e-7))
    assert float((inside.energy - outside.energy).abs()) < 1e-7
    assert float((inside.forces - outside.forces).abs().max()) < 1e-7


def test_the_released_basis_makes_forces_jump_at_the_cutoff():
    model = made(ReleasedM3GNet)
    inside, outside = (differentiate(model, line_of_three(5 + d), stress=False) for d in (-1e-7, 1e-7))
    assert float((inside.energy - outside.energy).abs()) < 1e-6
    assert float((inside.forces - outside.forces).abs().max()) > 1e-5


def bent(angle: float):
    """Two bonds of 1.5 Å; the ends do not see each other within 2.5 Å."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return molecule_graph(
        [8, 1, 1], [[0, 0, 0], [1.5, 0, 0], [1.5 * c, 1.5 * s, 0]], cutoff=2.5, dtype=DOUBLE
    )


def test_sees_an_angle_that_no_distance_tells():
    model = made(cutoff=2.5, angles=2.5)
    one, other = model(bent(120)), model(bent(170))
    torch.testing.assert_close(bent(120).distance, bent(170).distance)
    assert (one - other).abs().item() > 1e-9
    for three_body in model.three_body:
        torch.nn.init.zeros_(three_body.update.value[0].weight)
    assert (model(bent(120)) - model(bent(170))).abs().item() < 1e-14


def stacked(layers: str) -> Structure:
    """Close-packed layers of copper, 2.55 Å between neighbours."""
    place, n = {"A": (0, 0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}, len(layers)
    lattice = Lattice.hexagonal(2.55, 2.55 * n * np.sqrt(2 / 3))
    return Structure(lattice, ["Cu"] * n, [(*place[one], k / n) for k, one in enumerate(layers)])


def test_first_neighbours_of_fcc_and_hcp_have_the_same_second_moments_and_are_not_told_apart():
    model = made()
    fcc, hcp = (crystal_graph(stacked(layers), dtype=DOUBLE) for layers in ("ABC", "AB"))
    assert model(fcc).item() / 3 == pytest.approx(model(hcp).item() / 2, rel=1e-12)
    farther = [model(graph_of(stacked(layers))).item() / len(layers) for layers in ("ABC", "AB")]
    assert abs(farther[0] - farther[1]) > 1e-6


# Input at the edge of sense


def test_without_triplets_there_is_still_an_energy():
    model = made()
    alone = molecule_graph([18], [[0, 0, 0]], cutoff=5.0, dtype=DOUBLE)
    pair = molecule_graph([18, 18], [[0, 0, 0], [4.5, 0, 0]], cutoff=5.0, dtype=DOUBLE)
    apart = molecule_graph([18, 18], [[0, 0, 0], [9.0, 0, 0]], cutoff=5.0, dtype=DOUBLE)
    for graph in (alone, pair, apart):
        found = differentiate(model, graph, stress=False)
        assert torch.isfinite(found.energy).all() and torch.isfinite(found.forces).all()
    torch.testing.assert_close(model(apart), 2 * model(alone))
    together = model(batch_graphs([alone, pair, bent(120)]))
    torch.testing.assert_close(together, torch.cat([model(one) for one in (alone, pair, bent(120))]))


def test_a_molecule_has_no_stress():
    with pytest.raises(NoCell, match="ask with stress=False"):
        differentiate(made(), bent(120))
    potential = Potential(made(), cutoff=2.0).double()
    potential.references.fit([bent(120), bent(130)], [0.0, 0.0])
    assert potential.eval()(bent(120)).stress is None


def test_one_atom_in_a_cell_thinner_than_the_cutoff_is_the_crystal():
    iron = Structure(2.87 / 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]), ["Fe"], [[0, 0, 0]])
    model = made()
    small, large = (differentiate(model, graph_of(one)) for one in (iron, iron * (2, 2, 2)))
    torch.testing.assert_close(8 * small.energy, large.energy)
    torch.testing.assert_close(small.stress, large.stress)
    assert small.forces.abs().max() < 1e-12
