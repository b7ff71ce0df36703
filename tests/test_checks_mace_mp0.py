"""The checks of exercise 3: right code passes however it is written, wrong code fails by name.

Right and wrong code are those of the self-test's description; here they run without a sandbox, without
weights and without training.
"""

import ast
import re

import numpy as np
import pytest
import torch
from across import Across, Handle
from checking import DEFINITIONS, code_cells, described, graded, mutated, outcomes
from torch_geometric.data import Data

import course.hidden.mace_mp0  # noqa: F401  registers the hidden checks
from course import blind
from mg9.checks import (
    REGISTRY,
    CheckFailed,
    blind_crystals,
    check,
    find,
    fine_tuning,
    leakage,
    references,
    tuning,
)
from mg9.f_mace import MACE
from mg9.potential import ElementReferences, Potential

find("mace.pool")
GRADED = graded("mace_mp0")
BLIND = ("mace.blind", "hidden.mace.blind")
OF_FUNCTIONS = {name: GRADED[name] for name in sorted(GRADED) if name not in BLIND}
DESCRIBED = described("mace_mp0")
MUTANTS = [mutant for mutant in DESCRIBED["mutant"] if mutant["cell"] != "blind"]


def names_with(cells: dict[str, str]) -> dict:
    """What the notebook imports and defines, with other sources for some of its cells."""
    names: dict = {}
    for cell in code_cells("mace_mp0"):
        tree = ast.parse(cells.get(cell["id"], "".join(cell["source"])))
        tree.body = [node for node in tree.body if isinstance(node, DEFINITIONS)]
        exec(compile(tree, "mace_mp0.ipynb", "exec"), names)
    return names


@pytest.fixture(scope="module")
def reference():
    return names_with({})


def test_the_notebook_calls_every_check():
    assert set(GRADED) == {name for name in REGISTRY if re.match(r"(hidden\.)?mace\.", name)}
    points = [c["metadata"].get("nbgrader", {}).get("points", 0) for c in code_cells("mace_mp0")]
    assert sum(points) == 38


def test_every_check_catches_something():
    caught = {name for mutant in DESCRIBED["mutant"] for name in mutant["fails"]}
    assert caught == set(GRADED)


@pytest.mark.parametrize("name", OF_FUNCTIONS)
def test_the_reference_passes_whatever_is_drawn_through_the_five_verbs_alone(name, reference):
    handed = [Handle(reference[argument]) for argument in GRADED[name]]
    for seed in range(3):
        says = REGISTRY[name].function(Across(), np.random.default_rng(seed), *handed)
        assert says and "\n" not in says


@pytest.mark.parametrize("rewrite", DESCRIBED["rewrite"], ids=lambda one: one["name"])
def test_right_code_passes_however_it_is_written(rewrite):
    assert outcomes(names_with(rewrite["cells"]), OF_FUNCTIONS) == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one["name"])
def test_a_mistake_is_named_and_no_other_check_fails(mutant):
    trains = mutant["cell"] in ("loss", "fine-tune")
    checks = {name: of for name, of in OF_FUNCTIONS.items() if trains or "tuning" not in name}
    failures = outcomes(names_with(mutated("mace_mp0", mutant)), checks)
    assert set(mutant["fails"]) <= set(failures) <= {*mutant["fails"], *mutant.get("may", ())}, failures
    message = failures[mutant["fails"][0]]
    assert re.search(mutant["says"], message), message
    assert f"reread slide {REGISTRY[mutant['fails'][0]].slide:02d}" in message


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text", [], {}])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))


@pytest.mark.parametrize("name", OF_FUNCTIONS)
@pytest.mark.parametrize("value", [None, 0.0, torch.zeros(3), np.zeros((4, 2)), [1.0], {}, "readouts"])
def test_a_function_that_always_says_the_same_fails(name, value):
    with pytest.raises(CheckFailed):
        check(name, *[lambda *_: value] * len(GRADED[name]))


# Blind crystals


def some_blind(budget: str = "full") -> tuple[list[str], np.ndarray]:
    ids = blind_crystals.asked_for(budget)
    return ids, blind.labels("formation_energy").loc[ids, "formation_energy_per_atom"].to_numpy()


@pytest.mark.parametrize("budget", ["full", "tiny"])
def test_the_blind_crystals_are_those_of_the_notebook(budget, monkeypatch):
    """By the notebook's own cells, without its graphs."""
    monkeypatch.setenv("MG9_BUDGET", budget)
    names: dict = {}
    for cell in code_cells("mace_mp0"):
        if cell["id"] in ("f3fd988f", "budget", "table"):
            exec("".join(cell["source"]), names)
    sizes = names["size"]["crystals"], names["size"]["most_atoms"], names["size"]["blind"]
    assert blind_crystals.SIZES[budget] == sizes
    structures = names["dataset"].structures(names["table"].index)
    names |= {"counts": np.stack([np.bincount(s.atomic_numbers, minlength=101) for s in structures])}
    names["energy_graph"] = lambda s, _: Data(z=torch.tensor(s.atomic_numbers))
    (source,) = ("".join(cell["source"]) for cell in code_cells("mace_mp0") if cell["id"] == "blind-crystals")
    exec(source, names)
    assert blind_crystals.asked_for(budget) == names["blind_ids"]
    assert len(names["blind_ids"]) == sizes[2]


def test_blind_predictions_near_the_truth_pass(monkeypatch):
    monkeypatch.setenv("MG9_BUDGET", "full")
    ids, truth = some_blind()
    for prediction in (truth + 0.05, torch.tensor(truth), list(truth)):
        for name in BLIND:
            check(name, ids, prediction)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda ids, y: (ids, y[:-1]), "another shape"),
        (lambda ids, y: (ids, 0 * y - 1), "the same number"),
        (lambda ids, y: (ids, 10 * y - 20), "per atom"),
        (lambda ids, y: (ids, np.where(y == y[0], np.nan, y)), "NaN"),
        (lambda ids, y: (ids[:5], y[:5]), "not those of the notebook"),
        (lambda ids, y: ([ids[0]] * 40, y), "not those of the notebook"),
        (lambda ids, y: (["mp-0", *ids[1:]], y), "not those of the notebook"),
        (lambda ids, y: (ids[::-1], y[::-1].copy()), "not those of the notebook"),
        (lambda ids, y: (ids[:40], y[:40]), "80 crystals, in its order, got 40 crystals, 40 of them"),
    ],
)
def test_other_blind_predictions_fail(change, says, monkeypatch):
    monkeypatch.setenv("MG9_BUDGET", "full")
    for name in BLIND[:1] if "number" in says or "per atom" in says else BLIND:
        with pytest.raises(CheckFailed, match=says):
            check(name, *change(*some_blind()))


def test_blind_predictions_of_the_wrong_crystals_fail(monkeypatch):
    monkeypatch.setenv("MG9_BUDGET", "full")
    ids, truth = some_blind()
    with pytest.raises(CheckFailed, match="predicted too badly"):
        check("hidden.mace.blind", ids, truth[::-1].copy())
    with pytest.raises(CheckFailed, match="predicted too badly") as caught:
        check("hidden.mace.blind", ids, truth + 0.2)
    assert caught.value.figure["kind"] == "families" and "oxide" in caught.value.figure["x"]
    assert caught.value.figure["y"] == pytest.approx([0.2] * len(caught.value.figure["x"]))


# What the checks rest on


def test_the_names_are_those_of_a_potential():
    """Each name of the checks is one that a potential has, but for its irreps and its number of rounds."""
    for layers in (1, 2, 3):
        network = MACE(features=2, l_hidden=0, l_max=1, correlation=1, layers=layers, elements=[1, 8])
        own = {name for name, _ in Potential(network, cutoff=5.0).named_parameters()}
        assert set(tuning.parameter_names(layers)) <= own
        groups = {name.rpartition("weight")[0] for name in own if ".readouts." in name}
        assert groups == {
            n.rpartition("weight")[0] for n in tuning.parameter_names(layers) if "readouts" in n
        }


def test_the_references_are_those_of_the_package(reference):
    """On energies that no references explain exactly."""
    rng = np.random.default_rng(0)
    counts = references.drawn_counts(rng, np.array([1, 6, 8]), 20)
    energy, target = rng.normal(size=20) - 5 * counts.sum(axis=1), rng.uniform(-1, 0, size=20)
    graphs = fine_tuning.small_graphs(fine_tuning.CRYSTALS[:1]) * 20
    graphs = [graph.clone() for graph in graphs]
    for graph, row in zip(graphs, counts, strict=True):
        graph.z = torch.tensor(np.repeat(np.arange(101), row.astype(int)))
    fitted = ElementReferences().double().fit(graphs, energy - counts.sum(axis=1) * target).e
    np.testing.assert_allclose(
        reference["fit_references"](counts, energy, target, np.arange(20)), fitted.numpy(), atol=1e-9
    )


def test_the_error_of_a_small_potential_is_that_of_its_energies():
    """Without readouts it says 0 eV, and nothing but the readouts has a say in that."""
    torch.manual_seed(0)
    state = fine_tuning.small_potential().double().state_dict()
    silent = {name: torch.zeros_like(t) if "readouts" in name else t for name, t in state.items()}
    graphs = fine_tuning.small_graphs(fine_tuning.CRYSTALS)
    error, felt = fine_tuning.error_and_slopes(silent, fine_tuning.CRYSTALS)
    assert error == pytest.approx(np.mean([abs(float(graph.y)) for graph in graphs]), abs=1e-6)
    assert set(felt) == {"model.readouts.0.0.weight"}


def test_counts_of_rows_frames_and_names_are_told_apart():
    ids, formulas = ["a", "b", "c"], ["X", "X", "Y"]
    with pytest.raises(CheckFailed, match="two polymorphs are two rows"):
        leakage.holds_leakage(Across(), Handle(lambda *_: (1, 1)), ids, formulas, ["a", "a"], ["X"])
