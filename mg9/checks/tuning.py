"""Checks of what is done with a pretrained network: pool, choose, train (slides 38, 43, 50).

The functions `holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, Local, WrongKind, products, register
from mg9.checks.tools import expect_tensor

STAGES = ("readouts", "last round", "everything")


@register(
    "mace.pool",
    slide=38,
    outcome=8,
    cause="join the rounds for each atom, then the mean over the atoms of each crystal",
)
def pool(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_pool(student, rng, function, atoms=[1, 4, 3], features=[3, 3])
    return "both rounds, and the mean: a supercell has the vector of its cell"


def holds_pool(
    student: Local, rng: np.random.Generator, function: Callable, atoms: list[int], features: list[int]
) -> None:
    """Vectors of crystals whose atoms are not in order, against the mean of each round."""
    batch = torch.from_numpy(rng.permutation(np.repeat(np.arange(len(atoms)), atoms)))
    scalars = [torch.from_numpy(rng.normal(size=(len(batch), F))) for F in features]
    joined, B = torch.cat(scalars, dim=1), len(atoms)
    total = torch.zeros(B, joined.size(1)).double().index_add(0, batch, joined)
    largest = torch.stack([joined[batch == b].amax(dim=0) for b in range(B)])
    got = student.call(function, [s.clone() for s in scalars], batch, B)
    if isinstance(got, Tensor) and tuple(got.shape) in {(B, F) for F in features[len(features) < 2 :]}:
        what = "only one of the rounds is there"
        raise CheckFailed(what, expected=(B, sum(features)), got=tuple(got.shape))
    got = expect_tensor(got, (B, sum(features)), "the embedding").double()
    wanted = total / torch.tensor(atoms)[:, None]
    mistakes = {
        "this is the sum over the atoms: a supercell would have another vector": total,
        "this is the largest value, not the mean": largest,
        "this is divided by the atoms of all crystals": total / len(batch),
        "the rounds are in another order": torch.cat([wanted[:, features[0] :], wanted[:, : features[0]]], 1),
    }
    products.named(got, wanted, mistakes, "another embedding; (crystal, feature)")


def parameter_names(layers: int) -> list[str]:
    """Names as those of a `Potential` of `MACE` with so many rounds."""
    own = ("up.weight.0e", "convolution.filter.0.weight", "A.weight.1o", "B.weight.0", "keep.weight.0e")
    rounds = [f"model.rounds.{k}.{name}" for k in range(layers) for name in own]
    readouts = [f"model.readouts.{k}.0.weight" for k in range(layers)]
    return ["model.atoms.weight", *rounds, *readouts, f"model.readouts.{layers - 1}.2.weight"]


def wanted_names(layers: int, stage: str) -> list[str]:
    """Those that `stage` trains."""
    begins = ("model.readouts.", *[f"model.rounds.{layers - 1}."] * (stage == "last round"))
    return [n for n in parameter_names(layers) if stage == "everything" or n.startswith(begins)]


@register(
    "mace.chosen",
    slide=43,
    outcome=6,
    cause="by the beginning of a name: model.readouts. for readouts, model.rounds.1. for the second round",
)
def chosen(student: Local, rng: np.random.Generator, function: Callable) -> str:
    more = int(rng.integers(3, 7))
    sizes = [[holds_chosen(student, function, layers, stage) for stage in STAGES] for layers in (2, more)][0]
    return f"{sizes[0]}, {sizes[1]} and {sizes[2]} of {sizes[2]} parameters are trained"


def holds_chosen(student: Local, function: Callable, layers: int, stage: str) -> int:
    """The names of one stage; how many there are."""
    got, wanted = student.call(function, parameter_names(layers), stage), wanted_names(layers, stage)
    if not isinstance(got, list | tuple) or not all(isinstance(name, str) for name in got):
        raise WrongKind("a list of names is wanted", expected="names", got=type(got).__name__)
    where = f"{stage!r} of a network with {layers} rounds"
    if frozen := [name for name in wanted if name not in got]:
        what = f"{frozen[0]} stays frozen although it is to be trained"
        raise CheckFailed(what, crystal=where, expected=f"{len(wanted)} names", got=f"{len(got)}")
    if free := [name for name in got if name not in wanted]:
        what = f"{free[0]} is trained although it is to stay frozen"
        raise CheckFailed(what, crystal=where, expected=f"{len(wanted)} names", got=f"{len(got)}")
    return len(wanted)


@register(
    "mace.loss",
    slide=31,
    outcome=6,
    cause="(energy / atoms - target).abs().mean(): energy is that of the cell, target is per atom",
)
def loss(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_loss(student, rng, function, [2, 5, 9])
    return "the mean absolute error per atom: a large cell counts as much as a small one"


def holds_loss(student: Local, rng: np.random.Generator, function: Callable, sizes: Sequence[int]) -> None:
    """Its value and its slope."""
    atoms = torch.tensor(sizes)
    target = torch.from_numpy(rng.uniform(-3, 0, size=len(sizes)))
    energy = atoms * target + torch.from_numpy(rng.normal(size=len(sizes)))
    off = energy / atoms - target
    got = student.call(function, energy, atoms, target)
    got = torch.tensor(got).double() if isinstance(got, float) else got
    got = expect_tensor(got, (), "the loss").double()
    mistakes = {
        "this is the error of the cells, not per atom": (energy - atoms * target).abs().mean(),
        "energy is that of a cell, target is per atom: divide the energy": (energy - target).abs().mean(),
        "this is the sum over the crystals, not their mean": off.abs().sum(),
        "this is the mean square, not the mean absolute error": off.square().mean(),
        "errors of opposite sign cancel": off.mean(),
        "one mean over the atoms of all crystals": (energy.sum() / atoms.sum() - target.mean()).abs(),
    }
    products.named(got, off.abs().mean(), mistakes, "another loss in eV/atom")
    slope = student.vjp(function, (energy, atoms, target), torch.tensor(1.0).double())[0]
    if slope is None:
        raise CheckFailed("no gradient flows back to the energy: is there a detach, item() or numpy?")
    truth = off.sign() / atoms / len(sizes)
    products.named(slope.double(), truth, {}, "the loss has another slope; (crystal)")


@register(
    "mace.moved",
    slide=43,
    outcome=6,
    cause="compare tensor by tensor and exactly; where both are NaN nothing has moved",
)
def moved(student: Local, rng: np.random.Generator, function: Callable) -> str:
    names = [f"{name}.weight" for name in rng.permutation(list("abcdefg"))]
    unknown, little, turned = names[:3]  # the others have not moved
    before = {name: torch.from_numpy(rng.normal(size=3)) for name in sorted(names)}
    before[unknown][1] = torch.nan
    after = {name: tensor.clone() for name, tensor in before.items()}
    after[little][2] += 1e-9
    after[turned] = -after[turned]
    wanted = sorted([little, turned])
    got = student.call(function, before, after)
    if not isinstance(got, list | tuple) or not all(isinstance(name, str) for name in got):
        raise WrongKind("a list of names is wanted", expected=wanted, got=type(got).__name__)
    for name, says in {
        unknown: "NaN differs from itself: a reference that is not known has not moved",
        little: "a parameter that moved by 1e-9 is missed: compare exactly",
        turned: "a parameter that changed its sign is missed",
    }.items():
        if (name in got) != (name in wanted):
            raise CheckFailed(says, expected=wanted, got=sorted(got))
    if sorted(got) != wanted:
        raise CheckFailed("other names than those that moved", expected=wanted, got=sorted(got))
    return "the names of what moved, and no others"
