"""SchNet against PyTorch Geometric's, its equation, and what it says of its cutoff."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mg9 import data
from mg9.a_crystal import batch_graphs, molecule_graph, radius_graph
from mg9.c_radial import BesselBasis, GaussianBasis, PolynomialEnvelope
from mg9.c_schnet import (
    ContinuousFilter,
    ContinuousFilterConvolution,
    Interaction,
    MeanSchNet,
    SchNet,
    ShiftedSoftplus,
    SlideSchNet,
)

CUTOFF = 5.0
ETHANOL = (
    [6, 6, 8, 1, 1, 1, 1, 1, 1],
    np.array(
        [
            [1.17, -0.39, 0.0],
            [0.0, 0.55, 0.0],
            [-1.2, -0.23, 0.0],
            [2.1, 0.18, 0.0],
            [1.16, -1.03, 0.89],
            [1.16, -1.03, -0.89],
            [0.05, 1.2, 0.88],
            [0.05, 1.2, -0.88],
            [-1.95, 0.39, 0.0],
        ]
    ),
)


def molecules(cutoff: float = CUTOFF) -> list:
    water = ([8, 1, 1], np.array([[0.0, 0.0, 0.12], [0.76, 0.0, -0.47], [-0.76, 0.0, -0.47]]))
    far = ([8, 1], np.array([[0.0, 0.0, 0.0], [4.9, 0.0, 0.0]]))
    made = [ETHANOL, water, far]
    return [molecule_graph(z, pos, cutoff=cutoff, dtype=torch.float64) for z, pos in made]


def spread(model: nn.Module) -> nn.Module:
    """float64, and biases that are not the zeros of the start, so that each of them matters."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


# The oracle


def renamed(ours: SchNet) -> dict[str, torch.Tensor]:
    """Our state under the parameter names of PyTorch Geometric."""
    names = {"embedding.weight": "embedding.weight"}
    for k, _ in enumerate(ours.blocks):
        mine, theirs = f"blocks.{k}", f"interactions.{k}"
        names[f"{mine}.before.weight"] = f"{theirs}.conv.lin1.weight"
        for kind in ("weight", "bias"):
            names[f"{mine}.convolution.filter.layers.0.{kind}"] = f"{theirs}.mlp.0.{kind}"
            names[f"{mine}.convolution.filter.layers.2.{kind}"] = f"{theirs}.mlp.2.{kind}"
            names[f"{mine}.after.0.{kind}"] = f"{theirs}.conv.lin2.{kind}"
            names[f"{mine}.after.2.{kind}"] = f"{theirs}.lin.{kind}"
    for kind in ("weight", "bias"):
        names[f"atomwise.0.{kind}"] = f"lin1.{kind}"
        names[f"atomwise.2.{kind}"] = f"lin2.{kind}"
    state = ours.state_dict()
    assert set(names) == set(state), set(names) ^ set(state)
    return {theirs: state[mine] for mine, theirs in names.items()}


@pytest.mark.parametrize(("cls", "readout"), [(SchNet, "add"), (MeanSchNet, "mean")])
def test_equals_pytorch_geometric_with_equal_weights(cls, readout):
    from torch_geometric.nn.models import SchNet as Theirs

    torch.manual_seed(0)
    spacing = CUTOFF / 49
    basis = GaussianBasis(cutoff=CUTOFF, centers=50, beta=0.5 / spacing**2)
    ours = spread(cls(features=32, layers=3, cutoff=CUTOFF, basis=basis))
    batch = batch_graphs(molecules())

    def edges(pos, which):
        return batch.edge_index, batch.distance

    theirs = Theirs(32, 32, 3, 50, CUTOFF, interaction_graph=edges, readout=readout).double().eval()
    state = renamed(ours)
    # Theirs looks an element up in a table of 100 rows, and keeps the filter network under two names.
    state["embedding.weight"] = state["embedding.weight"][:100]
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    shared = ("conv.nn.", "distance_expansion", "mlp.")
    assert not unexpected and all(any(part in name for part in shared) for name in missing), missing
    expected = theirs(batch.z, batch.pos, batch.batch).squeeze(1)
    torch.testing.assert_close(ours(batch), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 1e-3, "three molecules, three energies"


# Its equation


def test_the_convolution_is_the_slides_sum_atom_by_atom():
    torch.manual_seed(0)
    layer = spread(ContinuousFilterConvolution(features=4, edge_features=3))
    v, u = torch.randn(5, 4).double(), torch.randn(12, 3).double()
    envelope, edge_index = torch.rand(12).double(), torch.randint(5, (2, 12))
    expected = torch.zeros(5, 4).double()
    for e, (j, i) in enumerate(edge_index.T.tolist()):
        expected[i] += v[j] * layer.filter.layers(u[e]) * envelope[e]
    torch.testing.assert_close(layer(v, u, envelope, edge_index), expected, rtol=0, atol=1e-12)


def test_the_centre_receives_and_the_neighbour_sends():
    torch.manual_seed(0)
    layer = spread(Interaction(features=4, edge_features=3))
    v, u = torch.randn(3, 4).double(), torch.randn(1, 3).double()
    new = layer(v, u, torch.ones(1).double(), torch.tensor([[1], [0]]))
    lonely = v + layer.after(torch.zeros(3, 4).double())
    assert torch.equal(new[1:], lonely[1:]) and not torch.allclose(new[0], lonely[0])


def test_the_slides_update_never_mixes_channels():
    """With it, a change of one channel of the embedding stays there; the paper's block spreads it."""
    graph = molecules()[0]
    for cls, stays in ((SlideSchNet, True), (SchNet, False)):
        torch.manual_seed(0)
        model = spread(cls(features=8))
        u, envelope = model.basis(graph.distance), model.envelope(graph.distance)

        def after_one_block(v, block=model.blocks[0], u=u, envelope=envelope):
            return block(v, u, envelope, graph.edge_index)

        v = model.embedding(graph.z)
        changed = v + torch.eye(8).double()[2]
        moved = (after_one_block(changed) - after_one_block(v)).abs().sum(0) > 1e-9
        assert moved[2] and bool(moved[[0, 1, 3, 4, 5, 6, 7]].any()) != stays


def test_shifted_softplus_is_zero_at_zero():
    x = torch.linspace(-30, 30, 101).double()
    torch.testing.assert_close(ShiftedSoftplus()(x), torch.log(0.5 * x.exp() + 0.5))
    assert float(ShiftedSoftplus()(torch.zeros(()))) == pytest.approx(0.0, abs=1e-7)


def test_the_filter_is_another_one_at_another_distance():
    torch.manual_seed(0)
    basis, filter_ij = GaussianBasis(cutoff=CUTOFF), ContinuousFilter(features=4, edge_features=41)
    near, far = filter_ij(basis(torch.tensor([2.3, 2.7])), torch.ones(2))
    assert (near - far).abs().max() > 1e-3


def test_its_defaults_are_the_published_ones():
    model = SchNet()
    assert model.embedding.embedding_dim == 64 and len(model.blocks) == 3
    assert float(model.basis.mu.diff().mean()) == pytest.approx(0.1) and model.basis.beta == 10.0


# Basis, envelope, size


@pytest.mark.parametrize("basis", [None, BesselBasis(cutoff=CUTOFF)])
@pytest.mark.parametrize("envelope", [None, PolynomialEnvelope(cutoff=CUTOFF)])
def test_edges_beyond_the_cutoff_do_not_count(basis, envelope):
    torch.manual_seed(0)
    model = spread(SchNet(features=8, cutoff=CUTOFF, basis=basis, envelope=envelope))
    structure = data.formation_energy().structure("mp-22865")
    near, wide = (radius_graph(structure, cutoff=r, dtype=torch.float64) for r in (CUTOFF, 7.0))
    assert wide.num_edges > 1.5 * near.num_edges
    torch.testing.assert_close(model(near), model(wide), rtol=0, atol=1e-10)


def test_the_energy_of_molecules_far_apart_is_the_sum():
    torch.manual_seed(0)
    model, (z, pos) = spread(SchNet(features=8)), ETHANOL
    pair = molecule_graph([*z, *z], np.concatenate([pos, pos + 50.0]), cutoff=CUTOFF, dtype=torch.float64)
    torch.testing.assert_close(model(pair), 2 * model(molecules()[0]), rtol=1e-12, atol=1e-12)
    mean = MeanSchNet(features=8).double()
    mean.load_state_dict(model.state_dict())
    assert math.isclose(float(mean(pair)), float(model(pair)) / 18, rel_tol=1e-12)
