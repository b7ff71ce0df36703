"""Graphormer: its three biases against networkx and by hand, and that each of them counts."""

import math

import networkx as nx
import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from mg9 import data
from mg9.a_crystal import crystal_graph, molecule_graph
from mg9.a_graph import batch_graphs
from mg9.b_symmetry import exchange, stretch, supercell
from mg9.g_graphormer import BiasedAttention, Graphormer, PathBias

DOUBLE = torch.float64
CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COPPER = Structure(Lattice([[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]), ["Cu"], [[0, 0, 0]])


def made(**kwargs):
    torch.manual_seed(0)
    return Graphormer(**{"features": 8, "layers": 2, **kwargs}).double().eval()


def large() -> list[Structure]:
    """Crystals with paths of several bonds: 20 atoms and more, four neighbours each."""
    ds = data.formation_energy()
    found = ds.structures(ds.table.index[ds.table.nsites >= 20][:3])
    assert len(found) == 3
    return found


def graph_of(structure, neighbors=12):
    return crystal_graph(structure, neighbors=neighbors, dtype=DOUBLE)


def path_bias(graph, hops: int):
    """The module, and what it makes of a single graph: (N, N, H)."""
    torch.manual_seed(1)
    bias = PathBias(heads=2, edge_features=3, hops=hops).double()
    u = torch.randn(graph.num_edges, 3, dtype=DOUBLE)
    j, i = graph.edge_index
    with torch.no_grad():
        return bias, u, bias(u, torch.stack([torch.zeros_like(i), i, j]), 1, graph.num_nodes)[0]


@pytest.mark.parametrize("hops", [1, 2, 4])
def test_biases_are_those_of_all_shortest_paths(hops):
    """Every path that networkx finds, and on it every bond where two atoms have several."""
    longest = 0
    for structure in large():
        graph = graph_of(structure, neighbors=4)
        bias, u, got = path_bias(graph, hops)
        w = bias.by_bond.weight.view(hops, 2, 3)
        net = nx.MultiDiGraph()
        net.add_nodes_from(range(graph.num_nodes))
        for edge, (j, i) in enumerate(graph.edge_index.T.tolist()):
            net.add_edge(i, j, key=edge)
        length = dict(nx.all_pairs_shortest_path_length(nx.DiGraph(net)))
        for a in net:
            for b in net:
                n = length[a].get(b, hops + 1)
                longest = max(longest, n)
                expected = bias.by_hops.weight[min(n, hops + 1)].clone()
                if n <= hops:
                    paths = (
                        [[e] for e in net[a].get(b, {})]
                        if n == 0
                        else list(nx.all_simple_edge_paths(net, a, b, n))
                    )
                    edges = [[e[2] if n else e for e in path] for path in paths]
                    c = [sum(w[k] @ u[e] for k, e in enumerate(path)) / len(path) for path in edges]
                    expected = expected + (sum(c) / len(c) if c else 0)
                torch.testing.assert_close(got[a, b], expected.detach())
    assert longest > 2


def test_a_pair_without_a_path_has_a_bias_of_its_own():
    apart = molecule_graph([8, 1, 6], [[0, 0, 0], [1, 0, 0], [40, 0, 0]], cutoff=3.0, dtype=DOUBLE)
    bias, _, got = path_bias(apart, 3)
    torch.testing.assert_close(got[0, 2], bias.by_hops.weight[4].detach())
    torch.testing.assert_close(got[2, 2], bias.by_hops.weight[0].detach())


def test_two_atoms_and_the_token_by_hand():
    """Scores from the biases alone, the rows of a softmax over three nodes, and what the token hears."""
    layer = BiasedAttention(features=2, heads=1).double()
    h = torch.tensor([[[3.0, 1.0], [1.0, 5.0], [2.0, 0.0]]], dtype=DOUBLE)  # (1, -1), (-1, 1), (1, -1) normed
    bias = torch.tensor(
        [[0.0, 0.0, math.log(2)], [0.0, math.log(3), 0.0], [0.0, 0.0, -torch.inf]], dtype=DOUBLE
    )
    with torch.no_grad():
        for part in (layer.query, layer.key):
            part.weight.zero_()
            part.bias.zero_()
        for part in (layer.value, layer.join):
            part.weight.copy_(torch.eye(2))
            part.bias.zero_()
        layer.nodewise[3].weight.zero_()
        layer.nodewise[3].bias.zero_()
        weights = layer.weights(h, bias[None, None])[0, 0]
        moved = (layer(h, bias[None, None]) - h)[0]
    np.testing.assert_allclose(
        weights, [[1 / 4, 1 / 4, 1 / 2], [1 / 5, 3 / 5, 1 / 5], [1 / 2, 1 / 2, 0]], atol=1e-12
    )
    np.testing.assert_allclose(moved, [[0.5, -0.5], [-0.2, 0.2], [0, 0]], atol=1e-4)


def test_degrees_and_bonds_of_two_atoms_by_hand():
    """CsCl within 4 Å: each atom has eight neighbours of the other kind at a sqrt(3) / 2, and no image of its
    own."""
    model = made(layers=1)
    graph = crystal_graph(CSCL, cutoff=4.0, dtype=DOUBLE)
    assert graph.num_edges == 16
    with torch.no_grad():
        h, bias = model.prepared(graph)
        x = model.atoms.weight[[55, 17]] + model.degree_in.weight[8] + model.degree_out.weight[8]
        torch.testing.assert_close(h[0], torch.cat([model.token[None], x]))
        u = model.basis(torch.tensor([4.1 * math.sqrt(3) / 2], dtype=DOUBLE))
        near = model.bias.by_hops.weight[1] + (model.bias.by_bond.weight.view(4, 4, -1)[0] @ u[0])
        own = model.bias.by_hops.weight[0]
        pairs = torch.stack([torch.stack([own, near]), torch.stack([near, own])]).permute(2, 0, 1)
        torch.testing.assert_close(bias[0, :, 1:, 1:], pairs)
        assert not bias[0, :, 0].any() and not bias[0, :, :, 0].any()  # the token's own bias starts at zero


def test_a_bond_that_only_its_centre_keeps():
    """Shells of 12 are not mutual: i may list j, and j not i. Then the path leads from i to j only."""
    graph = molecule_graph([8, 1], [[0, 0, 0], [1, 0, 0]], cutoff=3.0, dtype=DOUBLE)
    first = (graph.edge_index[1] == 0).nonzero().squeeze(1)
    graph.edge_index, graph.distance = graph.edge_index[:, first], graph.distance[first]
    model = made(layers=1)
    with torch.no_grad():
        h, bias = model.prepared(graph)
        expected = [
            model.atoms.weight[8] + model.degree_in.weight[1] + model.degree_out.weight[0],
            model.atoms.weight[1] + model.degree_in.weight[0] + model.degree_out.weight[1],
        ]
    torch.testing.assert_close(h[0, 1:], torch.stack(expected))
    torch.testing.assert_close(bias[0, :, 2, 1], model.bias.by_hops.weight[5].detach())
    assert (bias[0, :, 1, 2] - bias[0, :, 2, 1]).abs().min() > 1e-6


def test_rows_of_attention_sum_to_one_and_leave_what_is_no_atom_out():
    few = [CSCL, *large()[:1], COPPER]
    batch = batch_graphs([graph_of(one) for one in few])
    for weights in made().attention(batch):
        assert weights.shape == (3, 4, 1 + len(few[1]), 1 + len(few[1]))
        torch.testing.assert_close(weights.sum(dim=3), torch.ones_like(weights[..., 0]))
        assert not weights[0, :, :, 3:].any() and not weights[2, :, :, 2:].any()
        assert (weights[1] > 0).all()


def test_an_atom_attends_to_one_that_is_no_neighbour():
    structure = large()[0]
    graph = graph_of(structure, neighbors=4)
    j, i = graph.edge_index
    bonded = {int(k) for k in torch.cat([j[i == 0], i[j == 0]])}
    far = next(k for k in range(1, len(structure)) if k not in bonded)
    model = made()
    row, other = (
        model.attention(graph_of(one, neighbors=4))[0][0, :, 1]
        for one in (structure, exchange(structure, far, "Xe"))
    )
    assert (row - other).abs().max() > 1e-4


@pytest.mark.parametrize("part", ["bias.by_hops", "bias.by_bond", "degree_in", "degree_out", "token_bias"])
def test_each_bias_is_used(part):
    model, graph = made(), graph_of(CSCL, neighbors=8)
    before = float(model(graph).detach())
    parameter = model.token_bias if part == "token_bias" else model.get_submodule(part).weight
    with torch.no_grad():
        parameter.add_(torch.randn_like(parameter))
    assert abs(float(model(graph).detach()) - before) > 1e-5


def test_a_cell_of_one_atom_sees_its_lattice_constant():
    """Through the bonds to its own images; without them it does not."""
    model, wider = made(), stretch(COPPER, 1.1)
    value = [float(model(graph_of(one)).detach()) for one in (COPPER, wider)]
    assert abs(value[0] - value[1]) > 1e-6
    torch.nn.init.zeros_(model.bias.by_bond.weight)
    value = [float(model(graph_of(one)).detach()) for one in (COPPER, wider)]
    assert value[0] == value[1]


def test_a_supercell_is_not_the_same_set_of_atoms():
    """Copies of an atom are nodes of their own, one hop away: what `contract.py` does not promise."""
    model = made()
    one, two = (float(model(graph_of(s)).detach()) for s in (COPPER, supercell(COPPER, [2, 1, 1])))
    assert abs(one - two) > 1e-4
