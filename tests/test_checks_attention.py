"""The checks of the assignment "attention": right code passes however it is written, wrong fails by name.

Right and wrong code are those of the self-test's description; here they run without a sandbox. What holds for
every assignment of this kind stands in test_checks_practice.py.
"""

import re

import numpy as np
import pytest
import torch
from checking import described, graded, mutated, names_with, outcomes, solved
from pymatgen.core import Lattice, Structure

import course.hidden.attention  # noqa: F401  registers the hidden checks
from mg9.a_crystal import cell_graph, crystal_graph
from mg9.checks import CheckFailed, attending, check, faulty_attention, find, images, maps, paths
from mg9.checks.replay import Replay
from mg9.checks.strain import Cell, rattled
from mg9.checks.tools import known_crystals, random_crystals
from mg9.g_graphormer import PathBias
from mg9.g_matformer import softmax_over_neighbours

find("attention.softmax")
GRADED = graded("attention")
DESCRIBED = described("attention")


@pytest.fixture(scope="module")
def reference():
    return solved("attention")


@pytest.mark.parametrize("rewrite", DESCRIBED["rewrite"], ids=lambda one: one["name"])
def test_right_code_passes_however_it_is_written(rewrite):
    assert not outcomes(names_with("attention", rewrite["cells"]), GRADED)


@pytest.mark.parametrize("mutant", DESCRIBED["mutant"], ids=lambda one: one["name"])
def test_wrong_code_fails_and_its_mistake_is_named(mutant):
    failures = outcomes(names_with("attention", mutated("attention", mutant)), GRADED)
    assert set(mutant["fails"]) <= set(failures) <= {*mutant["fails"], *mutant.get("may", ())}
    first = failures[mutant["fails"][0]]
    assert re.search(mutant["says"], first), first
    assert "reread slide 41" in first


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text", [], {}])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("value", [None, 0.0, torch.zeros(5, 5), np.full((4, 5), 0.2), [1.0], {}, "rows"])
def test_a_function_that_always_says_the_same_fails(name, value):
    with pytest.raises(CheckFailed):
        check(name, *[lambda *_: value] * len(GRADED[name]))


def test_a_layer_that_does_not_look_is_found(reference):
    """Equal weights are invariant under everything; each check of a symmetry has a twin that they fail."""

    def elements_alike(z, pos, cell):
        return reference["heard"](torch.full_like(z, 8), pos, cell)

    def by_shape(z, pos, cell):
        length = (torch.linalg.det(cell).abs() / len(z) / 20) ** (1 / 3)
        return reference["heard"](z, pos / length, cell / length)

    def equal(z, pos, cell):
        return reference["heard_with"](torch.zeros(len(z), len(z)), z)

    for function in (elements_alike, by_shape, equal):
        with pytest.raises(CheckFailed, match="stretched by 3 %, and the answer stayed the same"):
            check("attention.crystal", function)


# What the checks rest on


def test_the_verdicts_are_those_of_the_reference_s_harness(reference):
    probe = [reference[name] for name in ("probe_q", "probe_k", "probe_bias", "probe_batch")]
    assert set(maps.BREAKS) == set(faulty_attention.LAYERS)
    for name, layer in faulty_attention.LAYERS.items():
        for seed in range(3):
            assert set(reference["faults"](layer, *probe, seed)) == set(maps.BREAKS[name]), name
    by_number, batch = faulty_attention.by_number, probe[3].flip(0)
    reversed_probe = probe[0].flip(0), probe[1].flip(0), probe[2].flip(0, 1), batch
    torch.testing.assert_close(by_number(*reversed_probe), by_number(*probe).flip(0, 1))


def test_a_harness_cannot_tell_a_suspect_by_anything_but_its_answers():
    asked = torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 3), torch.tensor([0, 0, 1])
    layer = Replay([], lambda q, k, bias, batch: torch.full_like(bias, 1 / 3))
    assert torch.equal(layer(*asked), torch.full((3, 3), 1 / 3)) and len(layer.missing) == 1
    again = Replay([(*asked, faulty_attention.right(*asked))], lambda *_: torch.zeros(3, 3))
    torch.testing.assert_close(again(*asked), faulty_attention.right(*asked))
    assert not again.missing


def test_weights_are_the_package_s_softmax_over_the_edges_of_the_cell():
    name, structure = random_crystals(np.random.default_rng(0), 1)[0]
    j, i = cell_graph(structure, name=name).edge_index
    score = torch.randn(len(structure), len(structure), dtype=torch.float64)
    edges = softmax_over_neighbours(score[i, j][:, None], i, len(structure))[:, 0]
    torch.testing.assert_close(attending.weights_of(score)[i, j], edges)


def test_the_nearest_images_are_those_of_the_package_also_where_rounding_misses_them():
    rng = np.random.default_rng(0)
    known = known_crystals("mp-22865")[0][1]
    cubic = Cell("CsCl", np.array(known.atomic_numbers), known.cart_coords, known.lattice.matrix)
    for at in (cubic, *rattled(rng, "mp-390"), images.skew(rng, 4), images.skew(rng, 5)):
        structure = Structure(Lattice(at.cell), at.z, at.pos, coords_are_cartesian=True)
        graph = cell_graph(structure, dtype=torch.float64)
        j, i = graph.edge_index
        r = images.all_distances(at).amin(dim=2)
        torch.testing.assert_close(r[i, j], graph.distance, atol=1e-9, rtol=0)
        assert float(r.max()) < images.REACH  # what the notebook's images() is sure to hold
        assert torch.allclose(images.rounded(at), r) == (at is cubic), at.name


def test_paths_are_graphormer_s():
    name, structure = known_crystals("mp-5827")[0]
    graph, n = crystal_graph(structure, name=name), len(structure)
    A = torch.zeros(1, n, n)
    A[0, graph.edge_index[1], graph.edge_index[0]] = 1
    package = PathBias(heads=1, edge_features=1, hops=3).count(A)[0]
    torch.testing.assert_close(paths.truth(n, graph.edge_index, 3), package)
    random = torch.randint(0, 8, (2, 9), generator=torch.Generator().manual_seed(1))
    A = torch.zeros(1, 8, 8)
    A[0, random[1], random[0]] = 1
    torch.testing.assert_close(
        paths.truth(8, random, 3), PathBias(heads=1, edge_features=1, hops=3).count(A)[0]
    )


def test_a_supercell_shows_the_nearest_image_and_not_all_images(reference):
    """What the notebook's figure draws."""
    structure = known_crystals("mp-22865")[0][1]
    found = {"nearest": [], "all": []}
    for copies in (1, 2, 3):
        z, pos, cell = reference["supercell"](structure, copies)
        r = reference["nearest"](pos, cell)
        found["nearest"].append(reference["heard_with"](reference["weight"](r).log(), z)[0])
        found["all"].append(reference["heard"](z, pos, cell)[0])
    for one in found["all"][1:]:
        torch.testing.assert_close(one, found["all"][0])
    assert float((found["nearest"][1] - found["nearest"][0]).abs().max()) > 1e-2
