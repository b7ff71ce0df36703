"""Allegro: nothing beyond the cutoff counts, so a crystal can be cut up and put together again."""

import numpy as np
import pytest
import torch
from pymatgen.core import Structure

from mg9 import data
from mg9.a_crystal import molecule_graph, radius_graph
from mg9.a_graph import edge_vectors
from mg9.f_allegro import Allegro
from mg9.f_irreps import SCALAR, natural
from mg9.f_nequip import NequIP

DOUBLE, CUTOFF = torch.float64, 4.0


def made(kind=Allegro, **kwargs):
    torch.manual_seed(2)
    return kind(**{"features": 4, "cutoff": CUTOFF, "mean_neighbors": 10.0, **kwargs}).double().eval()


@pytest.fixture(scope="module")
def crystal() -> Structure:
    ds = data.formation_energy()
    one = next(
        one for one in ds.structures(ds.table.index[:300]) if 6 < len(one) < 12 and len(one.composition) > 2
    )
    one = one.copy()
    one.perturb(0.1)
    one.make_supercell([3, 3, 3])
    return one


def graph_of(structure):
    return radius_graph(structure, cutoff=CUTOFF, dtype=DOUBLE)


def test_the_sum_around_an_atom_is_written_out():
    """G_i of one layer, by a loop over pairs, and its product with V_ij."""
    model = made(layers=1)
    pos = np.array([[0.0, 0, 0], [1.4, 0.2, 0], [-0.4, 1.2, 0.5], [0.1, -0.8, 1.1]])
    graph = molecule_graph([6, 8, 1, 1], pos, cutoff=CUTOFF, dtype=DOUBLE)
    (j, i), r = graph.edge_index, graph.distance
    layer, envelope = model.layers[0], model.basis.envelope(graph.distance).unsqueeze(1)
    atoms = model.atoms(graph.z - 1)
    x = model.pairs(torch.cat([atoms[i], atoms[j], model.basis(r)], dim=1)) * envelope
    y = torch.cat([torch.ones(len(r), 1, dtype=DOUBLE), 3**0.5 * edge_vectors(graph) / r.unsqueeze(1)], 1)
    w_V, w_G = model.directions(x).chunk(2, dim=1), layer.around(x).chunk(2, dim=1)
    scalars = []
    for ij in range(len(i)):
        same = [ik for ik in range(len(i)) if i[ik] == i[ij]]
        G = [
            sum(w_G[k][ik, :, None] * y[ik, part] for ik in same) / 10.0**0.5 for k, part in enumerate(PARTS)
        ]
        V = [w_V[k][ij, :, None] * y[ij, part] for k, part in enumerate(PARTS)]
        dots = [(V[0] * G[0]).squeeze(1), (V[1] * G[1]).sum(1) / 3**0.5]
        scalars.append(torch.cat(dots))
    order = [path[0] for path in layer.paths]
    assert order == [SCALAR, natural(1)]
    x = (x + layer.update(torch.cat([x, torch.stack(scalars)], dim=1)) * envelope) / 2**0.5
    E_ij = (model.pairwise(x) * envelope).squeeze(1)
    expected = torch.stack([E_ij[i == a].sum() for a in range(4)]) / 10.0**0.5
    torch.testing.assert_close(model.atom_energies(graph), expected)


PARTS = [slice(0, 1), slice(1, 4)]


def test_an_atom_beyond_the_cutoff_changes_nothing(crystal):
    """In two rounds of NequIP's messages it does."""
    first = 0
    near = set(crystal.get_neighbor_list(CUTOFF, sites=[crystal[first]])[1]) | {first}
    within_two = set(crystal.get_neighbor_list(2 * CUTOFF - 1.5, sites=[crystal[first]])[1])
    far = max(within_two - near, key=lambda site: crystal.get_distance(first, site))
    assert CUTOFF + 0.1 < crystal.get_distance(first, far) < 2 * CUTOFF
    moved = crystal.copy()
    moved.translate_sites([far], [0.0, 0.0, 0.2], frac_coords=False)
    assert moved.get_distance(first, far) > CUTOFF
    local, rounds = made(), made(NequIP, layers=2)
    with torch.no_grad():
        before, after = (local.atom_energies(graph_of(one))[first] for one in (crystal, moved))
        assert float(before) == float(after)
        before, after = (rounds.features_of(graph_of(one))[SCALAR][first] for one in (crystal, moved))
        assert (before - after).abs().max() > 1e-10


def test_a_crystal_cut_into_pieces_has_the_same_energy(crystal):
    """Each piece: some atoms, all pairs whose centre is one of them, and nothing else. NequIP needs more."""
    graph, model, rounds = graph_of(crystal), made(), made(NequIP, layers=2)
    pieces = [set(part.tolist()) for part in torch.arange(len(graph.z)).tensor_split(4)]

    def piece(own):
        part = graph.clone()
        keep = torch.tensor([int(i) in own for i in graph.edge_index[1]])
        part.edge_index, part.distance, part.shift = (
            graph.edge_index[:, keep],
            graph.distance[keep],
            graph.shift[keep],
        )
        return part

    with torch.no_grad():
        together = sum(float(model.atom_energies(piece(own))[sorted(own)].sum()) for own in pieces)
        assert together == pytest.approx(float(model(graph)), rel=1e-12)
        per_atom = lambda g: rounds.atomwise(rounds.features_of(g)[SCALAR].squeeze(2)).squeeze(1)  # noqa: E731
        together = sum(float(per_atom(piece(own))[sorted(own)].sum()) for own in pieces)
        assert abs(together / float(rounds(graph)) - 1) > 1e-6
