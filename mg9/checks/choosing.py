"""Checks of a choice: which kind of model for which problem, in scenarios and as a function (slides 43, 45,
46).

What is right is what `mg9.h_choose` has for a problem, as kinds of models; where the deck recommends several,
each of them is. A wrong choice is told why it is wrong, not what is right. `holds_tree` and `holds_scenarios`
are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mg9.checks import CheckFailed, Local, WrongKind, register

DESCRIPTORS, INVARIANT, EQUIVARIANT = "descriptors", "invariant network", "equivariant network"
ATTENTION, TUNED, AS_IT_IS = "attention", "fine-tuned foundation model", "foundation model as it is"
SCRATCH, REFUSE = "foundation model from scratch", "refuse"
KINDS = (DESCRIPTORS, INVARIANT, EQUIVARIANT, ATTENTION, TUNED, AS_IT_IS, SCRATCH, REFUSE)
TRAINED = (INVARIANT, EQUIVARIANT, ATTENTION, TUNED, SCRATCH)
CROSSOVER = 100_000  # structures (slide 46)


class Problem(NamedTuple):
    """What `recommend` is given, in its order; checkpoint: is there a pretrained model of this chemistry."""

    n_structures: int
    target: str
    forces: bool = False
    latency: str = "any"
    checkpoint: bool = True

    def __str__(self) -> str:
        more = [f"{self.n_structures:,} structures, {self.target}", "with forces" * self.forces]
        more += ["minimal latency" * (self.latency == "minimal"), "no checkpoint" * (not self.checkpoint)]
        return ", ".join(filter(None, more))


# The scenarios of the notebook that are judged here; the hidden check has the others.
LETTERS = "ABCDEFGH"
SCENARIOS = {
    "A": Problem(60, "composition"),
    "B": Problem(1_500, "energy", forces=True, checkpoint=False),
    "C": Problem(40_000, "band gap", checkpoint=False),
    "D": Problem(20, "universal potential"),
}


def allowed(problem: Problem) -> set[str]:
    """The kinds of models that the deck has for a problem."""
    from mg9 import h_choose

    n, target, forces, latency, checkpoint = problem
    try:
        names = {one.name for one in h_choose.choose(n, target, forces=forces, latency=latency)}
    except ValueError:
        return {REFUSE}
    if n >= CROSSOVER:
        names -= set(h_choose.EQUIVARIANT)
    ready = target == "universal potential" or n < 100
    kinds = {_kind(name, ready) for name in names}
    return (kinds if checkpoint else kinds - {TUNED, AS_IT_IS}) or {REFUSE}


def _kind(name: str, ready: bool) -> str:
    from mg9 import h_choose

    if name in (h_choose.FOREST, h_choose.LINEAR, h_choose.MLP):
        return DESCRIPTORS
    if name in h_choose.PRETRAINED and (ready or name != "M3GNet"):
        return AS_IT_IS
    own = {h_choose.TUNED: TUNED, h_choose.SCRATCH: SCRATCH, "Matformer": ATTENTION}
    return own.get(name, EQUIVARIANT if name in h_choose.EQUIVARIANT else INVARIANT)


def why_not(kind: str, problem: Problem) -> tuple[str, str]:
    """(what is wrong with a kind of model for a problem, what to read)."""
    n, target, forces, latency, checkpoint = problem
    right, potential = allowed(problem), forces or target == "universal potential"
    if kind == REFUSE:
        return "this can be answered", "slide 45 has a line for it"
    if right == {REFUSE} and (n < 1 or checkpoint):
        return (
            "no model answers this question",
            "forces are slopes of an energy (slide 31); a model needs data",
        )
    if not checkpoint and kind in (TUNED, AS_IT_IS):
        return "there is no pretrained model of this chemistry", "slide 43: from scratch only if none exists"
    if target == "composition":
        return "no structure is known, only the composition", "a graph needs positions (slides 05, 45)"
    if potential and kind in (DESCRIPTORS, ATTENTION):
        return f"{kind} gives no forces", "slide 45 has its own lines for potentials"
    if n < 100 and kind in TRAINED:
        return f"{n} structures are too few to train anything deep", "slide 45, tens of structures"
    if kind == SCRATCH:
        return f"{n:,} structures do not pretrain a foundation model", "slide 45: tens of millions"
    if right == {REFUSE}:
        return "nothing on slide 45 answers this: more data, or another question", "count the structures"
    if kind == EQUIVARIANT and latency == "minimal":
        return "latency must be minimal, and tensor products of irreps are dear", "slide 39"
    if kind == EQUIVARIANT and n >= CROSSOVER:
        return "above some 10^5 structures scale tells more than symmetry", "slides 39, 46: the crossover"
    if kind == INVARIANT and potential:
        return f"{n:,} frames: with so few, forces want symmetry as a bias", "slides 39, 45, 46"
    if target == "long range":
        return "it sees no further than a cutoff, or no structure", "slide 45: long-range, global"
    if kind == ATTENTION:
        return f"{n:,} structures: attention has few biases and wants more data", "slides 45, 46"
    if kind == DESCRIPTORS:
        return "structures are there, and enough to learn from: polymorphs would have one value", "slide 07"
    if kind == TUNED:
        return f"{n:,} structures are more than fine-tuning is for", "slide 45, tens of millions"
    if kind == AS_IT_IS:
        return "it was not made for this target, and your labels would lie idle", "slides 43, 45"
    return "it stands in neither list of slide 45 for this", "slide 45, by data and by target"


def holds_choice(kind: Any, problem: Problem, where: str) -> None:
    """One choice against the deck's."""
    if not isinstance(kind, str) or kind not in KINDS:
        found = "None: is the return statement missing?" if kind is None else kind
        raise WrongKind("no kind of model of the list", crystal=where, expected=", ".join(KINDS), got=found)
    if kind not in allowed(problem):
        what, read = why_not(kind, problem)
        raise CheckFailed(what, crystal=where, cause=read, expected="another kind of model", got=kind)


def holds_scenarios(given: Any, scenarios: Mapping[str, Problem]) -> None:
    """The choices for some of the scenarios."""
    if not isinstance(given, dict) or set(given) != set(LETTERS):
        names = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise WrongKind("a dict from scenario to kind of model is wanted", expected=list(LETTERS), got=names)
    for letter, problem in scenarios.items():
        holds_choice(given[letter], problem, f"scenario {letter}")


@register("choosing.scenarios", slide=45, outcome=7, cause="by the data first, then by the target")
def scenarios(student: Local, rng: np.random.Generator, given: Any) -> str:
    holds_scenarios(given, SCENARIOS)
    return f"scenarios {', '.join(SCENARIOS)}; the others are looked at when you hand in"


def holds_tree(student: Local, function: Callable, problems: Sequence[Problem]) -> None:
    """The student's tree, problem by problem."""
    for problem in problems:
        holds_choice(student.call(function, *problem), problem, str(problem))


@register(
    "choosing.tree",
    slide=45,
    outcome=7,
    cause="what makes no sense first, then the composition, tens of structures, and the target by regime",
)
def tree(student: Local, rng: np.random.Generator, function: Callable) -> str:
    problems = [
        *(Problem(n, "composition") for n in (30, 3_000)),
        *(Problem(n, "band gap", checkpoint=False) for n in (99, 100, 9_999, 50_000)),
        *(Problem(n, "energy", True, checkpoint=False) for n in (500, 20_000, 200_000, 20_000_000)),
        *(Problem(n, "energy", True, "minimal", False) for n in (500, 200_000)),
        *(Problem(n, "universal potential") for n in (5, 5_000)),
        *(Problem(n, "long range", checkpoint=False) for n in (40, 20_000)),
        *(Problem(n, "energy", True) for n in (50, 1_000)),
        *(Problem(0, "band gap"), Problem(800, "band gap", True), Problem(800, "composition", True)),
        Problem(50, "energy", True, checkpoint=False),
    ]
    holds_tree(student, function, problems)
    return f"{len(problems)} problems, from 0 to 20 million structures"
