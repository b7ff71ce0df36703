"""The seven points of a trustworthy report, as data (slide 47)."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

PASS, EXEMPLARY = 5, 7

# title, why it matters, the method of `Report` that delivers it
POINTS = (
    (
        "The split is declared and matches the claim",
        "an error without the axis along which the test set was held out cannot be interpreted",
        'Report(..., claim="...")',
    ),
    (
        "Baselines are present: constant, Magpie + linear, Magpie + boosted trees",
        "an error says little until one knows what knowing nothing costs, and what the formula alone buys",
        "ladder(...)",
    ),
    (
        "Residuals by region: family, element, prototype, space group",
        "a mean over all crystals hides the ones on which the model fails",
        "residuals()",
    ),
    (
        "Structure-awareness ablation, where structure-awareness is claimed",
        "a model that is as good with shuffled atoms reads the composition only, whatever its drawing shows",
        "ablations()",
    ),
    (
        "Leakage paths are audited: duplicates, preprocessing, post-relaxation features",
        "a test crystal that the model has met in another guise makes the error too small",
        'audit(post_relaxation="...")',
    ),
    (
        "Confidence interval on the headline error",
        "two models may differ by less than another draw of test crystals changes either",
        "ladder(...)",
    ),
    (
        "The construction of the test set is documented",
        "without source, version and order of decisions nobody can repeat it or see what it was chosen on",
        'document(selection="...")',
    ),
)


@dataclass(frozen=True)
class Point:
    """One point of the checklist (slide 47): `found` says what was seen; done is None where it is missing,
    False where it is there and fails."""

    number: int
    title: str
    why: str
    how: str
    done: bool | None
    found: str = ""

    def __str__(self) -> str:
        mark = {True: "[x]", False: "[!]", None: "[ ]"}[self.done]
        text = self.found
        if self.done is None:
            text = f"missing. {self.found + '. ' if self.found else ''}It matters: {self.why}. Do: {self.how}"
        head = fill(f"{mark} {self.number}  {self.title}", 100, subsequent_indent=" " * 7)
        return head + "\n" + fill(text, 100, initial_indent=" " * 7, subsequent_indent=" " * 7)


def verdict(points: list[Point]) -> str:
    """ "5 of 7: a pass (5 are; 7 are exemplary)", from the points that are done (slide 47)."""
    done = sum(point.done is True for point in points)
    word = "exemplary" if done >= EXEMPLARY else "a pass" if done >= PASS else "not yet a pass"
    return f"{done} of {len(points)}: {word} ({PASS} of 7 is a pass, {EXEMPLARY} of 7 exemplary)"
