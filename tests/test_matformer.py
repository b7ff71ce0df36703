"""All-pairs attention in the cell and Matformer: equations written out, what each sees, what each cannot."""

import itertools
import math

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mg9 import data
from mg9.a_crystal import cell_graph, crystal_graph, lattice_edges
from mg9.a_errors import AtomsCoincide
from mg9.a_graph import batch_graphs, edge_vectors
from mg9.b_symmetry import another_cell, exchange, random_cell_change, stretch
from mg9.g_matformer import (
    CellAttention,
    CellTransformer,
    Matformer,
    MatformerConvolution,
    NeighbourMatformer,
    softmax_over_neighbours,
)

DOUBLE = torch.float64
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COPPER = Structure(Lattice([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), ["Cu"], [[0, 0, 0]])
LONG = Structure(Lattice.orthorhombic(4, 4, 30), ["Na", "Cl", "O"], [[0, 0, 0], [0, 0, 0.1], [0, 0, 0.5]])


def made(kind, **kwargs):
    torch.manual_seed(0)
    return kind(**{"features": 8, "layers": 2, **kwargs}).double().eval()


def graph_for(model, structure):
    build = cell_graph if isinstance(model, CellTransformer) else crystal_graph
    return build(structure, dtype=DOUBLE)


def value(model, structure) -> float:
    with torch.no_grad():
        return float(model(graph_for(model, structure)))


# The graphs


def skewed(seed: int) -> Structure:
    rng = np.random.default_rng(seed)
    structure = Structure(
        Lattice(4 * np.eye(3) + rng.normal(size=(3, 3))), ["Na"] * 4, rng.uniform(size=(4, 3))
    )
    for _ in range(3):
        structure = another_cell(structure, random_cell_change(rng))
    return structure


@pytest.mark.parametrize("seed", range(8))
def test_a_pair_of_the_cell_graph_is_the_nearest_of_all_images(seed):
    structure = skewed(seed)
    graph = cell_graph(structure, dtype=DOUBLE)
    N = len(structure)
    images = np.array(list(itertools.product(range(-7, 8), repeat=3)))
    apart = structure.frac_coords[None, :, None] - structure.frac_coords[:, None, None] + images
    nearest = np.linalg.norm(apart @ structure.lattice.matrix, axis=-1).min(axis=-1)
    assert graph.edge_index.tolist() == [list(range(N)) * N, np.repeat(range(N), N).tolist()]
    np.testing.assert_allclose(graph.distance.reshape(N, N), nearest, atol=1e-9)
    torch.testing.assert_close(edge_vectors(graph).norm(dim=1), graph.distance, rtol=0, atol=1e-9)


def test_atoms_in_one_place_are_refused():
    with pytest.raises(AtomsCoincide, match="Na1 Cl1: atoms 0 and 1 are 0.020 Å apart"):
        cell_graph(Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.005]]))


def test_lattice_edges_are_six_images_of_each_atom():
    batch = batch_graphs([crystal_graph(one, dtype=DOUBLE) for one in (CSCL, COPPER)])
    edge_index, distance = lattice_edges(batch)
    assert edge_index.tolist() == [[0] * 6 + [1] * 6 + [2] * 6] * 2
    d = 1.8 * math.sqrt(2)
    sums = [1.8 * math.sqrt(1 + 1 + 4)] * 3  # (0, 1, 1) + (1, 0, 1) = (1, 1, 2), and so on
    expected = 2 * ([4.1] * 3 + [4.1 * math.sqrt(2)] * 3) + [d] * 3 + sums
    np.testing.assert_allclose(distance, expected, atol=1e-12)


# The slide's attention


def test_two_atoms_by_hand():
    """CsCl: two queries, two keys, distances 0 and a sqrt(3) / 2; one head of two features."""
    torch.manual_seed(0)
    layer = CellAttention(features=2, edge_features=1, heads=1).double()
    v = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=DOUBLE)
    u = torch.tensor([[0.0], [0.7], [0.7], [0.0]], dtype=DOUBLE)  # of 0-0, 1-0, 0-1, 1-1
    edge_index = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]])
    with torch.no_grad():
        for part in (layer.query, layer.key, layer.value, layer.join):
            part.weight.copy_(torch.eye(2))
            part.bias.zero_()
        layer.query.bias.copy_(torch.tensor([1.0, 0.0]))
        layer.position.weight.fill_(-1.5)
        layer.atomwise[3].weight.zero_()
        layer.atomwise[3].bias.zero_()
        # Two numbers with their mean taken out and divided by their deviation are -1 and +1: atom 0 is
        # (1, -1), atom 1 is (-1, 1). q.k is 2 with itself, -2 with the other, +1 for key 0, -1 for key 1.
        score = np.array([[2 + 1, -2 - 1], [-2 + 1, 2 - 1]]) / math.sqrt(2) - 1.5 * np.array(
            [[0, 0.7], [0.7, 0]]
        )
        a = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
        weights = layer.weights(v, u, edge_index)
        moved = layer(v, u, edge_index) - v
    np.testing.assert_allclose(weights.reshape(2, 2), a, atol=1e-5)
    np.testing.assert_allclose(moved, a @ np.array([[1, -1], [-1, 1]]), atol=1e-5)


def test_rows_of_attention_sum_to_one_and_do_not_overflow():
    ds = data.formation_energy()
    model = made(CellTransformer)
    batch = batch_graphs([cell_graph(one, dtype=DOUBLE) for one in ds.structures(ds.table.index[:200:20])])
    for loud in (1.0, 1e4):
        with torch.no_grad():
            model.layers[0].query.weight.mul_(loud)
            for weights in model.attention(batch):
                assert weights.shape == (batch.num_edges, 4) and (weights >= 0).all()
                rows = torch.zeros(batch.num_nodes, 4, dtype=DOUBLE).index_add(
                    0, batch.edge_index[1], weights
                )
                torch.testing.assert_close(rows, torch.ones_like(rows))


def test_the_softmax_has_the_gradient_of_torchs():
    torch.manual_seed(0)
    score = torch.randn(6, 2, dtype=DOUBLE, requires_grad=True)
    i = torch.tensor([1, 0, 1, 0, 0, 1])
    assert torch.autograd.gradcheck(lambda score: softmax_over_neighbours(score, i, 2), (score,))
    torch.testing.assert_close(
        softmax_over_neighbours(score, i, 2)[i == 1], torch.softmax(score[i == 1], dim=0)
    )


def test_an_atom_attends_to_one_that_is_far_away():
    """15 Å away, beyond every cutoff: its element and its place change the weights of atom 0, in the first
    layer."""
    model = made(CellTransformer, reach=20.0)
    elsewhere = Structure(LONG.lattice, LONG.species, [*LONG.frac_coords[:2], [0, 0, 0.45]])
    rows = [
        model.attention(cell_graph(one, dtype=DOUBLE))[0][:3]
        for one in (LONG, exchange(LONG, 2, "S"), elsewhere)
    ]
    assert (rows[1] - rows[0]).abs().max() > 1e-3 and (rows[2] - rows[0]).abs().max() > 1e-3


def test_the_distances_are_used():
    model, wider = made(CellTransformer), stretch(CSCL, 1.1)
    assert abs(value(model, wider) - value(model, CSCL)) > 1e-6
    with torch.no_grad():
        for layer in model.layers:
            layer.position.weight.zero_()
    assert value(model, wider) == pytest.approx(value(model, CSCL), abs=1e-14)


def test_all_pairs_attention_is_blind_to_the_lattice_constant_of_copper():
    """Its only pair is the atom with itself; images are not in the cell. The paper's network sees them."""
    wider = stretch(COPPER, 1.1)
    assert value(made(CellTransformer), wider) == value(made(CellTransformer), COPPER)
    assert abs(value(made(Matformer), wider) - value(made(Matformer), COPPER)) > 1e-6


# The paper's


def test_a_convolution_is_its_equation_written_out():
    torch.manual_seed(0)
    F, H = 4, 3
    layer = MatformerConvolution(features=F, heads=H).double().eval()
    layer.norm.running_mean.normal_()
    graph = crystal_graph(CSCL, dtype=DOUBLE)
    j, i = graph.edge_index.tolist()
    v, e = torch.randn(2, F, dtype=DOUBLE), torch.randn(len(i), F, dtype=DOUBLE)
    with torch.no_grad():
        summed = torch.zeros(2, H, F, dtype=DOUBLE)
        for n in range(len(i)):
            for h in range(H):
                part = slice(h * F, (h + 1) * F)
                q, k, w = (
                    torch.stack([linear(v[a])[part] for a in (i[n], j[n])])
                    for linear in (layer.query, layer.key, layer.value)
                )
                bond = layer.edge(e[n])[part]
                a = torch.cat([q[0]] * 3) * torch.cat([k[0], k[1], bond]) / math.sqrt(3 * F)
                gate = 1 / (1 + torch.exp(-layer.gate_norm(a)))
                summed[i[n], h] += layer.message(gate * layer.content(torch.cat([w[0], w[1], bond])))
        x = layer.norm(layer.join(summed.flatten(1)))
        expected = layer.skip(v) + x / (1 + torch.exp(-x))
        torch.testing.assert_close(layer(v, e, graph.edge_index), expected)


def test_gates_are_no_softmax():
    """They lie in 0 to 1 but do not sum to one: an atom with twice the neighbours hears twice as much."""
    layer = MatformerConvolution(features=4, heads=2)
    graph = crystal_graph(CSCL)
    gates = layer.gates(torch.randn(2, 4), torch.randn(graph.num_edges, 4), graph.edge_index)
    assert ((gates > 0) & (gates < 1)).all()
    assert gates[graph.edge_index[1] == 0].sum(dim=0).min() > 1.5


def test_a_distant_atom_is_out_of_reach_of_one_layer_but_the_lattice_is_not():
    def after_one_layer(structure):
        graph = crystal_graph(structure, dtype=DOUBLE)
        model = made(Matformer, layers=1)
        edge_index, distance = model.edges(graph)
        e = model.bonds(model.basis(distance))
        return model.convolutions[0](model.atoms(graph.z), e, edge_index)[0].detach()

    before = after_one_layer(LONG)
    torch.testing.assert_close(after_one_layer(exchange(LONG, 2, "S")), before, rtol=0, atol=0)
    shorter = Structure(Lattice.orthorhombic(4, 4.2, 30), LONG.species, LONG.frac_coords)
    assert (after_one_layer(shorter) - before).abs().max() > 1e-6


def test_edges_along_the_lattice_are_used_and_belong_to_one_choice_of_cell():
    """Without them the network is another function, and keeps what they break."""
    change = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    with_edges, without = made(Matformer), made(NeighbourMatformer)
    without.load_state_dict(with_edges.state_dict())
    assert abs(value(with_edges, CSCL) - value(without, CSCL)) > 1e-6
    assert abs(value(with_edges, another_cell(CSCL, change)) - value(with_edges, CSCL)) > 1e-6
    assert value(without, another_cell(CSCL, change)) == pytest.approx(value(without, CSCL), abs=1e-12)
