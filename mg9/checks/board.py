"""Checks of how a leaderboard is read: splits that fit a claim, what a test part is worth, what falls when
chemistry is held out (slide 47).

A board is {model: {"random": [MAE, one a seed], "held out": [MAE, one a seed]}} in eV/atom. The functions
`holds_...` are the part that hidden checks repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mg9.checks import CheckFailed, Local, WrongKind, register

# What somebody wants to do -> (the split that says how well it will go, what another split would leave out).
USES = {
    "gaps": ("random", "a row is missing here and there, and its neighbours are known: nothing is new"),
    "stoichiometries": ("composition", "the elements are known, no formula of them comes back"),
    "nitrides": (
        "chemistry family",
        "a whole class of compounds is new; polymorphs or formulas are not enough",
    ),
    "structure type": ("prototype", "the elements are known, their arrangement is not"),
    "anywhere": ("cluster", "each region of materials space is left out in turn, and the worst one counts"),
    "next year": ("time", "what people calculate next is no sample of what they calculated"),
}
SPLITS = tuple(split for split, _ in USES.values())
Board = dict[str, dict[str, list[float]]]

BOARD: Board = {
    "tree": {"random": [0.10, 0.12, 0.135], "held out": [0.52, 0.50, 0.56]},
    "line": {"random": [0.30, 0.28, 0.31], "held out": [0.42, 0.44, 0.43]},
    "graph": {"random": [0.13, 0.14, 0.15], "held out": [0.40, 0.55, 0.47]},
    "mean": {"random": [0.90, 0.88, 0.91], "held out": [1.50, 1.52, 1.48]},
}


@register(
    "choosing.splits", slide=47, outcome=7, cause="ask what will be new on the day when the model is used"
)
def splits(student: Local, rng: np.random.Generator, given: Any) -> str:
    if not isinstance(given, dict) or set(given) != set(USES):
        names = sorted(map(str, given)) if isinstance(given, dict) else type(given).__name__
        raise WrongKind("a dict from use to split is wanted", expected=sorted(USES), got=names)
    for use, (split, why) in USES.items():
        if given[use] not in SPLITS:
            raise WrongKind(f"{use}: no split of that name", expected=", ".join(SPLITS), got=given[use])
        if given[use] != split:
            raise CheckFailed(why, crystal=use, expected="another split", got=given[use])
    return f"{len(USES)} uses, each with the split that imitates it"


@register(
    "choosing.effective",
    slide=47,
    outcome=7,
    cause="n / (1 + rho (sum of n_g^2 / n - 1)), with n_g the rows of each group",
)
def effective(student: Local, rng: np.random.Generator, function: Callable) -> str:
    for groups in (["o"] * 6 + ["n"] * 2 + ["f"], list("babcab"), list("abcd"), ["a"] * 5):
        for rho in (0.3, 0.0, 1.0):
            holds_effective(student, function, groups, rho)
    return "n rows that err on their own are n; one group that errs as one is a single look"


def holds_effective(student: Local, function: Callable, groups: Sequence[str], rho: float) -> None:
    """The number, and the usual mistakes."""
    count = np.unique(groups, return_counts=True)[1].astype(float)
    n, squares = count.sum(), (count**2).sum()
    wanted = n / (1 + rho * (squares / n - 1))
    got = number(student.call(function, list(groups), rho), "the effective size")
    where = f"groups of {', '.join(f'{c:.0f}' for c in count)} rows, rho = {rho}"
    mean = n / len(count)
    for what, wrong in {
        "rows are counted, whatever group they are in": n,
        "groups are counted; a group of rows that err on their own is worth more than one": len(count),
        "this takes all groups to be equally large: the large ones count by their squares": n
        / (1 + rho * (mean - 1)),
        "rho is not in it: it is 1 only where a group errs as one": n * n / squares,
        "a row does not repeat itself: take n_g - 1 others, so sum of n_g^2 / n, minus 1": n
        / (1 + rho * squares / n),
        "this is how many rows one independent row costs, the inverse": n / wanted,
    }.items():
        if abs(got - wrong) < 1e-9 * max(1, wrong) and abs(wrong - wanted) > 1e-9:
            raise CheckFailed(what, crystal=where, expected=f"{wanted:.4g}", got=f"{got:.4g}")
    if not abs(got - wanted) <= 1e-6 * wanted:
        raise CheckFailed("another number of rows", crystal=where, expected=f"{wanted:.4g}", got=f"{got:.4g}")


def number(value: Any, what: str) -> float:
    """One finite number; otherwise `WrongKind`."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and np.size(value) == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise WrongKind(f"{what} is one number", got="None" if value is None else value)
    return float(value)


@register(
    "choosing.degraded",
    slide=47,
    outcome=7,
    cause="the mean of the held-out errors over the mean of the random ones, model by model",
)
def degraded(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_degraded(student, function, BOARD)
    factors = {name: np.mean(e["held out"]) / np.mean(e["random"]) for name, e in BOARD.items()}
    return f"the line gets {factors['line']:.1f} times worse, the tree {factors['tree']:.1f} times"


def holds_degraded(student: Local, function: Callable, board: Board) -> None:
    """Factor by factor."""
    got = of_models(student.call(function, board), list(board), "a factor for each model")
    for name, errors in board.items():
        known, new = (np.mean(errors[split]) for split in ("random", "held out"))
        one = number(got[name], f"the factor of {name}")
        for what, wrong in {
            "this is known over new; how many times worse is it with chemistry held out": known / new,
            "this is a difference; slide 47 speaks of a factor": new - known,
            "one seed was taken; take the mean of all": errors["held out"][0] / errors["random"][0],
        }.items():
            if abs(one - wrong) < 1e-9 and abs(wrong - new / known) > 1e-9:
                raise CheckFailed(what, crystal=name, expected=f"{new / known:.3f}", got=f"{one:.3f}")
        if not abs(one - new / known) < 1e-6:
            raise CheckFailed("another factor", crystal=name, expected=f"{new / known:.3f}", got=f"{one:.3f}")


def of_models(value: Any, names: list[str], what: str) -> dict[str, Any]:
    """The dictionary, if it has these keys."""
    if not isinstance(value, dict) or set(value) != set(names):
        found = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
        raise WrongKind(f"a dict with {what} is wanted", expected=sorted(names), got=found)
    return value


def truth(board: Board) -> dict[str, str]:
    """Claim -> verdict."""

    def wins(one: str, other: str, split: str) -> bool:
        return max(board[one][split]) < min(board[other][split])

    found = {}
    for a in board:
        for b in board:
            if wins(a, b, "random"):
                falls = "falls" if wins(b, a, "held out") else "open"
                found[f"{a} beats {b}"] = "holds" if wins(a, b, "held out") else falls
    return found


@register(
    "choosing.claims",
    slide=47,
    outcome=7,
    cause="a beats b where the worst seed of a is better than the best seed of b; look on random for the "
    "claim, on held out for its verdict",
)
def claims(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_claims(student, function, BOARD)
    same = {name: {"random": e["random"], "held out": e["random"]} for name, e in BOARD.items()}
    holds_claims(student, function, same)
    return "one claim falls, one stays open, and where nothing is held out all of them hold"


def holds_claims(student: Local, function: Callable, board: Board) -> None:
    """Which claims there are, and what becomes of them."""
    wanted, got = truth(board), student.call(function, board)
    if not isinstance(got, dict):
        raise WrongKind(
            "a dict from claim to verdict is wanted", expected=sorted(wanted), got=type(got).__name__
        )
    for claim in [*wanted, *map(str, got)]:
        a, _, b = claim.partition(" beats ")
        if claim not in got:
            raise CheckFailed("a claim is left out: every seed of the random split is for it", crystal=claim)
        if claim not in wanted:
            known = a in board and b in board and a != b
            what = "the seeds overlap or say the opposite" if known else "a claim is 'a beats b', two models"
            raise CheckFailed(f"no claim of the random split: {what}", crystal=claim)
        if got[claim] not in ("holds", "falls", "open"):
            raise WrongKind("a verdict is holds, falls or open", crystal=claim, got=got[claim])
        if got[claim] != wanted[claim]:
            seeds = f"{a} {board[a]['held out']}, {b} {board[b]['held out']}"
            raise CheckFailed(f"held out: {seeds}", crystal=claim, expected=wanted[claim], got=got[claim])
