"""Graphs of crystals and molecules against ASE and the definition, and what is refused.

The crystals are chosen to be awkward: a cell angle of 5.8 degrees, a cell 14 times longer than wide, the
fewest neighbours of the whole data set, 25 atoms, a single atom.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.neighborlist import primitive_neighbor_list
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import DummySpecies, Lattice, Species, Structure

from course import blind
from mg9 import a_crystal, data
from mg9 import a_errors as errors
from mg9 import b_symmetry as symmetry
from mg9.a_crystal import crystal_graph, molecule_graph, radius_graph, twelve_nearest_graph
from mg9.a_graph import bonds_of

BUILDERS = pytest.mark.parametrize(
    "build", [crystal_graph, twelve_nearest_graph, radius_graph], ids=lambda f: f.__name__
)
AWKWARD = {
    "mp-22865": "CsCl, simple cubic",
    "mp-10948": "cristobalite, 9 distances near one another",
    "mp-581601": "ZnS polytype, angles of 5.8 degrees",
    "mp-571568": "CdI2 polytype, c/a of 13.7",
    "mp-573579": "Cs with 15 neighbours within 8 Å",
    "mp-632286": "Sb, one angle of 160 degrees",
    "mp-31408": "Al4(B2O5)3, 25 atoms",
    "mp-134": "Al, one atom",
}
# Ir has 4 Sc and 8 Ir at one distance after 2 B: a list that ends at the 12th loses two of them.
ANTIPEROVSKITE = "mp-10113"
FLOATS = ("pos", "cell", "shift", "distance")


def crystal(material_id: str) -> Structure:
    return data.formation_energy().structure(material_id)


@pytest.fixture(params=AWKWARD)
def awkward(request) -> Structure:
    return crystal(request.param)


def exact(structure: Structure, **choices):
    return crystal_graph(structure, dtype=torch.float64, **choices)


def edges_of(graph) -> set[tuple[int, ...]]:
    """(i, j, image) of every edge; no edge may be there twice."""
    j, i = graph.edge_index.numpy()
    image = np.rint(graph.shift.numpy()).astype(int)
    assert np.array_equal(image, graph.shift.numpy())
    found = {(int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, image, strict=True)}
    assert len(found) == graph.num_edges
    return found


def edges_by_ase(structure: Structure, cutoff: float):
    """i, j, image, distance of ASE's list; a neighbour exactly at the cutoff is one as well."""
    return primitive_neighbor_list(
        "ijSd", (True,) * 3, structure.lattice.matrix, structure.cart_coords, cutoff + 1e-8
    )


def whole_shells_by_definition(structure: Structure, neighbors: int = 12) -> set[tuple[int, ...]]:
    """Every neighbour up to 0.01 Å beyond the last wanted one, from the list at the full cutoff."""
    return whole_shells_of(edges_by_ase(structure, 8.0), neighbors)


def whole_shells_of(edges, neighbors: int) -> set[tuple[int, ...]]:
    i, j, image, distance = edges
    kept = set()
    for atom in np.unique(i):
        own = np.flatnonzero(i == atom)
        last = np.sort(distance[own])[:neighbors][-1]
        kept |= {(int(atom), int(j[e]), *map(int, image[e])) for e in own if distance[e] <= last + 0.01}
    return kept


def bonds(graph, *, times: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """What a network sees, without numbering: (z_i, z_j) and distance of every edge, sorted; each `times`."""
    j, i = graph.edge_index.numpy()
    z, distance = graph.z.numpy(), graph.distance.numpy()
    order = np.lexsort((distance, z[j], z[i]))
    pairs = np.stack([z[i], z[j]], axis=1)[order]
    return np.repeat(pairs, times, axis=0), np.repeat(distance[order], times)


def same_bonds(one, other) -> bool:
    return np.array_equal(one[0], other[0]) and np.allclose(one[1], other[1], rtol=0, atol=1e-9)


def redescribed(structure: Structure, seed: int) -> dict[str, Structure]:
    """The same crystal in other words."""
    rng = np.random.default_rng(seed)
    return {
        "rotated": symmetry.rotate(structure, symmetry.random_rotation(rng)),
        "reflected": symmetry.rotate(structure, symmetry.random_rotation(rng, reflect=True)),
        "moved": symmetry.translate(structure, rng.normal(size=3)),
        "wrapped": symmetry.wrap(structure, int(rng.integers(len(structure))), (1, -2, 3)),
        "renumbered": symmetry.permute(structure, rng.permutation(len(structure))),
    }


# Edges


@pytest.mark.parametrize("cutoff", [4.3, 6.1])
@pytest.mark.parametrize("outside", [False, True], ids=["home", "outside the home cell"])
def test_radius_graph_has_the_edges_of_ase(awkward, cutoff, outside):
    if outside:
        awkward = symmetry.wrap(symmetry.translate(awkward, (7.0, -9.0, 4.0)), 0, (2, -1, -3))
    cutoff += 3.0 * (awkward.composition.reduced_formula == "Cs")  # Cs atoms are 5 Å apart
    i, j, image, distance = edges_by_ase(awkward, cutoff)
    assert np.abs(distance - cutoff).min() > 1e-6, "choose a cutoff that no distance equals"
    graph = radius_graph(awkward, cutoff=cutoff, dtype=torch.float64)
    assert edges_of(graph) == {(int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, image, strict=True)}


@pytest.mark.parametrize("cutoff", [4.3, 6.1])
@pytest.mark.parametrize("library", ["matscipy", "vesin"])
def test_radius_graph_has_the_edges_of_two_other_libraries(awkward, library, cutoff):
    import vesin
    from matscipy.neighbours import neighbour_list

    cutoff += 3.0 * (awkward.composition.reduced_formula == "Cs")
    pos, cell = awkward.cart_coords, awkward.lattice.matrix
    if library == "matscipy":
        i, j, image = neighbour_list("ijS", cutoff=cutoff, positions=pos, cell=cell, pbc=[True] * 3)
    else:
        both_ways = vesin.NeighborList(cutoff=cutoff, full_list=True)
        i, j, image = both_ways.compute(points=pos, box=cell, periodic=True, quantities="ijS")
    expected = {(int(a), int(b), *map(int, s)) for a, b, s in zip(i, j, image, strict=True)}
    assert len(expected) == len(i)
    assert edges_of(radius_graph(awkward, cutoff=cutoff, dtype=torch.float64)) == expected


@BUILDERS
def test_r_ij_points_from_centre_to_the_image_of_the_neighbour(awkward, build):
    away = symmetry.wrap(awkward, len(awkward) - 1, (-3, 2, 1))
    graph = build(away, cutoff=8.0, dtype=torch.float64)
    np.testing.assert_array_equal(graph.pos, away.cart_coords)  # atoms stay where they were put
    np.testing.assert_array_equal(graph.cell[0], away.lattice.matrix)
    np.testing.assert_array_equal(graph.z, away.atomic_numbers)
    j, i = graph.edge_index
    for e in range(0, graph.num_edges, 7):
        image = away[int(j[e])].frac_coords + graph.shift[e].numpy()
        vector = away.lattice.get_cartesian_coords(image) - away[int(i[e])].coords
        np.testing.assert_allclose(a_crystal.edge_vectors(graph)[e], vector, atol=1e-10)
    np.testing.assert_allclose(a_crystal.edge_vectors(graph).norm(dim=1), graph.distance, atol=1e-10)


def test_every_edge_of_a_radius_graph_has_its_reverse(awkward):
    found = edges_of(radius_graph(awkward, cutoff=6.5))
    assert {(j, i, -a, -b, -c) for i, j, a, b, c in found} == found


@BUILDERS
def test_a_bond_is_an_edge_and_its_way_back(awkward, build):
    """In a batch, with images of an atom as its own neighbours; whole shells may hold one way only."""
    batch = a_crystal.batch_graphs([build(one, cutoff=6.5) for one in (crystal("mp-134"), awkward)])
    one_way, bond = bonds_of(batch)
    j, i = batch.edge_index.tolist()
    image = [tuple(map(int, s)) for s in batch.shift]
    back = [tuple(-a for a in s) for s in image]
    names = [min((a, b, s), (b, a, t)) for a, b, s, t in zip(i, j, image, back, strict=True)]
    assert len(set(names)) == len(one_way)
    assert [names[e] for e in one_way[bond].tolist()] == names
    torch.testing.assert_close(batch.distance[one_way][bond], batch.distance)


def test_a_single_atom_has_no_bonds():
    one_way, bond = bonds_of(molecule_graph([2], [[0.0, 0.0, 0.0]], cutoff=5.0))
    assert len(one_way) == len(bond) == 0


def test_r_ij_is_differentiable_in_positions_and_cell():
    graph = radius_graph(crystal("mp-390"), cutoff=2.5, dtype=torch.float64)

    def vectors(pos, cell):
        moved = graph.clone()
        moved.pos, moved.cell = pos, cell
        return a_crystal.edge_vectors(moved)

    assert torch.autograd.gradcheck(vectors, (graph.pos.requires_grad_(), graph.cell.requires_grad_()))


def test_edges_are_sorted_by_centre_then_distance(awkward):
    graph = exact(awkward)
    order = np.lexsort((graph.distance, graph.edge_index[1]))
    i, distance = graph.edge_index[1][order], graph.distance[order]
    assert torch.equal(i, graph.edge_index[1]) and torch.equal(distance, graph.distance)


# Whole shells


def test_whole_shells_are_the_definition_at_the_full_cutoff(awkward):
    assert edges_of(exact(awkward)) == whole_shells_by_definition(awkward)


@pytest.mark.parametrize("neighbors", [1, 3, 20])
def test_whole_shells_of_other_sizes(neighbors):
    structure = crystal("mp-10948")
    found = edges_of(exact(structure, neighbors=neighbors))
    assert found == whole_shells_by_definition(structure, neighbors)


@pytest.mark.parametrize("factor", [1.45, 1.9, 2.2])
def test_a_thin_crystal_keeps_all_its_neighbours(factor):
    """Rutile-like anatase, stretched until most or all atoms have fewer than 12 neighbours within 8 Å."""
    thin = symmetry.stretch(crystal("mp-390"), factor)
    found = edges_of(exact(thin))
    assert found == whole_shells_by_definition(thin)
    if factor == 2.2:
        assert min(np.bincount([edge[0] for edge in found])) < 12


def test_a_molecule_in_a_box_keeps_its_own_atoms():
    """Methane, 15 Å from its images: low density, four neighbours each, and the search must still end."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    places = np.vstack([[0, 0, 0], 0.629 * corners])
    box = Structure(Lattice.cubic(15), ["C", "H", "H", "H", "H"], places, coords_are_cartesian=True)
    found = edges_of(exact(box))
    assert found == whole_shells_by_definition(box)
    assert len(found) == 20


def test_a_cluster_and_a_far_atom_in_one_cell():
    """The density says little here: Xe is 6.7 Å from a cube of eight atoms, its images are 15.5 Å away."""
    cube = 2.5 * np.array(list(np.ndindex(2, 2, 2)))
    places = np.vstack([cube, [9.0, 1.25, 1.25]])
    box = Structure(Lattice.cubic(15.5), ["Ne"] * 8 + ["Xe"], places, coords_are_cartesian=True)
    for neighbors in (1, 4, 12):
        assert edges_of(exact(box, neighbors=neighbors)) == whole_shells_by_definition(box, neighbors)


def test_a_shell_is_whole_wherever_the_search_stops():
    """Two neighbours at 4 Å and two 0.009 Å farther are one shell, in cells of every density."""
    for c in np.arange(4.05, 5.0, 0.01):
        structure = Structure(Lattice.orthorhombic(4.0, 4.009, c), ["Ar"], [[0, 0, 0]])
        assert exact(structure, neighbors=2).num_edges == 4, c


def test_neighbours_exactly_at_the_cutoff_stay_together():
    """Six neighbours at 8 Å whichever way the cell is turned: rounding must not decide who is in."""
    structure, rng = Structure(Lattice.cubic(8.0), ["Ar"], [[0, 0, 0]]), np.random.default_rng(0)
    turned = [symmetry.rotate(structure, symmetry.random_rotation(rng)) for _ in range(20)]
    assert {exact(s).num_edges for s in turned} == {6}


@given(
    lengths=st.tuples(*[st.floats(2.8, 16.0)] * 3),
    angles=st.tuples(*[st.floats(40.0, 140.0)] * 3),
    places=st.lists(st.tuples(*[st.floats(-1.5, 1.5)] * 3), min_size=1, max_size=4),
    neighbors=st.integers(1, 16),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_whole_shells_of_any_lattice(lengths, angles, places, neighbors):
    a, b, c = np.cos(np.radians(angles))
    assume(1 - a * a - b * b - c * c + 2 * a * b * c > 0.1)  # three such angles close to a cell
    structure = Structure(Lattice.from_parameters(*lengths, *angles), ["Si"] * len(places), places)
    edges = edges_by_ase(structure, 8.0)
    i, distance = edges[0], edges[3]
    assume(len(distance) and distance.min() > 0.2 and np.bincount(i, minlength=len(places)).min() > 0)
    last = np.array([np.sort(distance[i == atom])[:neighbors][-1] for atom in range(len(places))])
    assume(np.abs(distance - last[i] - 0.01).min() > 1e-9 and np.abs(distance - 8.0).min() > 1e-6)
    assert edges_of(exact(structure, neighbors=neighbors)) == whole_shells_of(edges, neighbors)


# Determinism, symmetry


@BUILDERS
def test_the_same_bits_twice_and_after_pickling(awkward, build):
    first = build(awkward, cutoff=8.0)
    again = [build(awkward, cutoff=8.0), build(pickle.loads(pickle.dumps(awkward)), cutoff=8.0)]
    again.append(pickle.loads(pickle.dumps(first)))
    for graph in again:
        assert sorted(graph.keys()) == sorted(first.keys())
        assert all(torch.equal(graph[key], first[key]) for key in first.keys())


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_floating_point_tensors_have_the_wanted_type(dtype):
    graph = crystal_graph(crystal("mp-134"), dtype=dtype)
    assert {graph[key].dtype for key in FLOATS} == {dtype or torch.get_default_dtype()}
    assert graph.z.dtype == graph.edge_index.dtype == torch.int64
    assert tuple(graph.cell.shape) == (1, 3, 3)


@pytest.mark.parametrize("material_id", [*AWKWARD, ANTIPEROVSKITE])
def test_bonds_do_not_depend_on_the_description(material_id):
    structure = crystal(material_id)
    before = bonds(exact(structure))
    for how, other in redescribed(structure, seed=1).items():
        assert same_bonds(before, bonds(exact(other))), how


@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 2, 2), ((1, 1, 0), (-1, 1, 0), (0, 0, 1))], ids=str)
@pytest.mark.parametrize("material_id", ["mp-22865", "mp-390", "mp-134", ANTIPEROVSKITE])
def test_a_supercell_has_the_bonds_of_each_atom_once_per_copy(material_id, repeats):
    structure = crystal(material_id)
    large = symmetry.supercell(structure, repeats)
    copies = len(large) // len(structure)
    assert same_bonds(bonds(exact(structure), times=copies), bonds(exact(large)))


@given(material=st.sampled_from(range(3538)), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_bonds_of_any_crystal_do_not_depend_on_the_description(material, seed):
    structure = crystal(data.formation_energy().table.index[material])
    before = bonds(exact(structure))
    assert all(same_bonds(before, bonds(exact(other))) for other in redescribed(structure, seed).values())


def test_twelve_nearest_keeps_twelve_and_depends_on_the_description():
    """The flaw of the published rule, on an antiperovskite: it cuts a shell of 4 Sc and 8 Ir."""
    structure = crystal(ANTIPEROVSKITE)
    graph = twelve_nearest_graph(structure, dtype=torch.float64)
    assert set(np.bincount(graph.edge_index[1]).tolist()) == {12}
    changed = set()
    for seed in range(8):
        for how, other in redescribed(structure, seed).items():
            if not same_bonds(bonds(graph), bonds(twelve_nearest_graph(other, dtype=torch.float64))):
                changed.add(how)
    assert "rotated" in changed and "renumbered" in changed


# Molecules, batches

WATER = [8, 1, 1], np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])


def test_a_molecule_has_no_images():
    graph = molecule_graph(*WATER, cutoff=5.0, dtype=torch.float64)
    assert edges_of(graph) == {(i, j, 0, 0, 0) for i in range(3) for j in range(3) if i != j}
    assert not graph.cell.any() and tuple(graph.cell.shape) == (1, 3, 3)
    np.testing.assert_allclose(a_crystal.edge_vectors(graph).norm(dim=1), graph.distance, atol=1e-12)
    assert molecule_graph(*WATER, cutoff=1.0).num_edges == 4  # the two H are 1.52 Å apart
    assert molecule_graph([2], [[0.0, 0.0, 0.0]], cutoff=5.0).num_edges == 0


def test_a_batch_is_its_crystals_side_by_side():
    structures = [crystal(material_id) for material_id in ("mp-22865", "mp-134", "mp-581601")]
    graphs = [exact(s) for s in structures] + [molecule_graph(*WATER, cutoff=5.0, dtype=torch.float64)]
    batch = a_crystal.batch_graphs(graphs)
    assert batch.num_graphs == 4 and tuple(batch.cell.shape) == (4, 3, 3)
    assert batch.batch.tolist() == [k for k, g in enumerate(graphs) for _ in range(g.num_nodes)]
    assert torch.equal(batch.batch[batch.edge_index[0]], batch.batch[batch.edge_index[1]])
    vectors = torch.cat([a_crystal.edge_vectors(g) for g in graphs])
    torch.testing.assert_close(a_crystal.edge_vectors(batch), vectors, rtol=0, atol=1e-12)
    for alone, again in zip(graphs, batch.to_data_list(), strict=True):
        assert all(torch.equal(alone[key], again[key]) for key in alone.keys())


# Bad input

CUBE, LARGE = Lattice.cubic(4.2), Lattice.cubic(30)
MIDDLE = [[0, 0, 0], [0.5, 0.5, 0.5]]
BAD = {
    "mixed site": (CUBE, ["Cs", {"Cl": 0.5, "Br": 0.5}], MIDDLE, errors.PartialOccupancy, 1),
    "half empty": (CUBE, [{"Cs": 0.5}, "Cl"], MIDDLE, errors.PartialOccupancy, 0),
    "dummy": (CUBE, ["Cs", DummySpecies("X")], MIDDLE, errors.UnknownElement, 1),
    "Z = 101": (CUBE, ["Md", "Cl"], MIDDLE, errors.UnknownElement, 0),
    "NaN": (CUBE, ["Cs", "Cl"], [[0, 0, 0], [0.5, np.nan, 0.5]], errors.NotFinite, 1),
    "infinite": (CUBE, ["Cs", "Cl"], [[np.inf, 0, 0], [0.5, 0.5, 0.5]], errors.NotFinite, 0),
    "NaN in the cell": (np.diag([4, np.nan, 4]), ["Cs"], [[0, 0, 0]], errors.NotFinite, None),
    "one place": (CUBE, ["Cs", "Cl"], [[0, 0, 0], [0, 0, 0]], errors.AtomsCoincide, 1),
    "same image": (CUBE, ["Cs", "Cl"], [[0, 0, 0], [1, 0, -2]], errors.AtomsCoincide, 1),
    "nearly": (CUBE, ["Cs", "Cl"], [[0, 0, 0], [0.99, 0, 0]], errors.AtomsCoincide, 1),
    "alone": (LARGE, ["Na", "Cl", "Ar"], [[0, 0, 0], [0.08, 0, 0], [0.5, 0.5, 0.5]], errors.NoNeighbours, 2),
    "empty": (CUBE, [], [], errors.EmptyList, None),
    "flat cell": ([[4, 0, 0], [0, 4, 0], [4, 4, 0]], ["Cs"], [[0, 0, 0]], errors.FlatCell, None),
}


@BUILDERS
@pytest.mark.parametrize("case", BAD)
def test_bad_crystals_name_the_crystal_and_the_site(case, build):
    lattice, species, places, kind, site = BAD[case]
    with pytest.raises(kind) as caught:
        build(Structure(lattice, species, places), cutoff=8.0, name="mp-bad")
    message = str(caught.value)
    assert "mp-bad" in message and (site is None or f"site {site} (" in message)
    assert "\n" not in message and ";" in message, "what to do comes after a semicolon"


@BUILDERS
def test_an_atom_beside_its_own_image_is_told_that_the_cell_is_too_small(build):
    thin = Lattice.orthorhombic(0.05, 30, 30)
    with pytest.raises(errors.AtomsCoincide, match=r"site 0 \(Cs\) is 0.050 Å from its own .* too small"):
        build(Structure(thin, ["Cs"], [[0, 0, 0]]), cutoff=8.0)


@pytest.mark.parametrize("build", [crystal_graph, twelve_nearest_graph])
@pytest.mark.parametrize("neighbors", [0, -3])
def test_no_neighbours_at_all_cannot_be_asked_for(build, neighbors):
    with pytest.raises(errors.CrystalError, match=f"neighbors is {neighbors}; ask for at least one"):
        build(Structure(CUBE, ["Cs", "Cl"], MIDDLE), neighbors=neighbors)


@BUILDERS
@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_a_cutoff_that_is_no_length_is_refused(build, cutoff):
    with pytest.raises(errors.CrystalError, match="the cutoff is .* Å; give a positive number"):
        build(Structure(CUBE, ["Cs", "Cl"], MIDDLE), cutoff=cutoff)


def test_a_crystal_without_a_name_goes_by_its_formula():
    with pytest.raises(errors.UnknownElement, match="Md1 Cl1, site 0"):
        crystal_graph(Structure(CUBE, ["Md", "Cl"], MIDDLE))


def test_ions_and_the_hundredth_element_are_welcome():
    ions = Structure(CUBE, [Species("Cs", 1), Species("Cl", -1)], MIDDLE)
    assert crystal_graph(ions).z.tolist() == [55, 17]
    assert crystal_graph(Structure(CUBE, ["Fm", "Cl"], MIDDLE)).z.tolist() == [100, 17]


@pytest.mark.parametrize(
    ("z", "pos", "kind", "words"),
    [
        ([], np.zeros((0, 3)), "EmptyList", "no atoms"),
        ([8, 1], [[0, 0, 0]], "CrystalError", "2 atomic numbers but 1 position"),
        ([8, 1], [[0, 0, 0], [np.nan, 0, 0]], "NotFinite", "atom 1"),
        ([8, 101], [[0, 0, 0], [1, 0, 0]], "UnknownElement", "atom 1"),
        ([0, 8], [[0, 0, 0], [1, 0, 0]], "UnknownElement", "atom 0"),
        ([8, 1, 1], [[0, 0, 0], [1, 0, 0], [1, 0, 0.01]], "AtomsCoincide", "atoms 1 and 2"),
    ],
)
def test_bad_molecules_name_the_molecule_and_the_atom(z, pos, kind, words):
    with pytest.raises(errors.CrystalError, match=f"ethanol.*{words}") as caught:
        molecule_graph(z, pos, cutoff=5.0, name="ethanol")
    assert type(caught.value).__name__ == kind


def test_an_empty_list_of_graphs():
    with pytest.raises(errors.EmptyList, match="at least one"):
        a_crystal.batch_graphs([])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cif_that_does_not_parse_is_named(tmp_path):
    good, cut, prose, missing = (
        tmp_path / name for name in ("good.cif", "cut.cif", "prose.cif", "missing.cif")
    )
    structure = crystal("mp-390")
    structure.to(filename=str(good))
    pairs, distance = bonds(exact(structure))
    read_pairs, read_distance = bonds(exact(a_crystal.read_crystal(good)))
    assert np.array_equal(read_pairs, pairs)
    np.testing.assert_allclose(read_distance, distance, atol=1e-5)  # a CIF has eight decimals
    cut.write_text(good.read_text()[:200])
    prose.write_text("Dear colleague, the structure is attached.")
    for path in (cut, prose, missing):
        with pytest.raises(errors.UnreadableFile, match=path.name) as caught:
            a_crystal.read_crystal(path)
        assert "\n" not in str(caught.value) and "export it again" in str(caught.value)


def test_exercise_1_says_how_many_crystals_have_a_tie_at_the_twelfth_neighbour():
    structures = blind.complete("formation_energy").structures()
    tied = sum(crystal_graph(s).num_edges > 12 * len(s) for s in structures)
    text = (Path(__file__).parents[1] / "solutions" / "cgcnn" / "cgcnn.ipynb").read_text(encoding="utf-8")
    assert f"In {tied:,} of {len(structures):,} crystals some atom has a 13th neighbour within 0.01 Å" in text
