"""Formulas of the site as MathML, entered into Sphinx."""

from __future__ import annotations

from docutils import nodes

from course.formulas import mathml


def setup(app) -> dict:
    """Enter the renderer into Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def inline(translator, node: nodes.math) -> None:
    """A formula in a line."""
    translator.body.append(f'<span class="math">{mathml(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def block(translator, node: nodes.math_block) -> None:
    """A formula of its own."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode
