"""Checks of what tests are made of besides transformations: comparing, turning vectors (slides 09, 22)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mg9 import b_symmetry
from mg9.checks import CheckFailed, Local, faulty, register
from mg9.checks.descriptions import Crystal, known
from mg9.checks.tools import expect_close, expect_tensor


@register(
    "symmetry.differs",
    slide=22,
    outcome=1,
    cause="broken unless |after - expected| <= tolerance, with expected = copies * before if extensive; "
    "a NaN is never <= anything",
)
def differs(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_differs(student, function, scale=1.5, copies=8)
    return "sees changes of either sign, in one number or in one of many, and is not fooled by NaN"


def holds_differs(student: Local, function: Callable, scale: float, copies: int) -> None:
    """The verdict on pairs of values."""
    array = scale * np.arange(1.0, 7.0).reshape(2, 3)
    one_off = array.copy()
    one_off[1, 1] -= 0.01
    nan = array.copy()
    nan[0, 1] = np.nan
    cases: list[tuple[str, Any, Any, int, bool, bool]] = [
        ("equal energies", scale, scale, 1, False, False),
        ("energies that differ by 1e-12 eV, rounding", scale, scale + 1e-12, 1, False, False),
        ("an energy that grew by 0.01 eV", scale, scale + 0.01, 1, False, True),
        ("an energy that fell by 0.01 eV", scale, scale - 0.01, 1, False, True),
        ("an energy that is NaN afterwards", scale, float("nan"), 1, False, True),
        ("an energy that is NaN both times", float("nan"), float("nan"), 1, False, True),
        (f"{copies} copies, the same energy per atom (intensive)", scale, scale, copies, False, False),
        (f"{copies} copies, {copies} times the energy per atom", scale, copies * scale, copies, False, True),
        (
            f"{copies} copies, {copies} times the total (extensive)",
            scale,
            copies * scale,
            copies,
            True,
            False,
        ),
        (f"{copies} copies, the same total energy", scale, scale, copies, True, True),
        ("equal forces", array, array.copy(), 1, False, False),
        ("forces of which one component changed", array, one_off, 1, False, True),
        ("forces of which one component is NaN", array, nan, 1, False, True),
    ]
    for what, before, after, n, extensive, wanted in cases:
        got = student.call(function, before, after, n, extensive)
        if isinstance(got, torch.Tensor | np.ndarray) and np.size(got) == 1:
            got = bool(got)
        if not isinstance(got, bool | np.bool_):
            found = "None: is the return statement missing?" if got is None else type(got).__name__
            raise CheckFailed("True or False is wanted", expected="one bool", got=found)
        if bool(got) != wanted:
            raise CheckFailed(
                f"{what}: {'a fault is missed' if wanted else 'a false alarm'}", expected=wanted, got=got
            )


@register(
    "symmetry.turn",
    slide=9,
    outcome=1,
    cause="scalars stay, vectors become R v (for rows v @ R.T), tensors become R T R.T",
)
def turn(student: Local, rng: np.random.Generator, function: Callable) -> str:
    kept, broken = holds_turn(student, rng, function, known(rng))
    return (
        f"turned forces agree to {kept:.0e} eV/Å; a network on their components is off by {broken:.2g} eV/Å"
    )


def holds_turn(
    student: Local, rng: np.random.Generator, function: Callable, crystals: Sequence[Crystal]
) -> tuple[float, float]:
    """Energy, forces and virial of a right model, turned, against those of the turned crystal."""
    kept, broken = 0.0, 0.0
    for reflects in (False, True):
        for c in crystals:
            r = b_symmetry.random_rotation(rng, reflect=reflects)
            how = f"{c.name}, {'reflected and ' * reflects}turned"
            before, after = (c.z, c.pos, c.cell), (c.z, c.pos @ r.T, c.cell @ r.T)
            _holds_scalar(student, function, faulty.right(*before), r, how)
            forces, virial = faulty.forces(*before), faulty.virial(*before)
            kept = max(kept, _holds(student, function, "vector", forces, faulty.forces(*after), r, how))
            _holds(student, function, "tensor", virial, faulty.virial(*after), r, how)
            network = faulty.forces_through_a_network
            turned = expect_tensor(
                student.call(function, network(*before), r, "vector"), forces.shape, "forces"
            )
            broken = max(broken, float(np.abs(turned.numpy() - network(*after)).max()))
    if broken < 1e-6:
        raise CheckFailed("this test cannot fail: forces that do not turn with the crystal pass it")
    return kept, broken


def _holds_scalar(student: Local, function: Callable, energy: float, r: np.ndarray, how: str) -> None:
    got = student.call(function, energy, r, "scalar")
    got = expect_tensor(np.asarray(got) if isinstance(got, float) else got, (), "the energy")
    expect_close(
        got, torch.tensor(energy, dtype=torch.float64), "energies do not turn", unit="eV", crystal=how
    )


def _holds(
    student: Local,
    function: Callable,
    kind: str,
    before: np.ndarray,
    after: np.ndarray,
    r: np.ndarray,
    how: str,
) -> float:
    got = expect_tensor(student.call(function, before, r, kind), before.shape, f"the turned {kind}").double()
    if kind == "vector":
        mistakes = {
            "forces turn with the crystal; here they stay": before,
            "turned the other way round: for rows, R v is v @ R.T": before @ r,
        }
    else:
        mistakes = {
            "a tensor turns with the crystal; here it stays": before,
            "one index of the tensor was turned; it has two": r @ before,
            "one index of the tensor was turned (the second); it has two": before @ r.T,
            "turned the other way round: a tensor becomes R T R.T": r.T @ before @ r,
        }
    for mistake, wrong in mistakes.items():
        if np.allclose(got.numpy(), wrong, atol=1e-7):
            raise CheckFailed(mistake, crystal=how)
    unit = {"vector": "eV/Å", "tensor": "eV"}[kind]
    return expect_close(got, torch.from_numpy(after), f"the turned {kind} is another", unit=unit, crystal=how)
