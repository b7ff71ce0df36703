"""Hidden checks of the assignment "NAME": the visible statement again, on what is drawn from the seed.
Students' installations do not contain this file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mg9.checks import Local, register
from mg9.checks.NAME import holds_cutoff


@register(
    "hidden.NAME.cutoff",
    slide=17,
    outcome=2,
    cause="the cutoff is an argument, not a constant",
)
def cutoff(student: Local, rng: np.random.Generator, function: Callable) -> str:
    holds_cutoff(student, function, float(rng.uniform(2.0, 5.0)))
    return "another cutoff"
