"""Which architecture for which problem: slides 45 and 46 as one function that gives its reasons.

    for choice in choose(800, "energy", forces=True):
        print(choice.name, choice.reason, choice.slides)

Slide 45 has two lists, by data regime and by target, and does not say which comes first. Here what stands in
both lists ranks first, then what only the target's list has, then what only the regime's list has and can
still give the target: a network with a cutoff gives nothing of long range (slide 41), and hundreds of
structures make no potential for the whole periodic table. Up to ten thousand structures descriptors follow,
which slide 46 calls competitive. Above its crossover equivariant networks come last.

Read in order: `Choice`, `REGIMES` and `TARGETS` (the slide, leaf by leaf), `choose`.
What to distrust: the limits are the deck's powers of ten, not measurements. Slide 47 calls a choice of
architecture a hypothesis to test.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import NamedTuple

FEW, MANY, CROSSOVER, MOST = 100, 10_000, 100_000, 10_000_000  # structures (slides 45, 46)
FOREST, LINEAR, MLP = "Magpie + random forest", "Magpie + linear", "Magpie + MLP"
DESCRIPTORS = (FOREST, MLP)
TUNED, SCRATCH = "fine-tuned foundation model", "foundation model from scratch"
EQUIVARIANT = ("NequIP", "MACE", "Allegro")
PRETRAINED = ("M3GNet", "CHGNet", "MACE-MP-0", "OMat24")


@dataclass(frozen=True)
class Choice:
    """One architecture, the deck's reasons for it, and the slides that they stand on (slides 45, 46).

    module: where this package has it, None where it does not.
    """

    name: str
    reason: str
    slides: tuple[int, ...]
    module: str | None


class Leaf(NamedTuple):
    """A line of slide 45: what it recommends, best first, and why (slide 45)."""

    names: tuple[str, ...]
    reason: str


REGIMES = {  # by data regime: the leaf from this number of structures on
    1: Leaf((FOREST, LINEAR), "tens of structures: do not train a deep model"),
    FEW: Leaf((TUNED, *EQUIVARIANT), "hundreds to thousands: equivariant, or a fine-tuned foundation model"),
    MANY: Leaf((TUNED, "ALIGNN", "M3GNet", "Matformer"), "tens of thousands to millions of structures"),
    MOST: Leaf((SCRATCH,), "tens of millions: pretraining itself, rarely justified at a university"),
}
TARGETS = {  # by target type
    "composition": Leaf(DESCRIPTORS, "the property depends on the composition only"),
    "scalar": Leaf(("CGCNN", "MEGNet", "ALIGNN"), "a scalar that depends on the structure"),
    "energy and forces": Leaf(EQUIVARIANT, "energy and forces from little data"),
    "universal potential": Leaf(PRETRAINED, "a potential for the whole periodic table"),
    "long range": Leaf(("Matformer", TUNED), "long-range or global: beyond a cutoff"),
}
CALLED = {"formation energy": "scalar", "band gap": "scalar", "energy": "scalar"}
POTENTIALS = {*EQUIVARIANT, *PRETRAINED, TUNED, SCRATCH}  # what gives forces
MODULES = {FOREST: "b_ladder", LINEAR: "b_ladder", MLP: "b_ladder", TUNED: "g_foundation"} | {
    "CGCNN": "d_cgcnn",
    "MEGNet": "e_megnet",
    "ALIGNN": "e_alignn",
    "M3GNet": "e_m3gnet",
    "NequIP": "f_nequip",
    "Allegro": "f_allegro",
    "MACE": "f_mace",
    "Matformer": "g_matformer",
    "MACE-MP-0": "pretrained.mace",
    "CHGNet": "pretrained.adapters",
}


def choose(
    n_structures: int, target: str, *, forces: bool = False, latency: str = "any", stress: bool = False
) -> list[Choice]:
    """Architectures for a problem, the best first, each with the deck's reason (slides 45, 46).

    n_structures: that have labels; target: "composition", "scalar" ("formation energy", "band gap"),
    "energy", "universal potential" or "long range"; forces, stress: wanted, too; latency: "any", or "minimal"
    where each prediction must be fast, which rules equivariant networks out.
    Errors: ValueError in one line, for what no problem can be.
    """
    n = _checked(n_structures, target, forces, latency, stress)
    name = "energy and forces" if target == "energy" and forces else CALLED.get(target, target)
    wanted, regime = TARGETS[name], REGIMES[max(limit for limit in REGIMES if limit <= n)]
    potential = forces or name == "universal potential"
    pool = dict.fromkeys((*regime.names, *wanted.names))
    if name == "composition":
        pool = dict.fromkeys(wanted.names if n >= FEW else (FOREST, LINEAR))
    elif n < FEW:  # nothing is trained: descriptors, or a pretrained potential as it is
        pool = dict.fromkeys(PRETRAINED if potential else regime.names)
    elif name in ("long range", "universal potential"):  # the regime's other networks cannot give it
        pool = {one: None for one in pool if one in (*wanted.names, TUNED, SCRATCH)}
    elif not potential and n < MANY:
        pool |= dict.fromkeys(DESCRIPTORS)
    if potential:
        pool = {one: None for one in pool if one in POTENTIALS} | (
            {"M3GNet": None} if latency != "any" and name != "long range" else {}
        )
    if latency == "minimal":
        pool = {one: None for one in pool if one not in (*EQUIVARIANT, "MACE-MP-0")}

    def rank(one: str) -> tuple[bool, int]:
        serves = one in wanted.names or one in (TUNED, SCRATCH)
        last = one in EQUIVARIANT and n >= CROSSOVER
        return last, 2 * (not serves) + (one not in regime.names)

    ranked = sorted(pool, key=rank)
    return [_choice(one, n, wanted, regime, latency=latency, forces=forces, stress=stress) for one in ranked]


def _choice(
    name: str, n: int, wanted: Leaf, regime: Leaf, *, latency: str, forces: bool, stress: bool
) -> Choice:
    """The reasons that hold for one architecture."""
    said: list[tuple[str, int]] = [(leaf.reason, 45) for leaf in (wanted, regime) if name in leaf.names]
    if not said and n < FEW:
        said.append(("pretrained, and used as it is", 45))
    elif not said and name == "M3GNet":  # of slide 45's list of potentials, and fast
        said += [("a universal potential", 45), ("invariant, with forces by autograd", 39)]
    if n < CROSSOVER and name == TUNED:
        said.append(("fine-tuning often beats equivariant networks and descriptors", 46))
    elif n < CROSSOVER and name in EQUIVARIANT:
        said.append(("below the crossover of 1e5 symmetry is the cheapest bias", 46))
    elif name in EQUIVARIANT:
        said.append(("above the crossover of 1e5 scale tells more than symmetry", 46))
    elif n >= CROSSOVER and name in (TUNED, SCRATCH, "Matformer"):
        said.append(("above the crossover pretraining and attention come into their own", 46))
    elif n >= CROSSOVER and name == "M3GNet":
        said.append(("above the crossover an invariant network and scale", 39))
    elif n < CROSSOVER and name in (FOREST, LINEAR, MLP):
        said.append(("with little data descriptors are competitive", 46))
    if latency == "minimal" and name in (TUNED, SCRATCH):
        said.append(("with an invariant backbone, since latency must be minimal", 39))
    elif latency == "minimal" and name in POTENTIALS:
        said.append(("invariance is enough where latency must be minimal", 39))
    if forces or stress:
        said.append((f"forces{' and stress' if stress else ''} are slopes of one energy", 31))
    return Choice(
        name, "; ".join(reason for reason, _ in said), tuple(sorted({k for _, k in said})), MODULES.get(name)
    )


def _checked(n_structures: int, target: str, forces: bool, latency: str, stress: bool) -> int:
    """The number of structures, if the question makes sense."""
    try:
        n = 0 if isinstance(n_structures, bool) else operator.index(n_structures)
    except TypeError:
        n = 0
    known = [*TARGETS, *CALLED]
    if n < 1:
        raise ValueError(
            f"n_structures is {n_structures!r}; give a whole number of labelled structures, 1 or more"
        )
    if target not in known:
        raise ValueError(f"no target {target!r} on slide 45; there are: {', '.join(known)}")
    if latency not in ("any", "minimal"):
        raise ValueError(f"latency is {latency!r}; it is 'any' or 'minimal'")
    if target == "energy and forces" and not forces:
        raise ValueError(
            "the target is energy and forces, but forces=False; ask for 'energy', or set forces=True"
        )
    if stress and not (forces or target == "universal potential"):
        raise ValueError(
            "stress is a slope of the same energy as the forces (slide 31): set forces=True, too"
        )
    if forces and CALLED.get(target, target) in ("composition", "scalar") and target != "energy":
        raise ValueError(f"{target!r} has no forces: they are slopes of an energy; ask for 'energy'")
    return n
