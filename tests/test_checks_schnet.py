"""The checks of the assignment "schnet": right code passes however it is written, wrong code fails by name.

Right code comes from the solution notebook and from rewrites of it; wrong code is below, each piece with the
words that its message must contain.
"""

import math
import re

import numpy as np
import pytest
import torch
from across import Across, Handle
from checking import Cases, code_cells, definitions, graded
from torch import nn
from torch.nn.functional import relu, softplus

import course.hidden.schnet  # noqa: F401  registers the hidden checks
from mg9.c_radial import CosineEnvelope, PolynomialEnvelope
from mg9.c_schnet import SlideInteraction
from mg9.checks import REGISTRY, CheckFailed, check, find
from mg9.checks.clusters import labelled_clusters

find("schnet.softplus")
GRADED = graded("schnet")
CASES = Cases()
right, wrong = CASES.right, CASES.wrong


@pytest.fixture(scope="module")
def reference():
    """What the notebook defines, with a network of each kind: untrained, and trained on the tiny budget."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MG9_BUDGET", "tiny")
        names = definitions("schnet", "budget", "clusters", "training", "trained")
    return names | untrained(names)


def untrained(names: dict) -> dict:
    torch.manual_seed(1)
    names["smooth"] = names["MySchNet"](names["cosine_envelope"]).double()
    return names


def names_with(**exchanged) -> dict:
    """The notebook's untrained network with other functions in the place of its own."""
    names = definitions("schnet", "budget")
    names.update(exchanged)
    return untrained(names)


# Functions of one number


@right("schnet.softplus")
def by_logaddexp(x):
    return torch.logaddexp(x, torch.zeros_like(x)) - math.log(2)


@right("schnet.softplus")
def softplus_in_single_precision(x):
    return softplus(x.float()) - math.log(2)


@wrong("schnet.softplus", says="softplus is shifted by ln 2")
def unshifted(x):
    return softplus(x)


@wrong("schnet.softplus", says="NaN or infinite[\\s\\S]*overflows")
def overflowing(x):
    return torch.log(0.5 * torch.exp(x) + 0.5)


@wrong("schnet.softplus", says=r"ssp\(.*\) has another value")
def with_a_kink(x):
    return relu(x)


@wrong("schnet.softplus", says="no slope comes back")
def in_numpy(x):
    return torch.from_numpy(np.logaddexp(0, x.detach().numpy()) - math.log(2))


@wrong("schnet.softplus", says="is the return statement missing")
def nothing(x):
    pass


@right("schnet.basis")
def one_centre_after_another(distance, cutoff, centers):
    step = cutoff / (centers - 1)
    return torch.stack([torch.exp(-(((distance - k * step) / step) ** 2)) for k in range(centers)], dim=1)


@wrong("schnet.basis", says="these are bins")
def bins(distance, cutoff, centers):
    mu = torch.linspace(0, cutoff, centers)
    return ((distance[:, None] - mu).abs() < cutoff / (centers - 1) / 2).double()


@wrong("schnet.basis", says="a Gaussian has another value")
def half_a_width(distance, cutoff, centers):
    mu = torch.linspace(0, cutoff, centers)
    return torch.exp(-0.5 * ((distance[:, None] - mu) * (centers - 1) / cutoff) ** 2)


@wrong("schnet.basis", says="a Gaussian has another value")
def the_cutoff_left_out(distance, cutoff, centers):
    mu, step = torch.linspace(0, cutoff, centers + 1)[:-1], cutoff / centers
    return torch.exp(-(((distance[:, None] - mu) / step) ** 2))


@wrong("schnet.basis", says="no slope comes back")
def detached(distance, cutoff, centers):
    return one_centre_after_another(distance.detach(), cutoff, centers)


@wrong("schnet.basis", says=r"another shape\n.*\(5, 21\), got \(21, 5\)")
def transposed(distance, cutoff, centers):
    return one_centre_after_another(distance, cutoff, centers).T


@right("schnet.envelope")
def of_the_package(distance, cutoff):
    return CosineEnvelope(cutoff=cutoff)(distance)


@right("schnet.envelope")
def with_a_clamp(distance, cutoff):
    return (1 + torch.cos(math.pi * torch.clamp(distance / cutoff, max=1))) / 2


@wrong("schnet.envelope", says="beyond the cutoff of 5 Å, at .* Å, an atom still counts")
def rising_again(distance, cutoff):
    return (1 + torch.cos(math.pi * distance / cutoff)) / 2


@wrong("schnet.envelope", says="has not come down: the energy jumps")
def a_hard_cutoff(distance, cutoff):
    return (distance < cutoff).double() + 0 * distance


@wrong("schnet.envelope", says="its slope is not: the force jumps")
def a_straight_line(distance, cutoff):
    return torch.clamp(1 - distance / cutoff, min=0)


@wrong("schnet.envelope", says="has not come down")
def half_a_cosine(distance, cutoff):
    return torch.where(distance < cutoff, 1 + 0.5 * torch.cos(math.pi * distance / cutoff), 0 * distance)


@wrong("schnet.envelope", says="is another")
def a_polynomial(distance, cutoff):
    return PolynomialEnvelope(cutoff=cutoff)(distance)


@wrong("schnet.envelope", says="no slope comes back")
def an_envelope_without_slope(distance, cutoff):
    return with_a_clamp(distance.detach(), cutoff)


# Filter and interaction


class Filter(nn.Module):
    """The given constructor; right and wrong code differ in `forward`."""

    def __init__(self, *, features, edge_features):
        super().__init__()
        self.first = nn.Linear(edge_features, features)
        self.second = nn.Linear(features, features)

    def forward(self, u, envelope):
        return self.second(by_logaddexp(self.first(u))) * envelope[:, None]


right("schnet.filter")(Filter)


@right("schnet.filter")
class WithMatrixProducts(Filter):
    def forward(self, u, envelope):
        hidden = by_logaddexp(u @ self.first.weight.T + self.first.bias)
        return (envelope * (self.second.weight @ hidden.T + self.second.bias[:, None])).T


@wrong("schnet.filter", says="a neighbour at the cutoff still has a filter")
class EnvelopeOnTheBasis(Filter):
    def forward(self, u, envelope):
        return self.second(by_logaddexp(self.first(u * envelope[:, None])))


@wrong("schnet.filter", says="a neighbour at the cutoff still has a filter")
class EnvelopeBeforeTheLastBias(Filter):
    def forward(self, u, envelope):
        return self.second(by_logaddexp(self.first(u)) * envelope[:, None])


@wrong("schnet.filter", says="half the envelope is not half the filter")
class EnvelopeTwice(Filter):
    def forward(self, u, envelope):
        return super().forward(u, envelope) * envelope[:, None]


@wrong("schnet.filter", says="a neighbour at the cutoff still has a filter")
class WithoutEnvelope(Filter):
    def forward(self, u, envelope):
        return self.second(by_logaddexp(self.first(u)))


@wrong("schnet.filter", says=r"W is ssp\(-0.5\)")
class WithRelu(Filter):
    def forward(self, u, envelope):
        return self.second(relu(self.first(u))) * envelope[:, None]


@wrong("schnet.filter", says="it does not look at its input")
class TheSameForAllDistances(Filter):
    def forward(self, u, envelope):
        return super().forward(0 * u, envelope)


@wrong("schnet.filter", says="other names or shapes")
class OtherNames(nn.Sequential):
    def __init__(self, *, features, edge_features):
        super().__init__(nn.Linear(edge_features, features), nn.Softplus(), nn.Linear(features, features))


VISIBLE = ("schnet.direction", "schnet.sum")
INTERACTION = (*VISIBLE, "hidden.schnet.interaction")


class Base(nn.Module):
    """The given constructor; right and wrong code differ in `messages` or `add`."""

    def __init__(self, *, features, edge_features):
        super().__init__()
        self.filter = Filter(features=features, edge_features=edge_features)

    def messages(self, x, filters, j, i):
        return x[j] * filters

    def add(self, x, i, messages):
        return x + torch.zeros_like(x).index_add(0, i, messages)

    def forward(self, x, u, envelope, edge_index):
        j, i = edge_index
        return self.add(x, i, self.messages(x, self.filter(u, envelope), j, i))


right(*INTERACTION)(Base)


@right(*INTERACTION)
class EdgeByEdge(Base):
    def add(self, x, i, messages):
        new = list(x)
        for atom, message in zip(i.tolist(), messages, strict=True):
            new[atom] = new[atom] + message
        return torch.stack(new)


@right(*INTERACTION)
class WithScatter(Base):
    def add(self, x, i, messages):
        return x.scatter_add(0, i[:, None].expand_as(messages), messages)


@wrong("schnet.direction", says="multiplies x_j, not x_i")
@wrong("hidden.schnet.interaction", says="x' has another value")
class CentreFiltered(Base):
    def messages(self, x, filters, j, i):
        return x[i] * filters


@wrong("schnet.direction", says="only sends, yet its feature changed")
@wrong("hidden.schnet.interaction", says="x' has another value")
class NeighbourReceives(Base):
    def forward(self, x, u, envelope, edge_index):
        return super().forward(x, u, envelope, edge_index.flip(0))


@wrong(*VISIBLE, says="the residual x_i")
@wrong("hidden.schnet.interaction", says="x' has another value")
class WithoutResidual(Base):
    def add(self, x, i, messages):
        return super().add(x, i, messages) - x


@wrong("schnet.sum", says="the update must double[\\s\\S]*a mean would not notice coordination")
@wrong("hidden.schnet.interaction", says="x' has another value")
class Mean(Base):
    def add(self, x, i, messages):
        count = torch.bincount(i, minlength=len(x)).clamp(min=1)
        return x + torch.zeros_like(x).index_add(0, i, messages) / count[:, None]


@wrong("schnet.sum", says="the update must double")
@wrong("hidden.schnet.interaction", says="x' has another value")
class OneMessageForEachAtom(Base):
    def add(self, x, i, messages):
        new = x.clone()
        new[i] += messages
        return new


@wrong("schnet.direction", says="the product goes channel by channel")
@wrong("hidden.schnet.interaction", says="x' has another value")
class ChannelsMixed(Base):
    def messages(self, x, filters, j, i):
        return x[j].sum(dim=1, keepdim=True) * filters


@wrong("schnet.direction", says="multiplies x_j|only sends|channel by channel")
@wrong("hidden.schnet.interaction", says="x' has another value")
class SumForProduct(Base):
    def messages(self, x, filters, j, i):
        return x[j] + filters


@wrong("hidden.schnet.interaction", says="no gradient flows back to u|raised RuntimeError")
class FilterDetached(Base):
    def messages(self, x, filters, j, i):
        return x[j] * filters.detach()


# Readout


@right("schnet.readout")
def by_masks(contributions, batch, n):
    return torch.stack([contributions[batch == k].sum() for k in range(n)])


@wrong("schnet.readout", says="this is the mean")
def the_mean(contributions, batch, n):
    return torch.stack([contributions[batch == k].mean() for k in range(n)])


@wrong("schnet.readout", says="the sum over molecules")
def the_last_atom(contributions, batch, n):
    new = contributions.new_zeros(n)
    new[batch] = contributions
    return new


@wrong("schnet.readout", says="another shape")
def everything(contributions, batch, n):
    return contributions.sum()


@wrong("schnet.readout", says="the atoms came in another order|raised")
def as_if_sorted(contributions, batch, n):
    sizes = torch.bincount(batch, minlength=n).tolist()
    return torch.stack([part.sum() for part in contributions.split(sizes)])


# Whole networks: the notebook's own with one part exchanged


class Deaf(Base):
    def forward(self, x, u, envelope, edge_index):
        return x


def no_forces(energy, pos):
    return torch.zeros_like(pos)


PARTS = {
    "two clusters far apart have the energy of one": ("schnet.energy", {"total_energy": the_mean}),
    "the energy jumps by .* eV when an atom crosses": ("schnet.smooth", {"cosine_envelope": a_hard_cutoff}),
    "the force jumps when an atom crosses": ("schnet.smooth", {"cosine_envelope": a_straight_line}),
    "the energy jumps .* crosses the cutoff": ("schnet.smooth", {"ContinuousFilter": EnvelopeOnTheBasis}),
    "every bond was stretched": ("schnet.energy", {"Interaction": Deaf}),
    "the positions at all": ("schnet.forces", {"Interaction": Deaf, "forces_from": no_forces}),
}


@pytest.mark.parametrize("says", PARTS)
def test_a_network_with_a_wrong_part_is_told_what_breaks(says):
    name, exchanged = PARTS[says]
    names = names_with(**exchanged)
    with pytest.raises(CheckFailed, match=says):
        check(name, *(names[argument] for argument in GRADED[name]))


def minus_the_gradient(energy, pos, **how):
    return -torch.autograd.grad(energy.sum(), pos, **how)[0]


FORCES = {
    "the forces point uphill": lambda energy, pos: -minus_the_gradient(energy, pos, create_graph=True),
    "cannot be differentiated again": minus_the_gradient,
    "a force is not minus the slope": lambda e, pos: 0.5 * minus_the_gradient(e, pos, create_graph=True),
    "the forces is None|the forces should be|None": lambda energy, pos: None,
    "another shape": lambda e, pos: minus_the_gradient(e, pos, create_graph=True).sum(dim=0),
}


@pytest.mark.parametrize("says", FORCES)
def test_wrong_forces_are_told_apart(says):
    names = names_with(forces_from=FORCES[says])
    with pytest.raises(CheckFailed, match=says):
        check("schnet.forces", names["energy"], names["forces"])


def test_an_untrained_network_is_not_accurate(reference, monkeypatch):
    monkeypatch.setenv("MG9_BUDGET", "tiny")
    with pytest.raises(CheckFailed, match="the energies of new clusters are predicted too badly") as caught:
        check("hidden.schnet.accuracy", reference["energy"], reference["forces"])
    target, got = (np.array(caught.value.figure[axis]) for axis in "xy")
    assert len(target) == 40 and caught.value.got == f"{np.abs(got - target).mean():.3f} eV/atom"
    shifted = lambda z, pos: reference["trained_energy"](z, pos)  # noqa: E731
    with pytest.raises(CheckFailed, match="the forces of new clusters are predicted too badly"):
        check("hidden.schnet.accuracy", shifted, lambda z, pos: -reference["trained_forces"](z, pos))


def test_the_hidden_functions_catch_what_is_fixed(reference):
    right_ones = [reference[name] for name in GRADED["hidden.schnet.functions"]]
    for place, fixed in (
        (0, unshifted),
        (1, lambda r, cutoff, centers: one_centre_after_another(r, 5.0, centers)),
        (2, lambda r, cutoff: with_a_clamp(r, 5.0)),
    ):
        handed = [fixed if k == place else thing for k, thing in enumerate(right_ones)]
        with pytest.raises(CheckFailed):
            check("hidden.schnet.functions", *handed)


# What the checks rest on


def test_clusters_are_those_of_the_seed_and_their_forces_are_slopes():
    one, same, other = (labelled_clusters(5, seed=s) for s in (3, 3, 4))
    assert np.array_equal(one[4].pos, same[4].pos) and not np.array_equal(one[0].forces, other[0].forces)
    for c in one:
        r = np.linalg.norm(c.pos[None] - c.pos[:, None], axis=2) + 10 * np.eye(len(c.z))
        assert 4 <= len(c.z) <= 8 and r.min() > 2.3 and set(c.z) <= {29, 79}
        assert np.abs(c.forces.sum(axis=0)).max() < 1e-8 and c.forces.shape == c.pos.shape


def test_the_notebook_s_interaction_is_that_of_the_package(reference):
    torch.manual_seed(0)
    own, package = (
        layer(features=4, edge_features=3) for layer in (reference["Interaction"], SlideInteraction)
    )
    linear = [package.filter.layers[0], package.filter.layers[2]]
    for mine, theirs in zip((own.filter.first, own.filter.second), linear, strict=True):
        theirs.load_state_dict(mine.state_dict())
    x, u, f = torch.randn(3, 4), torch.randn(5, 3), torch.rand(5)
    edge_index = torch.tensor([[0, 1, 2, 2, 1], [1, 0, 0, 1, 2]])
    assert torch.allclose(own(x, u, f, edge_index), package(x, u, f, edge_index), atol=1e-6)


# Every check against right and wrong code


def test_the_notebook_calls_every_check():
    assert set(GRADED) == {name for name in REGISTRY if "schnet." in name}
    points = [c["metadata"].get("nbgrader", {}).get("points", 0) for c in code_cells("schnet")]
    assert sum(points) == 24


def test_every_check_catches_something():
    caught = {name for name, *_ in CASES.bad} | {name for name, _ in PARTS.values()}
    caught |= {"hidden.schnet.functions", "hidden.schnet.accuracy", "hidden.schnet.energy"}
    assert caught == set(GRADED)


@pytest.mark.parametrize("exchanged", ({"total_energy": the_mean}, {"cosine_envelope": a_straight_line}))
def test_the_hidden_energy_catches_wrong_parts(exchanged):
    names = names_with(**exchanged)
    with pytest.raises(CheckFailed):
        check("hidden.schnet.energy", *(names[argument] for argument in GRADED["hidden.schnet.energy"]))


@pytest.mark.parametrize("name", sorted(GRADED))
def test_the_reference_passes_with_one_line_through_the_five_verbs(name, reference, capsys, monkeypatch):
    monkeypatch.setenv("MG9_BUDGET", "tiny")
    objects = [reference[argument] for argument in GRADED[name]]
    check(name, *objects)
    assert re.fullmatch(rf"passed  {re.escape(name)}: .+\n", capsys.readouterr().out)
    across = Across()
    across.budget = "tiny"
    for seed in (7, 8):
        REGISTRY[name].function(across, np.random.default_rng(seed), *map(Handle, objects))


@pytest.mark.parametrize(("name", "thing"), CASES.good, ids=lambda x: getattr(x, "__name__", x))
def test_right_code_passes_however_it_is_written(name, thing):
    check(name, thing)


@pytest.mark.parametrize(("name", "thing", "says"), CASES.bad, ids=lambda x: getattr(x, "__name__", None))
def test_wrong_code_fails_and_its_mistake_is_named(name, thing, says):
    with pytest.raises(CheckFailed) as caught:
        check(name, thing)
    message = str(caught.value)
    assert re.search(says, message), message
    assert f"reread slide {REGISTRY[name].slide:02d}" in message


@pytest.mark.parametrize("name", sorted(GRADED))
@pytest.mark.parametrize("thing", [None, 3, "text"])
def test_something_else_altogether_is_a_failed_check(name, thing):
    with pytest.raises(CheckFailed):
        check(name, *[thing] * len(GRADED[name]))
