"""Hidden checks of the assignment "symmetry": the visible statements again, on crystals, rotations, matrices
and suspects drawn from the seed. Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mg9.checks import Local, comparing, periodicity, register, suspects, symmetry
from mg9.checks.descriptions import drawn
from mg9.checks.faulty import MIXED


@register(
    "hidden.symmetry.random_rotation",
    slide=8,
    outcome=1,
    cause="a preferred direction, or seeds that do not count",
)
def random_rotation(student: Local, rng: np.random.Generator, function: Callable) -> str:
    return symmetry.holds_random_rotation(student, function, [int(s) for s in rng.integers(2**31, size=400)])


@register(
    "hidden.symmetry.motions", slide=8, outcome=1, cause="a step that holds for the known crystals only"
)
def motions(
    student: Local,
    rng: np.random.Generator,
    permute: Callable,
    rotate: Callable,
    reflect: Callable,
    translate: Callable,
) -> str:
    crystals = drawn(rng)
    symmetry.holds_permute(student, rng, permute, crystals)
    symmetry.holds_rotate(student, rng, rotate, crystals)
    symmetry.holds_reflect(student, rng, reflect, crystals)
    symmetry.holds_translate(student, rng, translate, crystals)
    return f"four motions of {len(crystals)} random crystals"


@register(
    "hidden.symmetry.periodic", slide=11, outcome=1, cause="a step that holds for the known crystals only"
)
def periodic(
    student: Local, rng: np.random.Generator, wrap: Callable, other_cell: Callable, supercell: Callable
) -> str:
    crystals = drawn(rng)
    periodicity.holds_wrap(student, rng, wrap, crystals)
    periodicity.holds_other_cell(student, rng, other_cell, crystals)
    periodicity.holds_supercell(student, rng, supercell, crystals)
    return f"three other descriptions of {len(crystals)} random crystals"


@register(
    "hidden.symmetry.turn", slide=9, outcome=1, cause="R T R.T for tensors, v @ R.T for rows of vectors"
)
def turn(student: Local, rng: np.random.Generator, function: Callable) -> str:
    comparing.holds_turn(student, rng, function, drawn(rng))
    return "forces and virials of three random crystals"


@register("hidden.symmetry.suspects", slide=8, outcome=1, cause=suspects.CAUSE)
def verdicts(student: Local, rng: np.random.Generator, verdict: Callable) -> str:
    kinds = [rng.choice(MIXED, size=size, replace=False) for size in (1, *rng.integers(0, 3, size=3))]
    drawn = [{str(fault): float(rng.uniform(0.5, 2.0)) for fault in sorted(kind)} for kind in kinds]
    suspects.holds_suspects(student, verdict, drawn, seed=int(rng.integers(2**31)))
    return f"the right verdict on {len(drawn)} random suspects"
