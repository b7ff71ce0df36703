"""What the lectures display for hands as well as eyes: questions, sliders, crystals to turn.

Each is displayed in two forms at once. JupyterLab shows the live one where it can; a stored notebook, a slide
or a printed page shows the other: the answer to unfold, or a picture. Read in order: `ask`, `slider`, `turn`.
"""

from __future__ import annotations

import base64
import html
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pymatgen.core import Structure
    from torch_geometric.data import Data


def ask(question: str, *, right: str, wrong: Sequence[str], why: str) -> None:
    """A multiple-choice question with an immediate answer.

    why: the sentence to leave with, shown with the verdict. The order of the answers is always the same.
    Errors: ValueError where two answers are equal.
    """
    from ipywidgets import HTML, Layout, RadioButtons, VBox

    answers = [right, *wrong]
    if len(set(answers)) < len(answers):
        raise ValueError(f"{question!r} has the same answer twice; write one of them differently")
    random.Random(question).shuffle(answers)
    choice = RadioButtons(options=answers, value=None, layout=Layout(width="auto"))
    reply = HTML()

    def judge(change: Any) -> None:
        verdict = "Right." if change.new == right else "Not quite; think again."
        reply.value = f"<b>{verdict}</b> {html.escape(why) if change.new == right else ''}"

    choice.observe(judge, "value")
    live = VBox([HTML(f"<b>{html.escape(question)}</b>"), choice, reply])
    listed = "".join(f"<li>{html.escape(answer)}</li>" for answer in answers)
    solution = f"<b>{html.escape(right)}</b> {html.escape(why)}"
    static = f"<ul>{listed}</ul><details><summary>Answer</summary>{solution}</details>"
    _display(live._repr_mimebundle_(), {"text/html": f"<p><b>{html.escape(question)}</b></p>{static}"})


def slider(
    draw: Callable[[Any], Figure | None], *, name: str, values: Sequence[Any], start: Any, alt: str
) -> None:
    """`draw(value)`, drawn again when the slider moves; without a kernel, the picture at `start`.

    draw: draws into matplotlib's current figure; name: what the slider changes, with its unit; alt: the
    alternative text. Errors: ValueError where `start` is not among the values.
    """
    from ipywidgets import Image, SelectionSlider, VBox

    from mg9.plots import png

    if start not in values:
        raise ValueError(f"the slider {name!r} starts at {start!r}, which is not among its values")

    def picture(value: Any) -> bytes:
        draw(value)
        return png()

    first = picture(start)
    image = Image(value=first, format="png", layout={"max_width": "100%"})
    handle = SelectionSlider(options=list(values), value=start, description=name, continuous_update=False)
    handle.style.description_width = "initial"
    handle.observe(lambda change: setattr(image, "value", picture(change.new)), "value")
    _display(VBox([handle, image])._repr_mimebundle_(), {"image/png": base64.b64encode(first).decode()}, alt)


def turn(structure: Structure, *, graph: Data | None = None, atom: int = 0, alt: str) -> None:
    """A crystal in 3D, to turn and zoom with the mouse, also without a kernel; else `mg9.plots.crystal`.

    Arguments as there; drawn by plotly, which JupyterLab finds installed and needs no network for. It stands
    there as the picture until the mouse comes.
    """
    from plotly.graph_objects import Figure, Scatter3d

    from mg9 import plots

    figure = Figure(layout={"template": "none", "height": 380, "margin": dict.fromkeys("lrtb", 0)})
    for ends in plots.cell_edges(structure):
        x, y, z = ends.T.round(4).tolist()
        line = {"color": "grey", "width": 2}
        figure.add_trace(Scatter3d(x=x, y=y, z=z, mode="lines", line=line, showlegend=False))
    for ends in plots.bonds(graph, atom):
        x, y, z = ends.T.round(4).tolist()
        look = {"line": {"color": plots.SKY, "width": 4}, "marker": {"size": 3}, "showlegend": False}
        figure.add_trace(Scatter3d(x=x, y=y, z=z, mode="lines+markers", **look))
    for element, (places, size, colour) in plots.atoms(structure).items():
        x, y, z = places.T.round(4).tolist()
        marker = {"size": size**0.5, "color": colour, "opacity": 1}
        figure.add_trace(Scatter3d(x=x, y=y, z=z, mode="markers", marker=marker, name=element))
    axes = {f"{axis}axis": {"title": {"text": f"{axis} (Å)"}} for axis in "xyz"}
    # The buttons are at the upper right.
    figure.update_layout(scene={"aspectmode": "data", **axes}, legend={"x": 0, "y": 1})
    plots.crystal(structure, graph=graph, atom=atom)
    picture = base64.b64encode(plots.png()).decode()
    _display({"application/vnd.plotly.v1+json": figure.to_plotly_json()}, {"image/png": picture}, alt)


def _display(live: dict[str, Any], static: dict[str, str], alt: str = "") -> None:
    """One output with both forms: front ends take the richest that they can show."""
    from IPython.display import display

    metadata = {"image/png": {"alt": alt}} if alt else {}
    display(live | static, metadata=metadata, raw=True)
