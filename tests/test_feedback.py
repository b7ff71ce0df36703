"""The pages: what failed and what to do about it, for every reader; nothing of solutions or hidden cells."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waves import RIGHT

from course.grader.build import source_file
from course.grader.feedback import class_page, page
from course.grader.form import BEGIN, END, assignments
from course.grader.marks import Mark, Row
from course.grader.pictures import picture
from course.grader.record import Record
from course.grader.result import Result

ROOT = Path(__file__).parents[1]
VOID = {"meta", "br", "img", "circle", "line", "path", "rect", "polyline"}


class Balanced(HTMLParser):
    """Collects what stands on the page; notes tags that are opened and not closed, or the other way round."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.wrong, self.tags, self.text = [], [], [], ""
        self.feed(text)
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def rows(graded) -> dict[str, Row]:
    record = Record(graded.out)
    return {row.student: row for row in record.rows()}


def test_a_page_says_what_failed_where_and_why(graded):
    wrong = Balanced(graded.pages["wrong"]).text
    for said in (
        "the envelope is wrong at r = 5.0 A",
        "Crystalmp-149",
        "Expected0.0",
        "Got1.0",
        "Usual causeno factor r < cutoff",
        "Rereadslide 17",
        "1 of 10 points, 4 of them still to be marked",
        "3. Implement a CGCNN message-passing step on a crystal graph0 of 5 points",
    ):
        assert said in wrong
    assert "Reread" not in graded.pages["right"] and "6 of 10 points" in graded.pages["right"]
    assert "half way to the cutoff" in graded.pages["partly"]
    assert "Hidden: the same at other cutoffs." in graded.pages["partly"]
    assert "Not answered" in graded.pages["untouched"] and "1. The envelope" in graded.pages["untouched"]


def test_a_picture_of_a_failure_is_on_the_page_and_in_nobody_elses(graded):
    said = "The energy under rotation varies by 1 eV"
    assert said in graded.pages["wrong"] and said not in graded.pages["right"] + graded.pages["partly"]


def test_what_did_not_pass_stands_first_and_leads_to_its_place(graded):
    for student, missed in {
        "wrong": ["envelope-values", "envelope-hidden"],
        "partly": ["envelope-hidden"],
        "right": [],
    }.items():
        parsed = Balanced(graded.pages[student])
        links = [a["href"] for tag, a in parsed.tags if tag == "a"]
        ids = {f"#{a['id']}": n for n, (_, a) in enumerate(parsed.tags) if "id" in a}
        sections = [a["class"] for tag, a in parsed.tags if tag == "section"]
        failed = [f"#q{n}" for n, kind in enumerate(sections, start=1) if kind == "failed"]
        assert links == failed and set(links) <= set(ids) and len(links) == len(missed)
        assert ("Not passed: " + ", ".join(missed) + "." in parsed.text) == bool(missed)


def test_a_syntax_error_is_on_the_page(graded):
    text = Balanced(graded.pages["typo"]).text
    assert "energy: SyntaxError: incomplete input (line 2)" in text
    assert "5 of 10 points" in text


def test_every_page_is_well_formed_and_can_be_read_aloud(graded):
    assert len(graded.pages) == 17
    for text in [*graded.pages.values(), (graded.out / "class.html").read_text()]:
        parsed = Balanced(text)
        assert parsed.wrong == []
        tags = [tag for tag, _ in parsed.tags]
        assert tags.count("h1") == tags.count("main") == tags.count("title") - tags.count("svg") == 1
        assert ("html", {"lang": "en"}) in parsed.tags and "script" not in tags
        assert any(attributes.get("name") == "viewport" for tag, attributes in parsed.tags)
        assert all(attributes.get("aria-label") for tag, attributes in parsed.tags if tag == "svg")
        assert "@media print" in text and not re.search(r'(src|href)="(?!#)', text)


def test_a_wide_table_names_each_value_by_its_column_where_it_is_shown_as_cards(graded):
    """A telephone shows a row below the other, without the headings; a word is not broken to fit a column."""
    text = (graded.out / "class.html").read_text()
    rules = dict(re.findall(r"^ *([^{}\n]+) {(.*)}$", text, re.M))
    assert "break-word" in rules["th, td"] and "attr(data-label)" in rules[".wide td::before"]
    tables = re.findall(r'<div class="wide"><table>(.*?)</table>', text, re.S)
    assert len(tables) == 2
    for table in tables:
        _, *headings = re.findall(r'<th scope="col">(.*?)</th>', table)
        for row in re.findall(r'<tr><th scope="row">.*?</tr>', table, re.S):
            assert re.findall(r'<td data-label="(.*?)">', row) == headings and row.count("<td") == len(
                headings
            )


def secrets(root: Path) -> set[str]:
    """Lines of solutions and of hidden cells, and their markers; not the lines that students see anyway."""
    hidden, seen = {"BEGIN SOLUTION", "HIDDEN TESTS"}, ""
    for name in assignments(root):
        for cell in nbformat.read(source_file(root, name), as_version=4).cells:
            inside = False
            for line in map(str.strip, cell.source.split("\n")):
                inside = inside or line in ("### BEGIN SOLUTION", BEGIN)
                if inside:
                    hidden.add(line)
                else:
                    seen += line + "\n"
                inside = inside and line not in ("### END SOLUTION", END)
    return {line for line in hidden if len(line) > 12 and line not in seen}


def test_no_page_and_no_exercise_holds_a_solution_or_a_hidden_cell(graded):
    assert any("np.cos" in line for line in secrets(graded.root))
    own = secrets(ROOT)
    assert len(own) > 25 and any("hidden.convolution" in line for line in own)
    for page_text in graded.pages.values():
        text = Balanced(page_text).text
        assert [secret for secret in secrets(graded.root) if secret in text] == []
        assert "waves.secret" not in text and "check(" not in text
    texts = {file: file.read_text() for file in (ROOT / "exercises").rglob("*.ipynb")}
    texts |= {file: file.read_text() for file in (graded.root / "exercises").rglob("*.ipynb")}
    assert len(texts) >= 2
    for file, text in texts.items():
        cells = "\n".join(c.source for c in nbformat.reads(text, as_version=4).cells) + text
        assert [s for s in own | secrets(graded.root) if s in cells] == [], file


def test_no_page_holds_a_cell_of_the_student(graded):
    lines = {line.strip() for answer in RIGHT.values() for line in answer.split("\n")}
    assert len(lines) > 5
    for text in graded.pages.values():
        assert [line for line in lines if line in Balanced(text).text] == []


NASTY = "<script>alert(1)</script>"


def test_what_comes_from_a_student_is_escaped(rows):
    result = Result(
        "q", "waves.values", "failed", NASTY, NASTY, NASTY, NASTY, NASTY, 17, (f"{NASTY}, line 3: x",)
    )
    row = rows["wrong"]
    marks = tuple(replace(mark, result=mark.result and result, comment=NASTY) for mark in row.marks)
    nasty = replace(row, student=NASTY, says=NASTY, notes=(NASTY,), raised=(NASTY,), marks=marks)
    for text in (page(nasty, "waves"), class_page([nasty], "waves")):
        assert NASTY not in text and NASTY in Balanced(text).text
    assert f"{NASTY}, line 3" in Balanced(page(nasty, "waves")).text
    assert "line 3: x" not in page(nasty, "waves")  # no source


def test_the_class_page_ranks_the_checks(graded, rows):
    text = Balanced((graded.out / "class.html").read_text()).text
    ids = ("envelope-values", "envelope-hidden", "energy-sum")
    places = [text.index(name) for name in ids]
    failed = {
        name: sum(
            mark.result.state != "passed"
            for row in rows.values()
            for mark in row.marks
            if mark.question.grade_id == name
        )
        for name in ids
    }
    assert failed == {"envelope-values": 2, "envelope-hidden": 3, "energy-sum": 3}
    assert places[0] == max(places)
    assert "energy-sumwaves.energy3 of 8" in text.replace("\n", "")
    assert "a cutoff written into the function (2 of 3)" in text  # the most frequent of its causes
    assert "8 of 17 graded, median 5" in text and "outcome 3" in text
    assert "0 to 1: 1" in (graded.out / "class.html").read_text()  # the histogram: one has no point


def test_outcomes_are_those_of_slide_03(rows):
    titles = tomllib.loads((ROOT / "course" / "slides.toml").read_text())["outcomes"]
    text = Balanced(page(rows["partly"], "waves")).text
    assert rows["partly"].outcomes == {3: (2.0, 5.0), 4: (1.0, 1.0)}
    assert f"3. {titles['3']}2 of 5 points" in text and f"4. {titles['4']}1 of 1 points" in text


PARITY = {"kind": "parity", "x": [0.0, 1.0, 2.0], "y": [0.5, 1.0, 1.5], "unit": "eV/atom"}
FAMILIES = {"kind": "families", "x": ["nitride", "oxide"], "y": [0.2, 0.61], "unit": "eV/atom"}
ROTATION = {"kind": "rotation", "x": [0, 30, 60], "y": [1.0, 1.2, 0.9], "unit": "eV/atom"}


@pytest.mark.parametrize(
    ("figure", "marks", "says"),
    [
        (
            PARITY,
            {"circle": 3, "line": 1},
            "3 predictions against their target; mean absolute error 0.333 eV/atom",
        ),
        (FAMILIES, {"rect": 2}, "oxide: 0.61, nitride: 0.2"),
        (ROTATION, {"polyline": 1}, "varies by 0.3 eV/atom"),
    ],
)
def test_pictures_have_marks_axes_and_a_text(rows, figure, marks, says):
    parsed = Balanced(str(picture(figure)))
    assert (
        parsed.wrong == [] and parsed.tags[0][1]["role"] == "img" and says in parsed.tags[0][1]["aria-label"]
    )
    tags = [tag for tag, _ in parsed.tags]
    assert {name: tags.count(name) for name in marks} == marks and "eV/atom" in parsed.text
    row = rows["wrong"]
    mark = next(mark for mark in row.marks if mark.result)
    shown = replace(row, marks=(Mark(mark.question, 0.0, False, replace(mark.result, figure=figure), ""),))
    assert says in page(shown, "waves")


def test_a_dot_of_a_parity_plot_is_where_it_belongs():
    """(0, 0.5) left and low, (2, 1.5) right and high, (1, 1) on the diagonal."""
    tags = Balanced(str(picture(PARITY))).tags
    x, y = zip(*((float(a["cx"]), float(a["cy"])) for tag, a in tags if tag == "circle"), strict=True)
    ends = next(a for tag, a in tags if tag == "line")
    assert x[0] < x[1] < x[2] and y[0] > y[1] > y[2]
    assert x[0] == float(ends["x1"]) and y[0] < float(ends["y1"])  # predicted too high: above the diagonal
    assert x[1] == pytest.approx((float(ends["x1"]) + float(ends["x2"])) / 2)
    assert y[1] == pytest.approx((float(ends["y1"]) + float(ends["y2"])) / 2)


ANY = st.recursive(
    st.none() | st.floats() | st.integers() | st.text(max_size=5) | st.just(NASTY),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just(NASTY), inner, max_size=3)
    ),
    max_leaves=12,
)


# A busy machine is no reason to fail.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    figure=ANY
    | st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["parity", "families", "rotation"]),
            "x": ANY,
            "y": ANY,
            "unit": ANY,
        }
    )
)
def test_no_figure_costs_a_page(figure):
    """Whatever stands in a figure: a picture that is well-formed, or none."""
    parsed = Balanced(str(picture(figure)))
    assert parsed.wrong == [] and "script" not in [tag for tag, _ in parsed.tags]
    numbers = [a[key] for _, a in parsed.tags for key in ("cx", "cy", "x", "y") if key in a]
    assert all(math.isfinite(float(value)) for value in numbers)
