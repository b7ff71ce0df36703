"""Hidden checks of the assignment "choosing": the scenarios that the visible check leaves out, and the
visible statements again on problems, groups and leaderboards drawn from the seed. Students' installations do
not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mg9.checks import Local, board, choosing, register
from mg9.checks.choosing import Problem

# The scenarios of the notebook that the visible check leaves out.
SCENARIOS = {
    "E": Problem(300_000, "energy", forces=True, latency="minimal", checkpoint=False),
    "F": Problem(25, "formation energy", checkpoint=False),
    "G": Problem(12_000, "long range", checkpoint=False),
    "H": Problem(5_000, "band gap", forces=True),
}
TARGETS = ("composition", "formation energy", "band gap", "energy", "universal potential", "long range")


@register("hidden.choosing.scenarios", slide=45, outcome=7, cause="by the data first, then by the target")
def scenarios(student: Local, rng: np.random.Generator, given: Any) -> str:
    choosing.holds_scenarios(given, SCENARIOS)
    return "the other scenarios"


@register(
    "hidden.choosing.tree",
    slide=45,
    outcome=7,
    cause="a limit that is off, or a line of the slide that the visible problems did not need",
)
def tree(student: Local, rng: np.random.Generator, function: Callable) -> str:
    problems = []
    for target in TARGETS:
        for low, high in ((1, 2), (2, 4), (4, 5), (5, 7), (7, 8)):
            for checkpoint in (True, False):
                n = int(10 ** rng.uniform(low + 0.05, high - 0.05))
                forces = target == "energy" and bool(rng.integers(2))
                latency = str(rng.choice(["any", "minimal"]))
                problems.append(Problem(n, target, forces, latency, checkpoint))
    problems.append(Problem(500, "formation energy", True))
    choosing.holds_tree(student, function, problems)
    return f"{len(problems)} random problems"


@register(
    "hidden.choosing.board",
    slide=47,
    outcome=7,
    cause="a step that holds for three seeds, for sorted groups, or for the models of the notebook",
)
def reading(
    student: Local, rng: np.random.Generator, effective: Callable, degraded: Callable, claims: Callable
) -> str:
    for _ in range(3):
        groups = [str(name) for name in rng.choice(list("ONFS"), size=int(rng.integers(5, 30)))]
        board.holds_effective(student, effective, groups, float(rng.uniform(0.05, 0.95)))
        drawn = random_board(rng)
        board.holds_degraded(student, degraded, drawn)
        board.holds_claims(student, claims, drawn)
    return "three random test parts and leaderboards"


def random_board(rng: np.random.Generator) -> board.Board:
    """Five models, two to five seeds each."""
    found: board.Board = {}
    for name in rng.permutation(["ridge", "forest", "network", "potential", "guess"]):
        seeds = {}
        for split in ("random", "held out"):
            level, spread = rng.uniform(0.1, 1.0), rng.uniform(0.01, 0.2)
            draws = level + spread * rng.uniform(size=int(rng.integers(2, 6)))
            seeds[split] = [round(float(x), 3) for x in draws]
        found[str(name)] = seeds
    return found
