"""The checks of a whole set of tests, on models that it is not shown (slide 08).

A model under test stands here, where the check runs. The student's harness gets a `faulty.Replay`: it repeats
what the model said of crystals, and lists those of which it has yet to speak. The harness runs again with the
answers, until nothing is missing. So a verdict comes from asking; there is no name or number to look up.

Read in order: `verdict_on` (the rounds), `a_crystal` (what may be asked), `holds_verdict`, the checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mg9.checks import CheckFailed, Local, WrongKind, faulty, register

SYMMETRIES = ("permute", "rotate", "reflect", "translate", "wrap", "other_cell", "supercell")
TESTS = (*SYMMETRIES, "stretch")
ROUNDS, MOST = 20, 20_000  # runs of the harness, and atoms of all the crystals that it asks about

# Which tests each model fails; tests/test_checks_symmetry.py finds the same by running.
BREAKS: dict[str, tuple[str, ...]] = {
    "right": (),
    "total": (),
    "raw_coordinates": ("rotate", "reflect", "translate", "wrap", "supercell"),
    "forgotten_images": ("wrap", "supercell"),
    "order_of_the_atoms": ("permute",),
    "sum_for_mean": ("supercell",),
    "mean_for_sum": ("supercell",),
    "handedness": ("reflect",),
    "lattice_vectors": ("other_cell", "supercell"),
    "cut_shells": ("rotate", "reflect"),
    "constant": ("stretch",),
}
CAUSE = (
    "each test on every crystal, with five random draws at least; broken means `differs`, stretch the reverse"
)


def verdict_on(
    student: Local, harness: Callable, energy: faulty.Energy, seed: int, extensive: bool = False
) -> Any:
    """What the harness says of `energy`, which it does not see."""
    said: list[tuple] = []
    atoms = 0
    for _ in range(ROUNDS):
        answer = student.call(harness, list(said), seed, extensive)
        if not isinstance(answer, tuple | list) or len(answer) != 2 or not isinstance(answer[1], list):
            raise WrongKind("the verdict and a list of crystals are wanted", got=type(answer).__name__)
        verdict, missing = answer
        if not missing:
            return verdict
        crystals = [a_crystal(asked) for asked in missing]
        atoms += sum(len(z) for z, _, _ in crystals)
        if atoms > MOST:
            raise CheckFailed(f"it asks about more than {MOST:,} atoms: is there a loop in it?")
        said += [(*crystal, energy(*crystal)) for crystal in crystals]
    raise CheckFailed("with one seed it asks about other crystals each time: draw everything from rng")


def a_crystal(asked: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, pos and cell, if a neighbour list of them is a small matter; otherwise `CheckFailed`."""
    kinds = isinstance(asked, tuple | list) and [type(part) for part in asked] == [np.ndarray] * 3
    if not kinds or not all(part.dtype.kind in "if" for part in asked):
        raise WrongKind("a model is asked about three arrays: z, pos, cell")
    z, pos, cell = asked[0], asked[1].astype(float), asked[2].astype(float)
    shapes = z.ndim == 1 and 1 <= len(z) <= 500 and pos.shape == (len(z), 3) and cell.shape == (3, 3)
    if not shapes or not np.isfinite(pos).all() or not np.isfinite(cell).all():
        raise CheckFailed("a model is asked about no crystal: z (N,), pos (N, 3), cell (3, 3)")
    volume = abs(np.linalg.det(cell))
    lengths = np.linalg.norm(cell, axis=1)
    flat = lengths.max() > 200 or volume < 3 * len(z) or volume / lengths.prod() < 1e-3
    if flat or np.abs(pos).max() > 1e4 or z.min() < 1 or z.max() > 100 or (z != z.astype(int)).any():
        raise CheckFailed("a model is asked about a crystal that cannot be: flat, or of atoms in no space")
    return z.astype(int), pos, cell


def holds_suspects(
    student: Local, harness: Callable, suspects: Sequence[dict[str, float]], seed: int
) -> None:
    """The names of the broken symmetries, suspect by suspect; a suspect is fault -> how much of it."""
    for number, weights in enumerate(suspects, start=1):
        wanted = {test for fault in weights for test in BREAKS[fault]}
        about = f"suspect {number} ({', '.join(weights) or 'a right model'})"
        holds_verdict(verdict_on(student, harness, faulty.mixture(weights), seed), wanted, about)


def holds_verdict(got: object, wanted: set[str], about: str) -> None:
    """The names of the tests that a model fails against the true ones."""
    if not isinstance(got, list | tuple | set) or not all(isinstance(name, str) for name in got):
        raise CheckFailed("a list of names of tests is wanted", expected=sorted(wanted), got=got)
    if unknown := sorted(set(got) - set(TESTS)):
        raise CheckFailed(
            f"there is no test {unknown[0]!r}", expected=f"some of {', '.join(TESTS)}", got=unknown[0]
        )
    if missed := sorted(wanted - set(got)):
        what = f"{missed[0]!r} is missed: it changes this model's energy on one of the crystals"
        if missed == ["stretch"]:
            what = "'stretch' is missed: this model does not notice that the crystal was stretched"
        raise CheckFailed(what, crystal=about, expected=sorted(wanted), got=sorted(set(got)))
    if false := sorted(set(got) - wanted):
        what = f"a false alarm: {false[0]!r} does not change this model's energy"
        if false == ["stretch"]:
            what = "a false alarm: this model does notice a stretched crystal"
        raise CheckFailed(what, crystal=about, expected=sorted(wanted), got=sorted(set(got)))


@register("symmetry.suspects", slide=8, outcome=1, cause=CAUSE)
def suspects(student: Local, rng: np.random.Generator, harness: Callable) -> str:
    alone = ("order_of_the_atoms", "cut_shells", "handedness", "lattice_vectors")
    holds_suspects(student, harness, [{}, *({fault: 1.0} for fault in alone)], seed=0)
    return f"the right verdict on {1 + len(alone)} suspects"


@register("symmetry.table", slide=8, outcome=1, cause=CAUSE)
def table(student: Local, rng: np.random.Generator, broken: Any, harness: Callable) -> str:
    if not isinstance(broken, dict) or set(broken) != set(BREAKS):
        found = sorted(map(str, broken)) if isinstance(broken, dict) else type(broken).__name__
        raise CheckFailed(
            "a dict from model to broken symmetries is wanted", expected=sorted(BREAKS), got=found
        )
    for model, tests in BREAKS.items():
        holds_verdict(broken[model], set(tests), model)
    for model in ("constant", str(rng.choice(faulty.TOTAL)), str(rng.choice(list(BREAKS)))):
        got = verdict_on(student, harness, faulty.MODELS[model], 0, model in faulty.TOTAL)
        holds_verdict(got, set(BREAKS[model]), f"your harness on {model}, which the table has right")
    return f"{len(BREAKS)} models, each with the symmetries that it breaks"
