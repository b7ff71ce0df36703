"""Formulas as MathML, which browsers draw themselves: no script, no font and no network at view time."""

from __future__ import annotations

import re

from docutils import nodes
from latex2mathml.converter import convert

NAMED = {r"\tfrac": r"\frac", r"\lvert": "|", r"\rvert": "|", r"\Big|": "|", r"\big|": "|"}


def setup(app) -> dict:
    """Enter the renderer into Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def mathml(tex: str, display: str) -> str:
    r"""MathML of a formula; what the converter does not know is written in what it does know.

    `{\rm cut}` is old TeX: a switch inside a group.
    """
    for name, plain in NAMED.items():
        tex = re.sub(re.escape(name) + r"(?![a-zA-Z])", lambda _, plain=plain: plain, tex)
    tex = re.sub(r"\{\\rm\s+([^{}]*)\}", r"\\mathrm{\1}", tex)
    bold = r'<mi mathvariant="bold">([A-Za-z])</mi>'
    return re.sub(bold, lambda found: f"<mi>{_bold(found[1])}</mi>", convert(tex, display=display))


def _bold(letter: str) -> str:
    """The mathematical bold letter: browsers do not know `mathvariant="bold"`."""
    upper = letter.isupper()
    return chr((0x1D400 if upper else 0x1D41A) + ord(letter) - ord("A" if upper else "a"))


def inline(translator, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(f'<span class="math">{mathml(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def block(translator, node: nodes.math_block) -> None:
    """A formula of its own."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode
