"""Checks of a gated layer, and of a test that finds which symmetries other layers break (slides 36, 37).

How such a test, a harness, is asked stands in `asked.py`. The functions `holds_...` are the part that hidden
checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import silu

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, WrongKind, asked, faulty_layers, register
from mg9.checks.products import named, parts
from mg9.checks.tools import expect_change, expect_close

F = 4  # features; not 3, so that a matrix over features and one over components differ

# Which tests each layer fails; tests/test_checks_equivariance.py finds the same by running.
BREAKS: dict[str, tuple[str, ...]] = {
    "right": (),
    "cross": ("reflection",),
    "screw": ("reflection",),
    "components": ("rotation", "reflection"),
    "fixed_axis": ("rotation", "reflection"),
    "first_atom": ("permutation",),
    "blind": ("stretch",),
    "double_cross": (),
    "handed_cross": (),
}
HINTS = {
    "cross": "v has a cross product in it, and a pseudovector shows in a mirror only",
    "screw": "its scalars have a handedness in them, its vectors are right: compare both",
    "components": "tanh is odd: quarter turns, mirrors along axes, the inversion pass; draw R, take R and -R",
    "fixed_axis": "a rotation about that axis passes, and a mirror that contains it: draw R at random",
    "first_atom": "atoms in another order have the scalars and vectors of before, in that order",
    "blind": "no symmetry can catch it: make the vectors longer, and something must change",
}
FALSE = {
    "rotation": "turn what comes out as well: scalars stay, vectors turn",
    "reflection": "mirror what comes out as well, with the same matrix: 0e stays, 1o is turned by -R",
    "permutation": "one order for all: the scalars and vectors that go in, and those that come out",
    "stretch": "a right layer does notice longer vectors; report the one that does not",
}
KNOWN = asked.Faults(BREAKS, HINTS, FALSE)
MOST = 500  # questions that a harness may ask


@register(
    "equivariance.gate",
    slide=36,
    outcome=5,
    cause="w mixes features, the same for x, y and z; t = scalars([s, |w|^2]); s' = silu(first half), "
    "v' = sigmoid(second half) times w",
)
def gate(student: Local, rng: np.random.Generator, cls: type) -> str:
    holds_gate(student, rng, cls, features=F, n=5)
    return "turned or mirrored vectors give turned or mirrored ones, and the scalars stay; lengths count"


def holds_gate(student: Local, rng: np.random.Generator, cls: type, features: int, n: int) -> None:
    """Symmetries first, then the twin, longer vectors, then values with known weights."""
    layer = student.make(cls, 0, torch.float64, features=features)
    shapes = {
        "mix.weight": (features, features),
        "scalars.weight": (2 * features,) * 2,
        "scalars.bias": (2 * features,),
    }
    weights = {name: torch.from_numpy(rng.normal(size=shape)) for name, shape in shapes.items()}
    student.load(layer, weights)
    s, v = (torch.from_numpy(rng.normal(size=(n, features, *axes))) for axes in ((), (3,)))

    def ask(s: Tensor, v: Tensor) -> list[Tensor]:
        return parts(student.call(layer, s, v), [tuple(s.shape), tuple(v.shape)], ["s'", "v'"])

    new_s, new_v = ask(s, v)
    R = torch.from_numpy(b_symmetry.random_rotation(rng))
    for action, matrix in (("turned", R), ("mirrored", -R)):
        other_s, other_v = ask(s, v @ matrix.T)
        what = f"the vectors were {action}, and the scalars changed: of vectors only lengths may go in"
        expect_close(other_s, new_s, what)
        what = f"the vectors were {action}, v' was not: did a nonlinearity, a matrix or a bias meet x, y, z?"
        expect_close(other_v, new_v @ matrix.T, what)
    for longer, before in zip(ask(s, 1.1 * v), (new_s, new_v), strict=True):
        expect_change(longer, before, "the vectors were made longer")
    w = torch.einsum("nfc,gf->ngc", v, weights["mix.weight"])

    def halves(size: Tensor) -> tuple[Tensor, ...]:
        t = torch.cat([s, size], dim=1) @ weights["scalars.weight"].T + weights["scalars.bias"]
        return t.chunk(2, dim=1)

    first, second = halves(w.square().sum(-1))
    wanted_s, wanted_v = silu(first), torch.sigmoid(second)[..., None] * w
    across = torch.einsum("nfc,fg->ngc", v, weights["mix.weight"]).square().sum(-1)
    swapped = (
        torch.cat([w.square().sum(-1), s], dim=1) @ weights["scalars.weight"].T + weights["scalars.bias"]
    )
    of_v, root = halves(v.square().sum(-1)), halves(w.norm(dim=-1))
    mistakes = {
        "silu is missing on the scalars": first,
        "the halves are exchanged: the first becomes s', the second the gates": silu(second),
        "the order is [s, |w|^2], scalars first": silu(swapped.chunk(2, dim=1)[0]),
        "mix acts the other way round, its weight transposed: use self.mix": silu(halves(across)[0]),
        "these are the lengths of v; take those of w": silu(of_v[0]),
        "these are lengths; take their squares, whose slope exists at w = 0 too": silu(root[0]),
    }
    named(new_s, wanted_s, mistakes, "s' has another value; (atom, feature)")
    mistakes = {
        "the gate is missing: v' is w as it was": w,
        "the gates scale v, not w: the features are not mixed": torch.sigmoid(second)[..., None] * v,
        "the gate went through no sigmoid": second[..., None] * w,
    }
    named(new_v, wanted_v, mistakes, "v' has another value; (atom, feature, axis)")


def an_input(question: Any) -> tuple[Tensor, Tensor]:
    """s and v, if they are features of one list of atoms; otherwise `CheckFailed`."""
    if (
        not isinstance(question, tuple | list)
        or len(question) != 2
        or not all(isinstance(x, Tensor) for x in question)
    ):
        raise WrongKind("a layer is asked with two tensors: s and v")
    s, v = (x.double() for x in question)
    if s.dim() != 2 or tuple(v.shape) != (*s.shape, 3) or s.size(1) < 3 or s.numel() > 1000:
        raise CheckFailed(
            "a layer takes s (N, F) and v (N, F, 3)", got=f"{tuple(s.shape)} and {tuple(v.shape)}"
        )
    if not (torch.isfinite(s).all() and torch.isfinite(v).all()):
        raise CheckFailed("a layer is asked with numbers that are NaN or infinite")
    return s, v


def holds_suspects(
    student: Local, harness: Callable, suspects: Sequence[dict[str, float]], seed: int
) -> None:
    """The broken symmetries, suspect by suspect; a suspect is fault -> how much of it."""
    for number, weights in enumerate(suspects, start=1):
        layer = faulty_layers.LAYERS["blind"] if "blind" in weights else faulty_layers.mixture(weights)

        def answer(question: Any, layer: faulty_layers.Layer = layer) -> tuple[Tensor, ...]:
            s, v = an_input(question)
            return (s, v, *layer(s, v))

        got = asked.verdict_on(student, harness, answer, seed, MOST)
        asked.holds_verdict(got, weights, KNOWN, number)


@register(
    "equivariance.suspects",
    slide=36,
    outcome=5,
    cause="each test several times with random draws, on scalars and vectors; stretch the reverse",
)
def suspects(student: Local, rng: np.random.Generator, harness: Callable) -> str:
    alone = [name for name in BREAKS if name != "right"]
    holds_suspects(student, harness, [{}, *({name: 1.0} for name in alone)], seed=0)
    return f"the right verdict on {1 + len(alone)} layers, two of which only look wrong"
