"""A function that stands elsewhere, where a check runs: find out about it by asking (slide 41)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


class Replay:
    """Repeats what the function said, and lists in `missing` what it has yet to be asked.

    said: (*inputs, answer) each, so far; blank(*inputs): what to say until the answer is known.
    """

    def __init__(self, said: Sequence[tuple[Tensor, ...]], blank: Callable[..., Tensor]) -> None:
        self.answers = {_key(asked): answer for *asked, answer in said}
        self.missing: list[tuple[Tensor, ...]] = []
        self.blank = blank

    def __call__(self, *asked: Tensor) -> Tensor:
        asked = tuple(x.detach().clone() for x in asked)
        if _key(asked) not in self.answers:
            self.answers[_key(asked)] = self.blank(*asked)
            self.missing.append(asked)
        return self.answers[_key(asked)].clone()


def _key(asked: Sequence[Tensor]) -> tuple[bytes, ...]:
    return tuple(x.double().contiguous().numpy().tobytes() for x in asked)
