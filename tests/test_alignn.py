"""ALIGNN against the authors' network with copied weights, its symmetries, and what it separates."""

import sys
import types
from unittest import mock

import numpy as np
import pytest
import torch
from pinned import pinned
from pymatgen.core import Structure

from mg9 import data
from mg9.a_crystal import crystal_graph, molecule_graph, radius_graph
from mg9.a_graph import batch_graphs
from mg9.b_symmetry import exchange, stretch, symmetry_error
from mg9.data import cache
from mg9.data.sources import ALIGNN as SDIST
from mg9.e_alignn import ALIGNN, EdgeGatedConvolution

DOUBLE = torch.float64


def made(**kwargs) -> ALIGNN:
    torch.manual_seed(2)
    return ALIGNN(**{"features": 16, **kwargs}).double().eval()


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    ds = data.formation_energy()
    return [one for one in ds.structures(ds.table.index[50:400:25]) if 1 < len(one) < 9]


@pytest.fixture(scope="module")
def authors():
    """The module of the authors' network, from the pinned archive; what it imports of its package is its
    settings, which only need to keep what they are given, and a graph class that is not used here."""
    sdist, package = pinned(SDIST), f"alignn-{SDIST.version}/alignn"
    settings = type("BaseSettings", (), {"__init__": lambda self, **given: self.__dict__.update(given)})
    stubs = {
        "alignn": types.ModuleType("alignn"),
        "alignn.models": types.ModuleType("alignn.models"),
        "alignn.utils": types.SimpleNamespace(BaseSettings=settings),
        "alignn.torch_graph_builder": types.SimpleNamespace(TorchGraph=object, torchgraph_from_dgl=None),
    }
    with mock.patch.dict(sys.modules, stubs):
        for name in ("utils", "alignn_atomwise_pure"):
            module = types.ModuleType(f"alignn.models.{name}")
            source = cache.member(sdist, f"{package}/models/{name}.py")
            sys.modules[module.__name__] = module
            exec(compile(source, name, "exec"), module.__dict__)
    return module


NAMES = {
    "src_gate": "gate_j",
    "dst_gate": "gate_i",
    "edge_gate": "gate_u",
    "src_update": "own",
    "dst_update": "message",
    "bn_nodes": "node_norm",
    "bn_edges": "edge_norm",
    "alignn_layers": "line_convolutions",
    "gcn_layers": "convolutions",
    "node_update": "on_atoms",
    "edge_update": "on_bonds",
    **{f"edge_embedding.{k}.layer.{n}": f"bonds.{3 * k - 3 + n}" for k in (1, 2) for n in (0, 1)},
    **{f"angle_embedding.{k}.layer.{n}": f"angles.{3 * k - 3 + n}" for k in (1, 2) for n in (0, 1)},
    "fc.": "head.",
}


def renamed(theirs: dict) -> dict:
    ours = {}
    for name, tensor in theirs.items():
        for foreign, own in NAMES.items():
            name = name.replace(foreign, own)
        if not name.endswith(("centers", "_species_table")):
            ours[name] = tensor
    return ours


def test_agrees_with_the_authors_network(authors, crystals):
    """Their tensors in ours; atoms come as features in both, since theirs embeds a table."""
    torch.manual_seed(0)
    config = authors.ALIGNNAtomWisePureConfig(
        name="alignn_atomwise_pure", use_penalty=False, use_zbl=False, three_body_cutoff=100.0
    )
    theirs, ours = authors.ALIGNNAtomWisePure(config).double().eval(), ALIGNN().double().eval()
    theirs.atom_embedding = torch.nn.Identity()
    state = renamed(theirs.state_dict())
    for last in ("line_convolutions.1.on_bonds", "convolutions.1"):  # what these make, theirs never reads
        del state[f"{last}.edge_norm.weight"], state[f"{last}.edge_norm.bias"]
    ours.load_state_dict(state | {"atoms.weight": ours.atoms.weight})
    assert len(state) + 1 == len(ours.state_dict())
    for crystal in crystals:
        graph = crystal_graph(crystal, dtype=DOUBLE)
        rows = ours.atoms(graph.z - 1).detach()
        pos = graph.pos.clone().requires_grad_()
        expected = theirs.forward_tensors(pos, graph.cell[0], rows, *reversed_edges(graph))["energy"] / len(
            rows
        )
        assert ours(graph).item() == pytest.approx(expected.item(), abs=1e-6)


def reversed_edges(graph):
    """j, i and the image as theirs counts it: from the sender to the receiver."""
    j, i = graph.edge_index
    return j, i, -graph.shift


def test_gates_of_an_atom_sum_to_one():
    """All messages alike: the weighted mean is that message, however many edges there are."""
    torch.manual_seed(0)
    layer = EdgeGatedConvolution(features=8).double()
    torch.nn.init.zeros_(layer.message.weight)
    edge_index = torch.tensor([[1, 2, 0, 1], [0, 0, 1, 2]])
    v, u = torch.randn(3, 8, dtype=DOUBLE), torch.randn(4, 8, dtype=DOUBLE)
    found, _ = layer(v, u, edge_index)
    same = v + torch.nn.functional.silu(layer.node_norm(layer.own(v) + layer.message.bias))
    torch.testing.assert_close(found, same, atol=1e-4, rtol=0)


def test_keeps_every_symmetry_and_sees_what_is_another_crystal(crystals):
    model = made()

    def predict(structures):
        with torch.no_grad():
            return model(batch_graphs([crystal_graph(one, dtype=DOUBLE) for one in structures])).tolist()

    few = crystals[:3]
    for error in symmetry_error(predict, few, np.random.default_rng(0)).values():
        assert error.max() < 1e-9
    for change in (lambda one: stretch(one, 1.02), lambda one: exchange(one, 0, "Sn")):
        assert np.abs(np.array(predict([change(one) for one in few])) - predict(few)).min() > 1e-6


def test_a_batch_is_its_crystals_one_by_one(crystals):
    model = made()
    graphs = [crystal_graph(one, dtype=DOUBLE) for one in crystals[:5]]
    torch.testing.assert_close(model(batch_graphs(graphs)), torch.cat([model(one) for one in graphs]))


def bent(angle: float, ends: tuple[int, int]):
    """Two bonds of 1.5 Å from an oxygen; the ends do not see each other within 2.5 Å."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    pos = [[0, 0, 0], [1.5, 0, 0], [1.5 * c, 1.5 * s, 0]]
    return molecule_graph([8, *ends], pos, cutoff=2.5, dtype=DOUBLE)


def difference(model, ends) -> float:
    one, other = bent(120, ends), bent(170, ends)
    torch.testing.assert_close(one.distance, other.distance)
    return (model(one) - model(other)).abs().item()


def test_sees_an_angle_that_no_distance_tells():
    assert difference(made(), (1, 9)) > 1e-6
    assert difference(made(line_layers=0), (1, 9)) < 1e-14


def test_an_angle_between_equal_bonds_is_hidden_by_the_gates():
    """Gates that sum to one only weigh messages against each other: where all bonds of an atom are alike, it
    does not matter which angle weighs how much."""
    assert difference(made(), (1, 1)) < 1e-12


def test_a_crystal_of_like_atoms_hides_its_volume():
    """All messages are one atom's: no weight changes their mean. The authors' network does the same."""
    iron = Structure(2.87 / 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]), ["Fe"], [[0, 0, 0]])
    model = made()
    small, large = (model(crystal_graph(one, dtype=DOUBLE)).item() for one in (iron, stretch(iron, 1.1)))
    assert small == pytest.approx(large, abs=1e-6)


def test_without_bonds_and_in_a_cell_thinner_than_a_bond_there_is_an_answer():
    model = made()
    alone = molecule_graph([18], [[0, 0, 0]], cutoff=5.0, dtype=DOUBLE)
    assert torch.isfinite(model(alone)).all()
    iron = Structure(2.87 / 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]), ["Fe"], [[0, 0, 0]])
    small, large = (radius_graph(one, cutoff=3.0, dtype=DOUBLE) for one in (iron, iron * (2, 2, 2)))
    torch.testing.assert_close(model(small), model(large))
