"""Pictures of a failure, in plain numbers: the page of feedback draws them.

`CheckFailed(..., figure=rotation(...))`. Read in order: `rotation` (slide 08), `parity` and `families`
(slide 47).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mg9.groups import chemistry_family

AXIS = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)  # of no crystal's symmetries
DEGREES = range(0, 361, 15)
FEWEST = 5  # crystals of a family


def rotation(energies: Callable[[list[np.ndarray]], Sequence[float]], unit: str) -> dict:
    """Energies along one turn. energies: rotation matrices (3, 3) -> one number for each, in `unit`."""
    from scipy.spatial.transform import Rotation

    turns = [Rotation.from_rotvec(AXIS * angle, degrees=True).as_matrix() for angle in DEGREES]
    return {
        "kind": "rotation",
        "x": list(DEGREES),
        "y": [float(e) for e in energies(turns)],
        "unit": unit,
    }


def parity(target: Sequence[float], prediction: Sequence[float], unit: str) -> dict:
    """Predictions over targets. Not for blind crystals: their labels could be read off."""
    return {
        "kind": "parity",
        "x": [float(t) for t in target],
        "y": [float(p) for p in prediction],
        "unit": unit,
    }


def families(formulas: Sequence[str], error: Sequence[float], unit: str) -> dict:
    """The mean absolute error of each chemistry family of five crystals or more (of fewer, labels of blind
    crystals could be read off)."""
    family, size = np.array([chemistry_family(f) for f in formulas]), np.abs(np.asarray(error))
    names = [str(name) for name, n in zip(*np.unique(family, return_counts=True), strict=True) if n >= FEWEST]
    return {
        "kind": "families",
        "x": names,
        "y": [float(size[family == name].mean()) for name in names],
        "unit": unit,
    }
