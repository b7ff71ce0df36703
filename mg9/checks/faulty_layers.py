"""Layers with one fault each: what a test of equivariance must catch (slides 36, 37).

Every layer takes scalars s (N, F), 0e, and vectors v (N, F, 3), 1o, and returns new ones. Read in order:
`right`, the faulty layers and the two that only look faulty, `LAYERS` (their names), `mixture`, `Replay`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

Layer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def others(v: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors of the next feature and of the one after it."""
    return v.roll(1, dims=1), v.roll(2, dims=1)


def triple(v: Tensor) -> Tensor:
    """v_f . (v_f+1 x v_f+2), (N, F): a pseudoscalar, 0o."""
    one, two = others(v)
    return (v * torch.linalg.cross(one, two)).sum(-1)


def right(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Scalars hear squared lengths, and scale the vectors: nothing to catch."""
    size = v.square().sum(-1)
    return torch.nn.functional.silu(s + size), torch.sigmoid(s - size)[..., None] * v


def cross(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors precess about each other: a pseudovector is added to a vector."""
    s, new = right(s, v)
    return s, new + torch.linalg.cross(v, others(v)[0])


def screw(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Scalars hear a triple product: a pseudoscalar is added to a scalar, the vectors are right."""
    s, new = right(s, v)
    return s + triple(v), new


def components(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A nonlinearity on x, y and z, as if they were three scalars; tanh is odd, so r -> -r alone passes."""
    return right(s, v)[0], torch.tanh(v)


def fixed_axis(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors have a bias: an arrow that stays where it is."""
    s, new = right(s, v)
    return s, new + torch.tensor([0.0, 0.0, 0.5]).to(v)


def first_atom(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The first atom in the list counts a little more."""
    s, new = right(s, v)
    weight = torch.ones(len(s), 1).to(s)
    weight[0] = 1.2
    return weight * s, weight[..., None] * new


def blind(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing of the vectors comes out. No symmetry can catch this one."""
    return torch.nn.functional.silu(s), torch.zeros_like(v)


def double_cross(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Two cross products after each other: two signs cancel, and this is a vector again. Right."""
    s, new = right(s, v)
    one, two = others(v)
    return s, new + torch.linalg.cross(torch.linalg.cross(v, one), two)


def handed_cross(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A cross product times a triple product: a pseudovector times a pseudoscalar is a vector. Right."""
    s, new = right(s, v)
    return s, new + triple(v)[..., None] * torch.linalg.cross(v, others(v)[0])


LAYERS: dict[str, Layer] = {
    f.__name__: f
    for f in (right, cross, screw, components, fixed_axis, first_atom, blind, double_cross, handed_cross)
}
MIXED = ("cross", "screw", "components", "fixed_axis", "first_atom", "double_cross", "handed_cross")


def mixture(weights: Mapping[str, float]) -> Layer:
    """A layer with some of the faults in it, each in that measure (1 is the whole fault)."""

    def layer(s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        found = base = right(s, v)
        for name, weight in weights.items():
            own = LAYERS[name](s, v)
            found = tuple(f + weight * (o - b) for f, o, b in zip(found, own, base, strict=True))
        return found[0], found[1]

    return layer


class Replay:
    """A layer that stands elsewhere, where a check runs: find out which symmetries it breaks.

    `said` has what it answered so far, as (s, v, new s, new v). Inputs of which it has yet to speak are kept
    in `missing`; until then they come back as they went in.
    """

    def __init__(self, said: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
        self.answers = {self._key(s, v): (new_s, new_v) for s, v, new_s, new_v in said}
        self.missing: list[tuple[Tensor, Tensor]] = []

    def __call__(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        s, v = s.detach().clone(), v.detach().clone()
        if self._key(s, v) not in self.answers:
            self.answers[self._key(s, v)] = s, v
            self.missing.append((s, v))
        new_s, new_v = self.answers[self._key(s, v)]
        return new_s.clone(), new_v.clone()

    def _key(self, s: Tensor, v: Tensor) -> tuple[bytes, ...]:
        return tuple(x.double().contiguous().numpy().tobytes() for x in (s, v))
