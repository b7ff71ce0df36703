"""MEGNet as the deck has it: the order of its updates, its state, its heads, labels that are missing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from mg9 import data
from mg9.a_crystal import crystal_graph, molecule_graph, radius_graph
from mg9.a_graph import batch_graphs
from mg9.b_symmetry import exchange, stretch, symmetry_error
from mg9.e_megnet import MEGNet, masked_error
from mg9.e_megnet_paper import ReleasedMEGNet, RetrainedMEGNet
from mg9.e_updates import BondUpdate

DOUBLE = torch.float64


@pytest.fixture(scope="module")
def crystals() -> list[Structure]:
    ds = data.formation_energy()
    return ds.structures(ds.table.index[:300:25])


def graphs_of(structures, **kwargs):
    return [radius_graph(one, cutoff=5.0, dtype=DOUBLE, **kwargs) for one in structures]


def made(seed=0, **kwargs) -> MEGNet:
    torch.manual_seed(seed)
    model = MEGNet(**kwargs).double().eval()
    torch.nn.init.normal_(model.token)
    return model


def test_the_split_product_is_the_paper_s_concatenation(crystals):
    torch.manual_seed(0)
    update = BondUpdate(features=8, hidden=16).double()
    batch = batch_graphs(graphs_of(crystals))
    j, i = batch.edge_index
    v, state = torch.randn(batch.num_nodes, 8).double(), torch.randn(batch.num_graphs, 8).double()
    e = torch.randn(len(i), 8).double()
    z_ij = torch.cat([v[i], v[j], e, state[batch.batch[i]]], dim=1)
    torch.testing.assert_close(update(v, e, state, batch.edge_index, batch.batch), update.layers(z_ij))


def test_a_round_is_atom_bond_atom_global_bond_atom(crystals):
    """Against loops over atoms and edges; the last round ends at the state."""
    model = made(features=4, hidden=6, rounds=2)
    graph = graphs_of(crystals)[4]
    assert len(set(graph.z.tolist())) > 1  # in an element all atoms may be alike, and no order matters
    j, i = graph.edge_index.tolist()
    with torch.no_grad():
        v, e = list(model.atoms(graph.z - 1)), list(model.bonds(model.basis(graph.distance)))
        u = model.token
        for order in ("bond atom state bond atom".split(), "bond atom state".split()):
            updates = iter(model.rounds[0 if len(order) == 5 else 1])
            for kind in order:
                phi = next(updates).layers
                if kind == "bond":
                    e = [e[k] + phi(torch.cat([v[i[k]], v[j[k]], e[k], u])) for k in range(len(i))]
                elif kind == "atom":
                    ends = [[e[k] for k in range(len(i)) if i[k] == a] for a in range(len(v))]
                    means = [torch.stack(here).mean(0) for here in ends]
                    v = [v[a] + phi(torch.cat([means[a], v[a], u])) for a in range(len(v))]
                else:
                    u = u + phi(torch.cat([torch.stack(e).mean(0), torch.stack(v).mean(0), u]))
        expected = model.heads[0](u)
        torch.testing.assert_close(model(graph), expected)


def test_every_parameter_is_reached_by_the_readout(crystals):
    model = made(state_size=1, heads=2, rounds=3)
    graphs = graphs_of(crystals)
    for k, graph in enumerate(graphs):
        graph.state = torch.tensor([[0.1 * k + 0.1]], dtype=DOUBLE)
    model(batch_graphs(graphs)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_batch_is_its_crystals_one_by_one(crystals):
    for model in (made(), made(heads=3), ReleasedMEGNet().double()):
        graphs = graphs_of(crystals)
        together = model(batch_graphs(graphs))
        single = torch.cat([model(graph) for graph in graphs])
        assert together.shape == ((len(graphs), 3) if getattr(model, "heads", [0])[2:] else (len(graphs),))
        torch.testing.assert_close(together, single)


@pytest.mark.parametrize("kind", [MEGNet, ReleasedMEGNet, RetrainedMEGNet])
def test_an_atom_without_bonds_has_a_value(kind, crystals):
    """Set2Set over no bonds answers zero, also beside a crystal that has some."""
    torch.manual_seed(0)
    model, alone = kind().double().eval(), molecule_graph([6], [[0, 0, 0]], cutoff=5.0, dtype=DOUBLE)
    graph = graphs_of(crystals)[0]
    single = torch.cat([model(graph), model(alone)])
    assert torch.isfinite(single).all()
    torch.testing.assert_close(model(batch_graphs([graph, alone])), single)


@pytest.mark.parametrize("build", [crystal_graph, lambda one, **kw: radius_graph(one, cutoff=5.0, **kw)])
def test_keeps_every_symmetry_and_sees_what_is_another_crystal(build, crystals):
    model = made()

    def predict(structures):
        with torch.no_grad():
            return model(batch_graphs([build(one, dtype=DOUBLE) for one in structures])).tolist()

    few = crystals[:4]
    for error in symmetry_error(predict, few, np.random.default_rng(0)).values():
        assert error.max() < 1e-10
    for change in (lambda one: stretch(one, 1.02), lambda one: exchange(one, 0, "Sn")):
        assert np.abs(np.array(predict([change(one) for one in few])) - predict(few)).min() > 1e-6


# The state


def test_the_same_crystal_in_another_state_is_another_input(crystals):
    model = made(state_size=2)
    graph = graphs_of(crystals)[2]
    values = []
    for state in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]):
        graph.state = torch.tensor([state], dtype=DOUBLE)
        values.append(model(graph).item())
    assert len({round(value, 6) for value in values}) == 3


def test_states_stay_with_their_crystals(crystals):
    model = made(state_size=1)
    graphs = graphs_of(crystals[:3])
    for k, graph in enumerate(graphs):
        graph.state = torch.tensor([[float(k)]], dtype=DOUBLE)
    torch.testing.assert_close(model(batch_graphs(graphs)), torch.cat([model(one) for one in graphs]))


def test_a_state_that_was_announced_and_is_not_there_is_refused(crystals):
    model = made(state_size=2)
    graph = graphs_of(crystals)[0]
    with pytest.raises(ValueError, match="a state of 2 numbers was announced, but the graph has none"):
        model(graph)
    graph.state = torch.zeros(1, 3, dtype=DOUBLE)
    with pytest.raises(ValueError, match=r"the graph has \(1, 3\); set graph.state"):
        model(graph)


# Several properties, and labels that are missing


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_missing_label_weighs_nothing(seed):
    rng = np.random.default_rng(seed)
    predicted = torch.tensor(rng.normal(size=(6, 3)), requires_grad=True)
    labels = rng.normal(size=(6, 3))
    labels[rng.random((6, 3)) < 0.5] = np.nan
    if np.isnan(labels).all():
        labels[0, 0] = 1.0
    error = masked_error(predicted, torch.tensor(labels))
    columns = np.abs(predicted.detach().numpy() - labels)
    expected = np.mean([np.nanmean(column) for column in columns.T if not np.isnan(column).all()])
    assert float(error.detach()) == pytest.approx(expected)
    error.backward()
    assert torch.isfinite(predicted.grad).all()
    assert not predicted.grad[torch.tensor(np.isnan(labels))].any()


def test_labels_of_another_shape_or_none_at_all_are_refused():
    with pytest.raises(ValueError, match=r"shape \(4, 2\), labels \(4,\)"):
        masked_error(torch.zeros(4, 2), torch.zeros(4))
    with pytest.raises(ValueError, match="none of these rows has a label"):
        masked_error(torch.zeros(4, 2), torch.full((4, 2), torch.nan))


def test_heads_learn_two_properties_from_rows_that_each_know_one(crystals):
    """Half of the rows know the volume per atom, the other half the mean atomic number."""
    torch.manual_seed(0)
    graphs = [radius_graph(one, cutoff=5.0) for one in crystals]
    wanted = torch.tensor([[one.volume / len(one), float(np.mean(one.atomic_numbers))] for one in crystals])
    wanted = (wanted - wanted.mean(0)) / wanted.std(0)
    labels = wanted.clone()
    labels[::2, 0] = labels[1::2, 1] = torch.nan
    model, batch = MEGNet(heads=2, rounds=2), batch_graphs(graphs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = float(masked_error(model(batch), labels))
    for _ in range(100):
        loss = masked_error(model(batch), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert before > 0.5 and float(masked_error(model(batch), labels)) < 0.2
