"""The contract: every model of mg9/contract.py is held to its promises, on crystals that Hypothesis draws.

A check takes promises, two crystals and a generator, and raises AssertionError. Models that are built to
break one promise each, at the end, show that the check for it, and no other, turns red.
"""

from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from torch import nn

from mg9 import b_symmetry as symmetry
from mg9 import data
from mg9.a_crystal import batch_graphs, molecule_graph, radius_graph
from mg9.a_graph import crystals_of, edge_vectors, sum_over_crystals
from mg9.c_radial import CosineEnvelope, HardCutoff
from mg9.c_schnet import MeanSchNet, SchNet
from mg9.contract import MODELS, Promises
from mg9.potential import differentiate

EXACT = 1e-9  # relative, in float64


@cache
def model_of(promises: Promises) -> nn.Module:
    return promises.model()


def value(promises: Promises, structure: Structure) -> np.ndarray:
    with torch.no_grad():
        return model_of(promises)(promises.graph(structure)).numpy()


def derived(promises: Promises, structure: Structure):
    """Energy, forces and stress of the model as a potential."""
    return differentiate(model_of(promises), promises.graph(structure))


def close(one, other, what: str, tolerance: float = EXACT) -> None:
    one, other = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    largest = np.abs(one - other).max()
    assert largest <= tolerance * max(1.0, np.abs(other).max()), f"{what}: differs by {largest:.2e}"


# The checks


def unchanged_by(action: str, promises: Promises, crystals: list[Structure], rng) -> None:
    kind = "extensive" if promises.extensive else "scalar"
    for one in crystals:
        moved = symmetry.ACTIONS[action](one, rng)
        error = symmetry.error_under(partial(value, promises), one, moved, kind=kind)
        assert error <= EXACT * max(1.0, moved.copies * abs(value(promises, one)[0])), (
            f"{action}: {error:.2e}"
        )


def sees_another_crystal(promises: Promises, crystals: list[Structure], rng) -> None:
    for one in crystals:
        before = value(promises, one)[0]
        others = [symmetry.exchange(one, 0, "Xe")]
        if promises.sees_size or len(one.composition) > 1:
            others.append(symmetry.stretch(one, 1.02))
        for other in others:
            assert abs(value(promises, other)[0] - before) > EXACT * max(1.0, abs(before))


def batch_equals_singles(promises: Promises, crystals: list[Structure], rng) -> None:
    graphs = [promises.graph(one) for one in [*crystals, crystals[0]]]
    with torch.no_grad():
        together = model_of(promises)(batch_graphs(graphs))
    assert tuple(together.shape) == (3,)
    close(together, np.concatenate([value(promises, one) for one in [*crystals, crystals[0]]]), "in a batch")


def no_gradient_across_crystals(promises: Promises, crystals: list[Structure], rng) -> None:
    batch = batch_graphs([promises.graph(one) for one in crystals])
    batch.pos.requires_grad_()
    batch.distance = edge_vectors(batch).norm(dim=1)
    first = model_of(promises)(batch)[0]
    if not first.requires_grad:
        return
    (slope,) = torch.autograd.grad(first, batch.pos, materialize_grads=True)
    assert not slope[batch.batch == 1].any()


def smooth_at_the_cutoff(promises: Promises, crystals: list[Structure], rng) -> None:
    """A third atom comes in from outside: neither energy nor force may jump."""

    def at(x: float) -> tuple[float, float]:
        pos = [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, x, 0.0]]
        graph = molecule_graph([8, 1, 6], pos, cutoff=promises.cutoff, dtype=torch.float64)
        found = differentiate(model_of(promises), graph, stress=False)
        return float(found.energy), float(found.forces[2, 1])

    inside, outside, near = (at(promises.cutoff * x) for x in (1 - 1e-6, 1 + 1e-6, 0.7))
    for name, a, b, c in zip(("energy", "force"), inside, outside, near, strict=True):
        assert abs(a - b) <= 1e-4 * max(abs(c - b), 1e-9), f"the {name} jumps by {abs(a - b):.2e}"


def derivatives_are_finite_differences(promises: Promises, crystals: list[Structure], rng) -> None:
    h = 1e-5  # of double precision; with 1e-4 the third derivative of two close atoms is seen
    for one in crystals:
        found = derived(promises, one)
        step = rng.normal(size=(len(one), 3))
        strain = rng.normal(size=(3, 3))
        strain = (strain + strain.T) / 4

        def moved(t: float, one=one, step=step) -> float:
            positions = one.cart_coords + t * step
            return value(promises, Structure(one.lattice, one.species, positions, coords_are_cartesian=True))[
                0
            ]

        def strained(t: float, one=one, strain=strain) -> float:
            lattice = Lattice(one.lattice.matrix @ (np.eye(3) + t * strain))
            return value(promises, Structure(lattice, one.species, one.frac_coords))[0]

        along = -float((found.forces.numpy() * step).sum())
        close((moved(h) - moved(-h)) / (2 * h), along, "forces", 1e-5)
        along = float((found.stress[0].numpy() * strain).sum()) * one.volume
        close((strained(h) - strained(-h)) / (2 * h), along, "stress", 1e-5)


def forces_and_stress_turn(promises: Promises, crystals: list[Structure], rng) -> None:
    results = {"atom vectors": lambda one: derived(promises, one).forces.numpy()}
    results["tensor"] = lambda one: derived(promises, one).stress[0].numpy()
    for one in crystals:
        for action in ("rotation", "reflection", "permutation"):
            moved = symmetry.ACTIONS[action](one, rng)
            for kind, f in results.items():
                error = symmetry.error_under(f, one, moved, kind=kind)
                assert error <= EXACT * max(1.0, np.abs(f(one)).max()), f"{kind} under {action}: {error:.2e}"


def forces_sum_to_zero(promises: Promises, crystals: list[Structure], rng) -> None:
    for one in crystals:
        forces = derived(promises, one).forces
        close(forces.sum(0), np.zeros(3), "sum of the forces", EXACT * max(1.0, float(forces.abs().max())))


def additive_at_large_separation(promises: Promises, crystals: list[Structure], rng) -> None:
    water = ([8, 1, 1], np.array([[0.0, 0.0, 0.12], [0.76, 0.0, -0.47], [-0.76, 0.0, -0.47]]))
    carbon = ([6, 8], np.array([[0.0, 0.0, 0.0], [1.1, 0.2, 0.0]]))
    far = 5 * promises.cutoff * np.ones(3)
    both = ([*water[0], *carbon[0]], np.concatenate([water[1], carbon[1] + far]))
    with torch.no_grad():
        first, second, together = (
            float(model_of(promises)(molecule_graph(z, pos, cutoff=promises.cutoff, dtype=torch.float64)))
            for z, pos in (water, carbon, both)
        )
    close(together, first + second, "two molecules far apart")


INVARIANCES = {action: partial(unchanged_by, action) for action in symmetry.ACTIONS}
ALL = {
    "another crystal": sees_another_crystal,
    "batch": batch_equals_singles,
    "no gradient across": no_gradient_across_crystals,
}
OF_POTENTIALS = {
    "smooth": smooth_at_the_cutoff,
    "finite differences": derivatives_are_finite_differences,
    "forces turn": forces_and_stress_turn,
    "zero sum": forces_sum_to_zero,
}
OF_EXTENSIVE = {"additive": additive_at_large_separation}


def checks_of(promises: Promises) -> dict:
    potential = OF_POTENTIALS if promises.smooth else {}
    kept = {action: check for action, check in INVARIANCES.items() if action not in promises.breaks}
    return kept | ALL | potential | (OF_EXTENSIVE if promises.extensive else {})


# The suite


@st.composite
def structures(draw) -> Structure:
    """One to three atoms in any cell, neighbours within 5 Å; smaller ones first, so that these are reported.

    Fractional coordinates on a grid of quarters: shells of equal distance are frequent, as in real crystals.
    """
    lengths = [draw(st.integers(30, 48)) / 10 + 0.017 for _ in range(3)]  # no distance is the cutoff itself
    angles = [draw(st.sampled_from([90, 60, 75, 100, 120])) for _ in range(3)]
    lattice = Lattice.from_parameters(*lengths, *angles)
    places = draw(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=3, unique=True))
    elements = draw(st.lists(st.sampled_from(["O", "Na", "Cl", "Fe", "Sr"]), min_size=3, max_size=3))
    assume(np.isfinite(lattice.volume) and lattice.volume > 8 * len(places))
    structure = Structure(lattice, elements[: len(places)], np.array(places) / 4)
    assume(structure.is_valid(0.9))
    return structure


@pytest.mark.parametrize(
    ("name", "check"), [(name, check) for name, promises in MODELS.items() for check in checks_of(promises)]
)
@given(pair=st.tuples(structures(), structures()), seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_keeps_its_promise(name, check, pair, seed):
    checks_of(MODELS[name])[check](MODELS[name], list(pair), np.random.default_rng(seed))


def real(material_id: str) -> Structure:
    return data.formation_energy().structure(material_id)


@pytest.mark.parametrize("name", MODELS)
def test_four_crystals_can_be_learned_by_heart(name):
    promises, table = MODELS[name], data.formation_energy().table
    ids = ["mp-10948", "mp-390", "mp-22865", "mp-134"]
    batch = batch_graphs([promises.graph(real(k)) for k in ids])
    atoms = torch.bincount(batch.batch)
    target = torch.tensor(table.loc[ids, "formation_energy_per_atom"].to_numpy())
    target = target * atoms if promises.extensive else target
    model = promises.model().requires_grad_(True).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(600):
        loss = (model(batch) - target).square().mean().sqrt()
        if float(loss.detach()) < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05, "eV"


@pytest.mark.parametrize(
    ("name", "action"), [(name, action) for name, promises in MODELS.items() for action in promises.breaks]
)
def test_what_is_not_promised_does_not_hold(name, action):
    """Else it could be promised."""
    for material_id in ("mp-390", "mp-22865"):
        with pytest.raises(AssertionError, match=f"{action}: "):
            unchanged_by(action, MODELS[name], [real(material_id)], np.random.default_rng(0))


# Negative controls: what is built to break a promise reddens the check of that promise, and no other.


class Broken(nn.Module):
    """A sum or mean over atoms of something that it should not look at."""

    def __init__(self, seen, *, mean: bool = False) -> None:
        super().__init__()
        self.seen, self.mean = seen, mean
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, graph):
        batch, B = crystals_of(graph)
        E_i = self.layers(self.seen(graph).unsqueeze(-1)).squeeze(-1)  # (N,)
        total = sum_over_crystals(E_i, batch, B)
        return total / torch.bincount(batch, minlength=B) if self.mean else total


def at_atoms(graph, E_ij):
    """Edge values (E,) summed at their centres, weighted so that they vanish at 5 Å."""
    weight = CosineEnvelope(cutoff=5.0)(graph.distance)
    return torch.zeros_like(graph.pos[:, 0]).index_add(0, graph.edge_index[1], weight * E_ij) + graph.z


def raw_coordinates(graph):
    return graph.pos @ graph.pos.new_tensor([0.3, 0.5, 0.7]) + graph.z


def vector_as_scalars(graph):
    return at_atoms(graph, torch.tanh(edge_vectors(graph) @ graph.pos.new_tensor([1.0, -0.4, 0.2]) - 0.5))


def flipped_shift(graph):
    j, i = graph.edge_index
    batch, _ = crystals_of(graph)
    wrong = graph.pos[j] - torch.einsum("ec,ecd->ed", graph.shift, graph.cell[batch[i]]) - graph.pos[i]
    return at_atoms(graph, torch.exp(-wrong.norm(dim=1)))


def handedness(graph):
    """A pseudoscalar of each atom: the triple product of three sums over its neighbours."""
    r, j = edge_vectors(graph), graph.edge_index[0]
    weights = CosineEnvelope(cutoff=5.0)(graph.distance)
    powers = [weights * graph.z[j] ** a * torch.exp(-graph.distance * a) for a in (0.5, 1.0, 1.5)]
    a, b, c = (torch.zeros_like(graph.pos).index_add(0, graph.edge_index[1], p[:, None] * r) for p in powers)
    return (a * torch.linalg.cross(b, c)).sum(1) + at_atoms(graph, torch.exp(-graph.distance))


def cell_size(graph):
    batch, _ = crystals_of(graph)
    return graph.cell.norm(dim=(1, 2))[batch] + graph.z


def first_atom(graph):
    batch, B = crystals_of(graph)
    first = torch.searchsorted(batch, torch.arange(B))
    return graph.z[first][batch] + at_atoms(graph, torch.exp(-graph.distance))


def hidden_from_autograd(graph):
    return at_atoms(graph, torch.exp(-graph.distance) + torch.exp(-graph.distance.detach()))


class MinusTheMeanOfTheBatch(MeanSchNet):
    def forward(self, graph):
        E = super().forward(graph)
        return E - 0.1 * E.mean()


class Constant(nn.Module):
    def forward(self, graph):
        _, B = crystals_of(graph)
        return graph.pos.new_ones(B)


def without_images(structure: Structure):
    graph = radius_graph(structure, cutoff=5.0, dtype=torch.float64)
    home = (graph.shift == 0).all(dim=1)
    graph.edge_index, graph.shift, graph.distance = (
        graph.edge_index[:, home],
        graph.shift[home],
        graph.distance[home],
    )
    return graph


POTENTIAL = {"cutoff": 5.0, "extensive": True, "smooth": True}
SMALL = {"features": 8, "layers": 1, "cutoff": 5.0}
CONTROLS = {
    "sound": (Promises(partial(SchNet, **SMALL), **POTENTIAL), set()),
    "raw coordinates": (
        Promises(lambda: Broken(raw_coordinates, mean=True), cutoff=5.0),
        {"translation", "rotation", "reflection", "wrap", "supercell"},
    ),
    "no periodic images": (
        Promises(partial(MeanSchNet, **SMALL), cutoff=5.0, builder=without_images),
        {"wrap", "supercell"},
    ),
    "flipped sign of the shift": (
        Promises(lambda: Broken(flipped_shift), **POTENTIAL),
        {"wrap", "supercell"},
    ),
    "a vector fed as scalars": (
        Promises(lambda: Broken(vector_as_scalars), **POTENTIAL),
        {"rotation", "reflection", "forces turn"},
    ),
    "handedness": (Promises(lambda: Broken(handedness, mean=True), cutoff=5.0), {"reflection"}),
    "size of the cell": (
        Promises(lambda: Broken(cell_size, mean=True), cutoff=5.0),
        {"another cell", "supercell"},
    ),
    "the first atom": (Promises(lambda: Broken(first_atom, mean=True), cutoff=5.0), {"permutation"}),
    "a constant": (Promises(Constant), {"another crystal"}),
    "the mean of the batch": (
        Promises(partial(MinusTheMeanOfTheBatch, **SMALL), cutoff=5.0),
        {"batch", "no gradient across"},
    ),
    "a mean sold as a sum": (
        Promises(partial(MeanSchNet, **SMALL), **POTENTIAL),
        {"supercell", "additive"},
    ),
    "no envelope": (
        Promises(lambda: SchNet(envelope=HardCutoff(cutoff=5.0), **SMALL), **POTENTIAL),
        {"smooth"},
    ),
    "hidden from autograd": (
        Promises(lambda: Broken(hidden_from_autograd), **POTENTIAL),
        {"finite differences"},
    ),
}


def rattled(structure: Structure) -> Structure:
    """Without a centre of inversion, which would hide the faults of odd functions."""
    away = np.random.default_rng(0).normal(scale=0.03, size=(len(structure), 3))
    return Structure(structure.lattice, structure.species, structure.frac_coords + away)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_promise_reddens_its_check_and_no_other(name):
    promises, expected = CONTROLS[name]
    crystals = [rattled(real("mp-390")), rattled(real("mp-10113"))]
    failed = set()
    for check, hold in checks_of(promises).items():
        try:
            for seed in range(3):
                hold(promises, crystals, np.random.default_rng(seed))
        except AssertionError:
            failed.add(check)
    assert failed == expected
