"""A student's test of layers that it is not shown, held to its verdicts (slides 36, 41).

A layer under test stands here, where the check runs; the student's harness gets a `replay.Replay`, and runs
again with the answers until nothing is missing. So a verdict comes from asking. Which layers there are, and
what they break, is known to the assignment's own checks alone.

Read in order: `Faults`, `verdict_on`, `holds_verdict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mg9.checks import CheckFailed, Local, WrongKind

ROUNDS = 10  # runs of the harness


@dataclass(frozen=True)
class Faults:
    """breaks: fault -> the tests that it fails; hints: fault -> how to catch it; false: test -> what a false
    alarm may come from. The names of the tests are those of `false`."""

    breaks: Mapping[str, tuple[str, ...]]
    hints: Mapping[str, str]
    false: Mapping[str, str]


def verdict_on(
    student: Local, harness: Callable, answer: Callable[[Any], tuple], seed: int, most: int
) -> Any:
    """What the harness says of a layer; answer: what was asked -> inputs and outputs; most: questions."""
    said: list[tuple] = []
    for _ in range(ROUNDS):
        told = student.call(harness, list(said), seed)
        if not isinstance(told, tuple | list) or len(told) != 2 or not isinstance(told[1], list):
            raise WrongKind("the verdict and a list of inputs are wanted", got=type(told).__name__)
        verdict, missing = told
        if not missing:
            return verdict
        if len(said) + len(missing) > most:
            raise CheckFailed(f"it asks more than {most} questions: is there a loop in it?")
        said += [answer(asked) for asked in missing]
    raise CheckFailed("with one seed it asks something else each time: draw everything from rng")


def holds_verdict(got: Any, present: Iterable[str], known: Faults, number: int) -> None:
    """The failed tests of suspect `number`, in which these faults are present."""
    present = list(present)
    wanted = {test for fault in present for test in known.breaks[fault]}
    if not isinstance(got, list | tuple) or not all(isinstance(name, str) for name in got):
        found = "None: is the return statement missing?" if got is None else got
        raise WrongKind("a list of names of tests is wanted", expected=sorted(wanted), got=found)
    if unknown := sorted(set(got) - set(known.false)):
        what, tests = f"there is no test {unknown[0]!r}", ", ".join(known.false)
        raise CheckFailed(what, expected=f"some of {tests}", got=unknown[0])
    if set(got) == wanted:
        return
    missed, false = sorted(wanted - set(got)), sorted(set(got) - wanted)
    hints = [known.hints[fault] for fault in present if missed and missed[0] in known.breaks[fault]]
    raise CheckFailed(
        f"{missed[0]!r} is missed" if missed else f"a false alarm: {false[0]!r}",
        crystal=f"suspect {number} ({', '.join(present) or 'a right layer'})",
        expected=sorted(wanted),
        got=sorted(set(got)),
        cause="; ".join(hints) if missed else known.false[false[0]],
    )
