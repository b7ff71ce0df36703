"""The checks of the assignment "equivariance": right code passes however it is written, wrong code fails by
name.

Right and wrong code are those of the self-test's description; here they run without a sandbox. What holds for
every assignment of this kind stands in test_checks_practice.py.
"""

import re

import numpy as np
import pytest
import torch
from checking import code_cells, described, graded, mutated, names_with, outcomes, solved

import course.hidden.equivariance  # noqa: F401  registers the hidden checks
from mg9.b_symmetry import random_rotation
from mg9.checks import (
    REGISTRY,
    CheckFailed,
    Local,
    check,
    faulty_layers,
    find,
    gates,
    irreps,
    messages,
    products,
)
from mg9.checks.tools import neighbors, random_crystals
from mg9.f_irreps import Irrep, clebsch_gordan, spherical_harmonics, tensor_product, wigner

find("equivariance.turned")
GRADED = graded("equivariance")
DESCRIBED = described("equivariance")


@pytest.fixture(scope="module")
def reference():
    return solved("equivariance")


@pytest.mark.parametrize("rewrite", DESCRIBED["rewrite"], ids=lambda one: one["name"])
def test_right_code_passes_however_it_is_written(rewrite):
    assert not outcomes(names_with("equivariance", rewrite["cells"]), GRADED)


@pytest.mark.parametrize("mutant", DESCRIBED["mutant"], ids=lambda one: one["name"])
def test_wrong_code_fails_and_its_mistake_is_named(mutant):
    failures = outcomes(names_with("equivariance", mutated("equivariance", mutant)), GRADED)
    assert set(mutant["fails"]) <= set(failures) <= {*mutant["fails"], *mutant.get("may", ())}
    first = failures[mutant["fails"][0]]
    assert re.search(mutant["says"], first), first
    assert f"reread slide {REGISTRY[mutant['fails'][0]].slide:02d}" in first


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text"])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))


def test_layers_and_functions_that_do_not_look_are_found(reference):
    """Zero turns with everything; each check of a symmetry has a twin that it fails."""

    class Blind(reference["GatedLayer"]):
        def forward(self, s, v):
            return torch.zeros_like(s), torch.zeros_like(v)

    blind = {
        "equivariance.turned": lambda x, irrep, R: 0 * x,
        "equivariance.product": lambda x, y: (0 * x[:, 0], 0 * x, 0 * x[:, :, None] * y[:, None]),
        "equivariance.crystal": lambda z, pos, cell: torch.zeros(len(z), 4, 3),
        "equivariance.message": lambda h, R, pos, cell, edge_index, shift: torch.zeros(*h.shape, 3),
        "equivariance.gate": Blind,
        "equivariance.suspects": lambda said, seed: ([], []),
        "equivariance.work": lambda path, forces: 0.0,
    }
    for name, thing in blind.items():
        with pytest.raises(CheckFailed):
            check(name, thing)


def test_arrows_that_a_stretched_bond_or_another_element_does_not_change_are_found(reference):
    def by_shape(z, pos, cell):
        """The crystal brought to one volume for each atom first."""
        length = (torch.linalg.det(cell).abs() / len(z) / 40) ** (1 / 3)
        return reference["messages"](z, pos / length, cell / length)

    def elements_alike(z, pos, cell):
        return reference["messages"](torch.full_like(z, 8), pos, cell)

    for function, says in ((by_shape, "was stretched by 3 %"), (elements_alike, "an element was exchanged")):
        with pytest.raises(CheckFailed, match=says):
            check("equivariance.crystal", function)


# What the checks rest on


def test_the_verdicts_are_those_of_the_reference_s_harness(reference):
    s, v = reference["probe_s"], reference["probe_v"]
    assert set(gates.BREAKS) == set(faulty_layers.LAYERS)
    for name, layer in faulty_layers.LAYERS.items():
        for seed in range(3):
            assert set(reference["faults"](layer, s, v, seed)) == set(gates.BREAKS[name]), name
    assert reference["faults"](reference["looks_right"], s, v, 0) == ["reflection"]


def test_a_harness_cannot_tell_a_suspect_by_anything_but_its_answers():
    layer = faulty_layers.Replay([])
    s, v = torch.randn(4, 4), torch.randn(4, 4, 3)
    assert [torch.equal(a, b) for a, b in zip(layer(s, v), (s, v), strict=True)] == [True, True]
    assert len(layer.missing) == 1
    again = faulty_layers.Replay([(s, v, *faulty_layers.cross(s, v))])
    torch.testing.assert_close(again(s, v), faulty_layers.cross(s, v))
    assert not again.missing


@pytest.mark.parametrize("irrep", irreps.IRREPS)
def test_features_turn_as_the_package_s_do(irrep):
    """For l = 2 in the package's five components, made of a matrix by Clebsch and Gordan."""
    rng = np.random.default_rng(0)
    degree, x = int(irrep[0]), irreps.feature(rng, irrep, 5)
    package = Irrep(degree, 1 if irrep[1] == "e" else -1)

    def components(x):
        shapes = {0: lambda x: x[:, None], 1: lambda x: x}
        by_matrix = shapes.get(degree, lambda x: torch.einsum("nab,abc->nc", x, clebsch_gordan(1, 1, 2)))
        return by_matrix(x)

    for sign in (1, -1):
        R = sign * torch.from_numpy(random_rotation(rng))
        wanted = components(x) @ wigner(package, R).T
        torch.testing.assert_close(components(irreps.moved(x, irrep, R)), wanted)


def test_the_parts_of_a_product_are_the_package_s_up_to_length():
    rng = np.random.default_rng(0)
    x, y = (torch.from_numpy(rng.normal(size=(6, 3))) for _ in range(2))
    s, v, T = products.split(x[:, :, None] * y[:, None, :])
    torch.testing.assert_close(s, 3**0.5 * tensor_product(x, y, 1, 1, 0)[:, 0].abs() * s.sign())
    ratio = v / tensor_product(x, y, 1, 1, 1)
    torch.testing.assert_close(ratio, ratio[:1, :1].expand(6, 3))
    five = torch.einsum("nab,abc->nc", T, clebsch_gordan(1, 1, 2))
    torch.testing.assert_close(five, tensor_product(x, y, 1, 1, 2))


def test_the_irreps_of_a_product_are_the_package_s(reference):
    for one in ("0e", "0o", "1o", "1e", "2e", "3o"):
        for two in ("0o", "1o", "2e", "4e"):
            pair = [Irrep(int(irrep[0]), 1 if irrep[1] == "e" else -1) for irrep in (one, two)]
            assert reference["product_irreps"](one, two) == [str(irrep) for irrep in pair[0] * pair[1]]
    irreps.holds_paths(Local(), reference["product_irreps"], [("5o", "5e")])  # up to 10o


def test_a_message_is_made_of_the_package_s_harmonics():
    rng = np.random.default_rng(0)
    name, structure = random_crystals(rng, 1)[0]
    graph = neighbors(structure, name, 4.5)
    h, R = (torch.from_numpy(rng.normal(size=(n, 2))) for n in (len(graph.z), graph.edge_index.size(1)))
    at = messages.Edges(h, R, graph.pos, graph.cell, graph.edge_index, graph.shift)
    torch.testing.assert_close(at.arrows().norm(dim=1), graph.distance)
    j, i = graph.edge_index
    sent = (R * h[j])[:, :, None] * spherical_harmonics(at.arrows(), 1)[1][:, None, :]
    torch.testing.assert_close(messages.truth(at), torch.zeros(*h.shape, 3).double().index_add(0, i, sent))


def test_the_labels_are_what_a_mirror_shows(reference):
    """Of the six irreps only the right one fits each quantity."""
    rng = np.random.default_rng(2)
    q, r, v = (torch.from_numpy(rng.normal(size=shape)) for shape in (6, (6, 3), (6, 3)))
    R = -torch.from_numpy(random_rotation(rng))
    before, after = reference["quantities"](q, r, v), reference["quantities"](q, r @ R.T, v @ R.T)
    assert set(before) == set(irreps.QUANTITIES)
    for name, x in before.items():
        fits = [ir for ir in irreps.IRREPS if int(ir[0]) == x.dim()]
        fits = [ir for ir in fits if torch.allclose(irreps.moved(x, ir, R), after[name])]
        assert fits == [irreps.QUANTITIES[name][0]]


def test_the_loop_shows_what_the_notebook_says(reference):
    """Work around the circle: of the slope of an energy none, of the l = 1 output some."""
    (cell,) = (cell for cell in code_cells("equivariance") if "halfway" in "".join(cell["source"]))
    torch.manual_seed(3)
    names = {**reference, "gated": reference["GatedLayer"](features=4).double()}
    exec("".join(cell["source"]).partition("fig, ax")[0], names)
    native, slope = (
        float(reference["work"](names["path"], torch.stack(names[n]))) for n in ("native", "slope")
    )
    assert abs(slope) < 1e-6 < 1e-2 < abs(native)
