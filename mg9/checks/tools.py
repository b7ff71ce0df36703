"""What checks share: crystals as arrays, and comparisons that say what went wrong in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mg9.checks import CheckFailed, WrongKind

if TYPE_CHECKING:
    from pymatgen.core import Structure


KNOWN = ("mp-22865", "mp-5827", "mp-390", "mp-2133")  # CsCl, CaTiO3, anatase, wurtzite ZnO


@dataclass(frozen=True)
class Neighbors:
    """A crystal and all its neighbours within a cutoff, in float64: what a student's function is given.

    z (N,); pos (N, 3) Å; cell (3, 3) Å, rows are lattice vectors; edge_index (2, E) = [j, i]; shift (E, 3).
    """

    name: str
    z: Tensor
    pos: Tensor
    cell: Tensor
    edge_index: Tensor
    shift: Tensor
    distance: Tensor


def neighbors(structure: Structure, name: str, cutoff: float = 8.0) -> Neighbors:
    """The arrays of a structure, from `radius_graph`."""
    from mg9.a_crystal import radius_graph

    graph = radius_graph(structure, cutoff=cutoff, name=name, dtype=torch.float64)
    return Neighbors(name, graph.z, graph.pos, graph.cell[0], graph.edge_index, graph.shift, graph.distance)


@lru_cache(maxsize=1)
def labelled() -> Any:
    """The labelled formation energies, read once."""
    from mg9 import data

    return data.formation_energy()


def known_crystals(*ids: str) -> list[tuple[str, Structure]]:
    """(what to call it, structure) of crystals of the default set by id."""
    return [(f"{k} ({labelled().table.loc[k, 'formula']})", labelled().structure(k)) for k in ids]


def random_crystals(rng: np.random.Generator, n: int, most_atoms: int = 10) -> list[tuple[str, Structure]]:
    """n crystals of the default set with 2 to most_atoms atoms, no two alike."""
    table = labelled().table
    small = table.index[(table["nsites"] >= 2) & (table["nsites"] <= most_atoms)]
    return known_crystals(*rng.choice(small, size=n, replace=False))


def expect_tensor(value: object, shape: tuple[int, ...], what: str) -> Tensor:
    """The value, if it is a tensor (or array) of that shape with finite numbers; otherwise `CheckFailed`
    in words."""
    if value is None:
        raise WrongKind(f"{what} is None: is the return statement missing?")
    if not isinstance(value, (Tensor, np.ndarray)):
        raise WrongKind(
            f"{what} should be a tensor", expected=f"a tensor of shape {shape}", got=type(value).__name__
        )
    value = torch.as_tensor(value.copy() if isinstance(value, np.ndarray) else value).detach()
    if tuple(value.shape) != shape:
        raise CheckFailed(f"{what} has another shape", expected=shape, got=tuple(value.shape))
    if value.is_complex():
        raise CheckFailed(f"{what} is complex", expected="real numbers", got=str(value.dtype))
    if not torch.isfinite(value).all():
        raise CheckFailed(f"NaN or infinite numbers in {what}", expected="finite numbers", got="NaN or inf")
    return value


def expect_numbers(value: Any, n: int, what: str) -> np.ndarray:
    """n finite numbers, from a list, tuple, array or tensor; otherwise `CheckFailed`."""
    if isinstance(value, list | tuple):
        try:
            value = np.array([float(entry) for entry in value])
        except (TypeError, ValueError):
            raise CheckFailed(f"{what} should be {n} numbers", expected=f"{n} numbers", got=value) from None
    elif not isinstance(value, Tensor | np.ndarray | None):
        raise WrongKind(f"{what} should be {n} numbers", expected=f"{n} numbers", got=type(value).__name__)
    return expect_tensor(value, (n,), what).double().numpy()


def expect_close(
    got: Tensor,
    expected: Tensor,
    what: str,
    *,
    unit: str = "",
    crystal: str = "",
    tolerance: float = 1e-8,
    cause: str | None = None,
    figure: Callable[[], dict] | None = None,
) -> float:
    """The largest difference, if it is within the tolerance; otherwise `CheckFailed` with the worst
    entry. `cause` takes the place of the check's usual one; `figure` makes the picture of the failure."""
    if got.dtype in (torch.float32, torch.float16):
        tolerance = max(tolerance, 1e-5)  # right, in single precision
    difference = (got.to(torch.float64) - expected.to(torch.float64)).abs()
    worst = float(difference.max()) if difference.numel() else 0.0
    if not worst <= tolerance:  # NaN is not close to anything
        at = np.unravel_index(int(difference.argmax()), difference.shape)
        entry = "" if difference.dim() == 0 else f" at {tuple(int(a) for a in at)}"
        raise CheckFailed(
            f"{what}{entry}",
            crystal=crystal,
            expected=f"{float(expected[at]):.6g} {unit}".strip(),
            got=f"{float(got[at]):.6g} {unit}".strip(),
            cause=cause,
            figure=figure() if figure else None,
        )
    return worst


def expect_change(one: Tensor, other: Tensor, what: str, *, crystal: str = "") -> None:
    """`CheckFailed` if two values that must differ do not: a constant function is invariant under
    everything."""
    if float((one.double() - other.double()).detach().abs().max()) < 1e-9:
        raise CheckFailed(
            f"{what}, and the answer stayed the same: it does not look at its input", crystal=crystal
        )
