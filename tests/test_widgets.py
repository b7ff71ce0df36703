"""Questions, sliders and figures in a notebook: the live form answers, the stored form can be read."""

import base64
import io

import ipywidgets
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from mg9 import data, plots, widgets
from mg9.a_crystal import crystal_graph


@pytest.fixture
def displayed(monkeypatch):
    """What display() was given: (bundle, metadata) of each call."""
    calls = []
    monkeypatch.setattr(
        "IPython.display.display", lambda bundle, metadata=None, raw=False: calls.append((bundle, metadata))
    )
    return calls


@pytest.fixture
def lived(displayed, monkeypatch):
    """The live widgets behind what was displayed."""
    found = []

    class Seen(ipywidgets.VBox):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **keywords)
            found.append(self)

    monkeypatch.setattr(ipywidgets, "VBox", Seen)
    return found


QUESTION = {"right": "a < b", "wrong": ["b < a", "neither"], "why": "a comes first."}


def test_a_question_answers_at_once(lived):
    widgets.ask("Which?", **QUESTION)
    _, choice, reply = lived[0].children
    assert choice.value is None and set(choice.options) == {"a < b", "b < a", "neither"}
    choice.value = "neither"
    assert "Not quite" in reply.value and "a comes first" not in reply.value
    choice.value = "a < b"
    assert "Right" in reply.value and "a comes first" in reply.value


def test_a_stored_question_has_its_answer_to_unfold(displayed):
    widgets.ask("Which?", **QUESTION)
    page = displayed[0][0]["text/html"]
    before, _, behind = page.partition("<details>")
    assert all(answer in before for answer in ("a &lt; b", "b &lt; a", "neither")) and "first" not in before
    assert "a &lt; b" in behind and "a comes first." in behind


def test_the_right_answer_is_not_always_the_first_one(lived):
    places = set()
    for number in range(20):
        widgets.ask(f"question {number}", **QUESTION)
        places.add(lived[-1].children[1].options.index("a < b"))
    assert places == {0, 1, 2}


def test_two_equal_answers_are_refused():
    with pytest.raises(ValueError, match="the same answer twice"):
        widgets.ask("Which?", right="a", wrong=["a"], why="")


def test_a_slider_draws_again_and_is_stored_as_a_picture(lived, displayed):
    drawn = []

    def draw(value):
        drawn.append(value)
        plt.subplots()[1].plot([0, value])

    widgets.slider(draw, name="K", values=[1, 2, 3], start=2, alt="a line")
    bundle, metadata = displayed[0]
    assert metadata == {"image/png": {"alt": "a line"}}
    handle, image = lived[0].children
    stored = image.value
    assert drawn == [2] and base64.b64decode(bundle["image/png"]) == stored
    handle.value = 3
    assert drawn == [2, 3] and image.value != stored
    assert not plt.get_fignums()
    with pytest.raises(ValueError, match="not among its values"):
        widgets.slider(draw, name="K", values=[1, 2], start=5, alt="a line")


def test_show_displays_the_figure_with_its_text_and_closes_it(displayed):
    plt.subplots(figsize=(2, 1))
    plots.show("an empty frame")
    bundle, metadata = displayed[0]
    assert metadata == {"image/png": {"alt": "an empty frame"}} and not plt.get_fignums()
    picture = plt.imread(io.BytesIO(base64.b64decode(bundle["image/png"])))
    assert picture.shape[:2] == (100, 200)


def test_a_crystal_is_drawn_with_its_images_on_the_faces_and_its_edges():
    cscl = data.formation_energy().structure("mp-22865")
    ax = plots.crystal(cscl)
    drawn = {dots.get_label(): len(np.transpose(dots._offsets3d)) for dots in ax.collections}
    assert drawn == {"Cs": 8, "Cl": 1}
    assert len(ax.lines) == 12  # the edges of the cell
    assert "Å" in ax.get_xlabel() and [t.get_text() for t in ax.get_legend().get_texts()] == ["Cl", "Cs"]
    graph = crystal_graph(cscl, neighbors=8)
    ax = plots.crystal(cscl, graph=graph)
    assert len(ax.lines) == 12 + 8  # of Cl
    plt.close("all")


def test_a_crystal_to_turn_is_the_one_that_is_drawn(displayed):
    cscl = data.formation_energy().structure("mp-22865")
    widgets.turn(cscl, graph=crystal_graph(cscl, neighbors=8), alt="CsCl")
    bundle, metadata = displayed[0]
    assert metadata == {"image/png": {"alt": "CsCl"}} and bundle["image/png"]
    traces = bundle["application/vnd.plotly.v1+json"]["data"]
    named = {trace["name"]: len(trace["x"]) for trace in traces if "name" in trace}
    assert named == {"Cl": 1, "Cs": 8} and len(traces) == 12 + 8 + 2
    bond = next(trace for trace in traces if trace["mode"] == "lines+markers")
    ends = np.array([bond["x"], bond["y"], bond["z"]])
    assert np.linalg.norm(ends[:, 1] - ends[:, 0]) == pytest.approx(cscl.get_distance(0, 1), abs=1e-3)
    assert "https" not in str(bundle)
