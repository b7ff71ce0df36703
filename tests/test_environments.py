"""Hand-made descriptors against DScribe and geometry, and what each of them cannot see."""

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from mg9 import data
from mg9.a_crystal import molecule_graph, radius_graph
from mg9.a_environments import acsf, environments, g2, g4, soap, voronoi
from mg9.b_symmetry import permute, random_rotation, rotate

CUTOFF, RADIAL, ANGULAR = 4.5, ((0.5, 2.0), (1.5, 3.0)), ((0.03, 1.0, 1), (0.03, 2.0, -1), (0.1, 4.0, 1))


@pytest.fixture(scope="module")
def crystals():
    energies = data.formation_energy()
    return [energies.structure(key) for key in ("mp-22865", "mp-5827", "mp-2133")]  # CsCl, CaTiO3, ZnO


def graph_of(structure):
    return radius_graph(structure, cutoff=CUTOFF, dtype=torch.float64)


def numbers(structure):
    return sorted(set(structure.atomic_numbers))


@pytest.mark.parametrize("which", range(3))
def test_acsf_is_dscribes(crystals, which):
    from dscribe.descriptors import ACSF

    structure, elements = crystals[which], numbers(crystals[which])
    theirs = ACSF(r_cut=CUTOFF, g2_params=RADIAL, g4_params=ANGULAR, species=elements, periodic=True).create(
        AseAtomsAdaptor.get_atoms(structure, msonable=False)
    )
    ours = acsf(graph_of(structure), elements, cutoff=CUTOFF, radial=RADIAL, angular=ANGULAR)
    # Pairs of elements: theirs run (A, A), (B, A), (B, B), ...; ours (A, A), (A, B), ..., (B, B), ...
    n, radial, angular = len(elements), 1 + len(RADIAL), len(ANGULAR)
    ordered = [(a, b) for a in range(n) for b in range(a, n)]
    wanted = [(a, b) for b in range(n) for a in range(b + 1)]
    place = [ordered.index(pair) for pair in wanted]
    pairs = ours[:, n * radial :].reshape(len(structure), len(ordered), angular)[:, place]
    ours = torch.cat([ours[:, : n * radial], pairs.flatten(1)], dim=1).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-8 * np.abs(theirs).max()


@pytest.mark.parametrize("which", range(3))
def test_all_are_invariant_and_none_is_constant(crystals, which):
    structure, rng = crystals[which], np.random.default_rng(which)
    symbols = [element.symbol for element in structure.composition.elements]

    def described(one):
        return np.concatenate(
            [
                acsf(graph_of(one), numbers(structure), cutoff=CUTOFF).numpy(),
                soap(one, symbols, cutoff=CUTOFF),
                np.stack(list(voronoi(one).values()), axis=1)[:, 1:],  # slivers may or may not be a face
            ],
            axis=1,
        )

    before = described(structure)
    turned = rotate(structure, random_rotation(rng, reflect=bool(which % 2)))
    assert np.allclose(described(turned), before, rtol=1e-6, atol=1e-6)
    order = rng.permutation(len(structure))
    assert np.allclose(described(permute(structure, order)), before[order], rtol=1e-6, atol=1e-6)
    moved = structure.copy()
    moved.translate_sites([0], [0.05, 0.02, 0.0])
    assert (np.abs(described(moved) - before).max(axis=0) > 1e-4).any()


def test_distances_alone_do_not_see_an_angle():
    """Two neighbours at 1 Å, at 90 or at 180 degrees: the same G2, another G4."""
    bent = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    straight = torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    radial = {"cutoff": 5.0, "eta": 1.0, "shift": 1.0}
    assert g2(bent, **radial) == g2(straight, **radial) > 0
    angular = {"cutoff": 5.0, "eta": 0.02, "zeta": 1.0, "sign": 1}
    assert abs(g4(bent, bent, **angular) - g4(straight, straight, **angular)) > 0.1


def test_neighbours_come_from_other_cells_and_molecules_have_none():
    cscl = Structure(Lattice.cubic(4.11), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    (caesium, _) = environments(radius_graph(cscl, cutoff=4.0, dtype=torch.float64))
    assert caesium.z.tolist() == [17] * 8 and torch.allclose(
        caesium.vectors.sum(0), torch.zeros(3, dtype=torch.float64)
    )
    pair = molecule_graph([55, 17], np.array([[0, 0, 0], [2.055, 2.055, 2.055]]), cutoff=4.0)
    assert [len(atom.z) for atom in environments(pair)] == [1, 1]


def test_voronoi_cells_fill_the_cell_and_count_neighbours(crystals):
    for structure in crystals:
        assert voronoi(structure)["volume"].sum() == pytest.approx(structure.volume, rel=1e-6)
    copper = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
    assert voronoi(copper)["coordination"] == pytest.approx(12.0)


def test_an_element_that_was_not_announced_is_named(crystals):
    with pytest.raises(ValueError, match="Z = 55, which is not among the elements"):
        acsf(graph_of(crystals[0]), [17])
