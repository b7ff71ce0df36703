"""NequIP: its equation written out, features that turn with the molecule, and forces of two kinds."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mg9.a_crystal import molecule_graph
from mg9.a_errors import UnknownElement
from mg9.a_graph import Neighbours, edge_vectors
from mg9.f_irreps import SCALAR, Irrep, natural, spherical_harmonics, wigner
from mg9.f_nequip import Interaction, NativeForces, NequIP
from mg9.potential import differentiate

DOUBLE = torch.float64
Z = [6, 8, 1, 1, 9]
POS = np.array([[0.0, 0.0, 0.0], [1.2, 0.1, 0.0], [-0.6, 0.9, 0.1], [-0.5, -0.9, 0.3], [0.2, 0.3, 1.4]])


def graph_of(pos, z=Z):
    return molecule_graph(z, np.asarray(pos), cutoff=4.0, dtype=DOUBLE)


def made(kind=NequIP, **kwargs):
    torch.manual_seed(3)
    return kind(**{"features": 4, "cutoff": 4.0, "mean_neighbors": 3.0, **kwargs}).double().eval()


def turn(mirror: bool) -> np.ndarray:
    matrix = Rotation.random(random_state=5).as_matrix()
    return -matrix if mirror else matrix


def test_a_round_is_its_equation_written_out():
    """A loop over pairs; i receives, and Y looks from i to j."""
    torch.manual_seed(0)
    before = {SCALAR: 3, natural(1): 2}
    widths = {SCALAR: 3, natural(1): 2, Irrep(1, 1): 2}
    layer = Interaction(before, widths, l_max=1, sizes=(4, 8), mean_neighbors=3.0, elements=10).double()
    graph = graph_of(POS)
    generator = torch.Generator().manual_seed(1)
    h = {ir: torch.randn(5, F, ir.dim, dtype=DOUBLE, generator=generator) for ir, F in before.items()}
    basis = torch.randn(graph.edge_index.size(1), 4, dtype=DOUBLE, generator=generator)
    r, element = edge_vectors(graph), graph.z
    Y = spherical_harmonics(r, 1)
    found = layer(h, Y, basis, Neighbours(graph.edge_index, 5), element)

    conv = layer.convolution
    R = conv.filter(basis).split(conv.widths, dim=1)
    into = layer.into(h)
    sums = {irrep: torch.zeros(5, width, irrep.dim, dtype=DOUBLE) for irrep, width in conv.after.items()}
    for edge, (j, i) in enumerate(graph.edge_index.T.tolist()):
        y = [torch.ones(1, dtype=DOUBLE), 3**0.5 * r[edge] / r[edge].norm()]
        parts = {irrep: [] for irrep in sums}
        for (a, b, to), filter_ij in zip(conv.paths, R, strict=True):
            x = into[a][j] * filter_ij[edge].unsqueeze(1)
            if (a.l, b.l, to.l) == (1, 1, 0):
                m = (x @ y[1]).unsqueeze(1) / 3**0.5
            elif (a.l, b.l, to.l) == (1, 1, 1):
                m = torch.linalg.cross(x, y[1].expand_as(x)) / 2**0.5
            else:
                m = x * y[b.l]
            parts[to].append(m)
        for irrep, made_here in parts.items():
            sums[irrep][i] += torch.cat(made_here)
    change, kept = layer.out_of(sums), layer.keep(h, element)
    summed = {irrep: x / 3.0**0.5 + kept.get(irrep, 0.0) for irrep, x in change.items()}
    for irrep, expected in layer.gate(summed).items():
        torch.testing.assert_close(found[irrep], expected)
    assert set(found) == set(widths)


@pytest.mark.parametrize("mirror", [False, True])
def test_features_turn_with_the_molecule(mirror):
    model, R = made(layers=3), turn(mirror)
    model.interactions[-1] = model.interactions[1]  # so that all irreps come out
    before, after = model.features_of(graph_of(POS)), model.features_of(graph_of(POS @ R.T))
    assert {str(irrep) for irrep in before} == {"0e", "1o", "1e"}
    for irrep, x in before.items():
        expected = x @ wigner(irrep, torch.from_numpy(R)).T
        torch.testing.assert_close(after[irrep], expected, rtol=0, atol=1e-12)
        assert x.abs().max() > 1e-3


def test_a_product_of_the_wrong_parity_is_betrayed_by_a_mirror(monkeypatch):
    """The cross product of two vectors kept as a vector: rotations do not tell."""

    def careless(self, other):
        return map(natural, range(abs(self.l - other.l), self.l + other.l + 1))

    monkeypatch.setattr(Irrep, "__mul__", careless)
    wrong = made(layers=3, parity=False)
    with torch.no_grad():
        at_rest, turned, mirrored = (
            float(wrong(graph_of(POS @ R.T))) for R in (np.eye(3), turn(False), turn(True))
        )
    assert abs(turned - at_rest) < 1e-10 * abs(at_rest)
    assert abs(mirrored - at_rest) > 1e-6 * abs(at_rest)


@pytest.mark.parametrize("mirror", [False, True])
def test_native_forces_turn_too(mirror):
    model, R = made(NativeForces), turn(mirror)
    with torch.no_grad():
        before, after = model(graph_of(POS)), model(graph_of(POS @ R.T))
    assert before.shape == (5, 3) and before.abs().max() > 1e-3
    torch.testing.assert_close(after, before @ torch.from_numpy(R).T, rtol=0, atol=1e-12)


def work_around_a_square(forces, side=0.4, steps=40):
    """The work that the forces do on atom 1 along a closed path, in eV."""
    corners = np.array([[0, 0, 0], [side, 0, 0], [side, side, 0], [0, side, 0], [0, 0, 0]])
    total = 0.0
    for start, end in zip(corners, corners[1:], strict=False):
        for step in range(steps):
            pos = POS.copy()
            pos[1] += start + (step + 0.5) / steps * (end - start)
            total += forces(graph_of(pos))[1].numpy() @ (end - start) / steps
    return abs(total)


def test_forces_from_an_energy_do_no_work_around_a_loop_and_native_ones_do():
    model, native = made(layers=2), made(NativeForces, layers=2)

    def native_forces(graph):
        with torch.no_grad():
            return native(graph)

    def size(forces):
        return float(forces(graph_of(POS)).abs().max())

    def gradient(graph):
        return differentiate(model, graph, stress=False).forces

    assert work_around_a_square(gradient) < 1e-4 * size(gradient)
    assert work_around_a_square(native_forces) > 1e-3 * size(native_forces)


def test_without_directions_it_sees_distances_only():
    """l_max = 0: every path goes from scalars to scalars."""
    assert all(
        path == (SCALAR, SCALAR, SCALAR)
        for interaction in made(l_max=0, parity=False).interactions
        for path in interaction.convolution.paths
    )


def test_an_element_without_weights_is_refused():
    with pytest.raises(UnknownElement, match="atomic number 9: this network has no weights for it"):
        made(elements=[1, 6, 8])(graph_of(POS))
