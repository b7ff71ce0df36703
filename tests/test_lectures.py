"""The lectures as stored: every slide is there and runs something, every figure speaks, nothing is typed in.

What their cells print is held by nbval (make test), which runs them.
"""

import base64
import html
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course import registry
from course.lectures import CHECKED, LIVE, MEASURED, QUOTED, Changed, printed, quotation, refresh, tags

ROOT = Path(__file__).resolve().parents[1]
LECTURES = sorted(ROOT.glob("lectures/*.ipynb"))
FIGURES = registry.literature()

LINES = {"code": 20, "markdown": 25}
MOST_SECONDS, MOST_BYTES = 180, 100_000
HEADING = re.compile(r"^## (\d\d) (.+)$", re.M)
QUOTED_NUMBER = re.compile(r"= ([\d_.]+)  # literature: ([\w-]+)$", re.M)
PLACES = re.compile(r"(?<![\w.])/(home|root|tmp|work|usr|opt|var|Users)/|[A-Z]:\\|https?://|0x[0-9a-f]{6}")
NOISE = re.compile(r"Warning|it/s\]|%\|")


def text_of(cell) -> str:
    """All that a cell's outputs say in words."""
    parts = [printed(cell)]
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        parts += [
            "".join(data[kind]) for kind in ("text/plain", "text/html", "text/markdown") if kind in data
        ]
    return "\n".join(parts)


def pictures(cell) -> list:
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


def missing_slides(notebook, name: str) -> list[str]:
    """Slides without a heading or without code, and headings of slides that belong elsewhere."""
    own = {s.id: s.title for s in registry.slides().values() if s.lecture == f"lectures/{name}"}
    problems = [] if own else ["no slide of slides.toml lists it"]
    found, current = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search(r"^##? ", cell.source, re.M):
            heading = HEADING.search(cell.source)
            current = heading[1] if heading else ""
            if heading and own.get(heading[1]) != heading[2]:
                problems.append(f"heading {heading[0]!r} is no slide of this lecture: {own.get(heading[1])}")
            found.setdefault(current, 0)
        elif cell.cell_type == "code":
            found[current] = found.get(current, 0) + 1
    problems += [f"slide {id} has no heading" for id in own if id not in found]
    return problems + [f"slide {id} runs nothing" for id in own if found.get(id) == 0]


def bad_cells(notebook) -> list[str]:
    problems = []
    for number, cell in enumerate(notebook.cells):
        if cell.source.count("\n") + 1 > LINES[cell.cell_type]:
            problems.append(f"cell {number} is longer than {LINES[cell.cell_type]} lines")
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        if not kind:
            problems.append(f"cell {number} has no slideshow metadata")
        if kind == "slide" and not cell.source.startswith("#"):
            problems.append(f"cell {number} begins a slide without a heading")
        if place := PLACES.search(cell.source):
            problems.append(f"cell {number} names a place: {place[0]}")
    return problems


def bad_outputs(notebook) -> list[str]:
    problems, counts = [], []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        counts.append(cell.execution_count)
        text = text_of(cell)
        for pattern, what in ((PLACES, "a place"), (NOISE, "noise")):
            if found := pattern.search(text):
                problems.append(f"the output of cell {number} has {what}: {found[0]}")
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                problems.append(f"cell {number} stores an error or a warning")
            if any("widget" in kind for kind in output.get("data", {})):
                problems.append(f"cell {number} stores a live widget")
        if CHECKED in tags(cell) and (LIVE in tags(cell) or not printed(cell) or len(cell.outputs) != 1):
            problems.append(f"cell {number} is to be checked, but does not just print")
    if counts != list(range(1, len(counts) + 1)):
        problems.append("the stored outputs are not of one run from top to bottom")
    return problems


def mute_figures(notebook) -> list[str]:
    problems = []
    for number, cell in enumerate(notebook.cells):
        for output in pictures(cell):
            alt = output.metadata.get("image/png", {}).get("alt", "")
            if len(alt.split()) < 5:
                problems.append(f"the figure of cell {number} has no alternative text")
            if len(base64.b64decode(output.data["image/png"])) > MOST_BYTES:
                problems.append(f"the figure of cell {number} is larger than {MOST_BYTES} bytes")
        following = notebook.cells[number + 1].source if number + 1 < len(notebook.cells) else ""
        if pictures(cell) and not following.startswith("*What to see:"):
            problems.append(f"cell {number} draws, but no sentence says what to see")
    return problems


def missing_parts(notebook) -> list[str]:
    cells = notebook.cells
    problems = []
    if sum(CHECKED in tags(cell) for cell in cells) < 3:
        problems.append("fewer than three cells are checked")
    if [("budget(" in cell.source) for cell in cells if "budget" in tags(cell)] != [True]:
        problems.append('not one cell tagged "budget" that calls budget')
    measured = MEASURED.search(cells[0].source)
    took = re.search(r"\| (\d+) s of processor time, [\d.]+ GB of memory", measured[0]) if measured else None
    if not took or int(took[1]) > MOST_SECONDS:
        problems.append(f"the header states no time of at most {MOST_SECONDS} s")
    last = [number for number, cell in enumerate(cells) if cell.source.startswith("## Check yourself")]
    questions = cells[last[0] :] if last else []
    if sum(text_of(cell).count("<details>") for cell in questions) < 3:
        problems.append("no self-check of three questions at the end")
    return problems


def typed_in(notebook) -> list[str]:
    """Quotations and numbers that are not the registry's."""
    problems = []
    for number, cell in enumerate(notebook.cells):
        for quoted in QUOTED.finditer(cell.source):
            if quoted[1] not in FIGURES or quoted[0] != quotation(FIGURES[quoted[1]]):
                problems.append(f"cell {number}: {quoted[1]} is not as in literature.toml")
        for value, key in QUOTED_NUMBER.findall(cell.source):
            if key not in FIGURES or float(value) != FIGURES[key].value:
                problems.append(f"cell {number}: {value} is not {key} of literature.toml")
    return problems


def problems(notebook, name: str) -> list[str]:
    found = missing_slides(notebook, name)
    for look in (bad_cells, bad_outputs, mute_figures, missing_parts, typed_in):
        found += look(notebook)
    return found


def read(path: Path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)
def test_a_lecture_is_complete(path):
    found = problems(read(path), path.name)
    assert not found, "\n" + "\n".join(found)


# Each fault planted once into a lecture that has none

TAKEN = "D_cgcnn.ipynb"


def cell_with(notebook, sign):
    return next(cell for cell in notebook.cells if sign(cell))


def plant_heading(notebook):
    cell = cell_with(notebook, lambda c: c.source.startswith("## 22 "))
    cell.source = cell.source.replace("## 22 ", "## 22 All about ", 1)


def plant_silence(notebook):
    start = notebook.cells.index(cell_with(notebook, lambda c: c.source.startswith("## 23 ")))
    while not notebook.cells[start + 1].source.startswith("## "):
        del notebook.cells[start + 1]


def plant_long_cell(notebook):
    cell_with(notebook, lambda c: c.cell_type == "code").source += "\npass" * 20


def plant_no_slideshow(notebook):
    del notebook.cells[5].metadata["slideshow"]


def plant_lonely_caption(notebook):
    caption = cell_with(notebook, lambda c: c.source.startswith("*What to see:"))
    caption.metadata["slideshow"]["slide_type"] = "slide"


def plant_path(notebook):
    cell_with(notebook, printed).outputs[0].text += "saved to /home/amira/model.pt\n"


def plant_host(notebook):
    cell_with(notebook, printed).outputs[0].text += "see https://example.org\n"


def plant_warning(notebook):
    cell = cell_with(notebook, lambda c: c.cell_type == "code")
    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="No electronegativity"))


def plant_progress_bar(notebook):
    cell_with(notebook, printed).outputs[0].text += "training: 100%|####| 12/12 [00:09<00:00, 1.3it/s]\n"


def plant_widget(notebook):
    cell_with(notebook, pictures).outputs[0].data["application/vnd.jupyter.widget-view+json"] = {}


def plant_other_order(notebook):
    cell_with(notebook, lambda c: c.get("execution_count") == 4).execution_count = 40


def plant_checked_picture(notebook):
    cell_with(notebook, pictures).metadata["tags"] = [CHECKED]


def plant_no_alt(notebook):
    pictures(cell_with(notebook, pictures))[0].metadata = {}


def plant_large_figure(notebook):
    data = pictures(cell_with(notebook, pictures))[0].data
    data["image/png"] = base64.b64encode(bytes(MOST_BYTES + 1)).decode()


def plant_no_caption(notebook):
    cell_with(notebook, lambda c: c.source.startswith("*What to see:")).source = "*A figure.*"


def plant_no_checks(notebook):
    for cell in notebook.cells:
        cell.metadata["tags"] = [tag for tag in tags(cell) if tag != CHECKED]


def plant_no_budget(notebook):
    cell_with(notebook, lambda c: "budget" in tags(c)).metadata["tags"] = []


def plant_slow(notebook):
    notebook.cells[0].source = re.sub(r"\d+ s of proc", "190 s of proc", notebook.cells[0].source)


def plant_no_questions(notebook):
    cell_with(notebook, lambda c: c.source.startswith("## Check yourself")).source = "## The end"


def plant_quotation(notebook):
    cell = cell_with(notebook, lambda c: QUOTED.search(c.source))
    cell.source = QUOTED.sub(lambda found: found[0].replace("0.039", "0.030"), cell.source)


def plant_number(notebook):
    cell = cell_with(notebook, lambda c: QUOTED_NUMBER.search(c.source))
    cell.source = QUOTED_NUMBER.sub(r"= 9\1  # literature: \2", cell.source)


PLANTED = {
    plant_heading: "slide 22 has no heading|no slide of this lecture",
    plant_silence: "slide 23 runs nothing",
    plant_long_cell: "longer than 20 lines",
    plant_no_slideshow: "no slideshow metadata",
    plant_lonely_caption: "a slide without a heading",
    plant_path: "a place: /home/",
    plant_host: "a place: https://",
    plant_warning: "an error or a warning",
    plant_progress_bar: "noise",
    plant_widget: "a live widget",
    plant_other_order: "one run from top to bottom",
    plant_checked_picture: "does not just print",
    plant_no_alt: "no alternative text",
    plant_large_figure: "larger than",
    plant_no_caption: "what to see",
    plant_no_checks: "fewer than three cells",
    plant_no_budget: "budget",
    plant_slow: "no time of at most",
    plant_no_questions: "no self-check",
    plant_quotation: "not as in literature.toml",
    plant_number: "of literature.toml",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant):
    notebook = read(ROOT / "lectures" / TAKEN)
    assert not problems(notebook, TAKEN)
    plant(notebook)
    found = problems(notebook, TAKEN)
    assert any(re.search(PLANTED[plant], problem) for problem in found), found


def test_a_lecture_that_no_slide_lists_is_found():
    notebook = read(ROOT / "lectures" / TAKEN)
    assert "no slide of slides.toml lists it" in missing_slides(notebook, "X_unknown.ipynb")


# The command that stores the outputs


@pytest.fixture
def small(tmp_path):
    """A notebook with what has to go and what has to stay."""
    make = nbformat.v4
    cells = [
        make.new_markdown_cell("# Small\n| **Measured** | not yet |\n\n> **The paper** (`cgcnn-atom-table`)"),
        make.new_code_cell("import sys; print('a warning', file=sys.stderr); print(6 * 7)"),
        make.new_code_cell("import time; print(time.time())"),
        make.new_code_cell(
            "from mg9.widgets import ask\nask('Which?', right='a', wrong=['b'], why='so')\n"
            "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass"
        ),
    ]
    cells[1].metadata["tags"], cells[2].metadata["tags"] = [CHECKED], [LIVE]
    path = tmp_path / "small.ipynb"
    nbformat.write(make.new_notebook(cells=cells), path)
    return path


def test_refresh_stores_what_is_the_same_for_every_reader(small):
    refresh(small)
    head, answer, now, question = read(small).cells
    assert re.search(r"\*\*Measured\*\* \| \d+ s of processor time, \d+\.\d GB of memory", head.source)
    assert quotation(FIGURES["cgcnn-atom-table"]) in head.source
    assert [output.text for output in answer.outputs] == ["42\n"] and now.outputs == []
    assert [set(output.data) for output in question.outputs] == [{"text/html"}]
    stored = small.read_text()
    refresh(small)
    assert small.read_text() == stored


def test_refresh_refuses_another_result_unless_told(small):
    refresh(small)
    notebook = read(small)
    notebook.cells[1].source = "print(43)"
    nbformat.write(notebook, small)
    stored = small.read_text()
    with pytest.raises(Changed, match="43\ninstead of\n42"):
        refresh(small)
    assert small.read_text() == stored
    refresh(small, accept=True)
    assert printed(read(small).cells[1]) == "43\n"


def test_a_quotation_has_value_data_size_split_and_source():
    line = quotation(FIGURES["cgcnn-formation-energy"])
    for part in ("0.039 eV/atom", "46,744 crystals", "28,046 training", "60/20/20", "xie2018cgcnn, Table I"):
        assert part in line
    assert QUOTED.fullmatch(line)
    assert ": 100 to 10,000 labels [deck" in quotation(FIGURES["fine-tuning-size"])


def test_a_deck_has_its_slides_answers_and_alternative_texts(tmp_path):
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", "")
    options = re.search(r"nbconvert (--to slides .*?) --output-dir", recipe)[1].split()
    lecture = ROOT / "lectures" / "Z_nanoindentation.ipynb"
    command = [sys.executable, "-m", "nbconvert", *options, "--output-dir", str(tmp_path), str(lecture)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    deck = next(tmp_path.glob("*.html")).read_text()
    notebook = read(lecture)
    assert deck.count("<details>") == sum(text_of(cell).count("<details>") for cell in notebook.cells)
    for cell in notebook.cells:
        for output in pictures(cell):
            assert f'alt="{html.escape(output.metadata["image/png"]["alt"], quote=False)}"' in deck
    assert deck.count("<section") > 10
