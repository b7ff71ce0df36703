"""The course in a hub, as a class uses it, in Chromium; and what students must not reach there."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from browser import CHROMIUM, FLAGS, PATIENCE, TRAINING, Person, needs_hub, picture

from course.demo.classroom import answers_of
from course.hub.running import Hub

AMIRA, BRUNO, INES = "mg9-amira", "mg9-bruno", "mg9-ines"  # two students and an instructor
ASSIGNMENT = "cgcnn"
ROOT = Path(__file__).parents[1]
ANSWER = """1. Held-out oxides: how it does on **new chemistry**. The random split: on crystals like the
known ones. For new nitrides: $\\frac{1}{n}\\sum_k |E_k - \\hat E_k|$ over a family that was held out.
2. Oxides are strongly bound; the table holds what people calculated.
3. Angles: two crystals with the same list of distances get the same energy."""
SOLUTION = answers_of(nbformat.read(ROOT / "solutions" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", as_version=4))
SOLUTION["written-answer"] = ANSWER
BACKWARDS = SOLUTION["convolution"].replace("j, i = edge_index", "i, j = edge_index")
INES_HOME, INBOUND = f"/home/{INES}/unit9", "/srv/mg9/exchange/mg9/inbound"
FORBIDDEN = [
    f"/home/{AMIRA}/{ASSIGNMENT}/{ASSIGNMENT}.ipynb",
    f"{INES_HOME}/gradebook/{ASSIGNMENT}/gradebook.db",
    f"{INES_HOME}/solutions/{ASSIGNMENT}/{ASSIGNMENT}.ipynb",
    f"{INES_HOME}/course/hidden/cgcnn.py",
    f"{INES_HOME}/course/blind/formation_energy.csv",
    "/srv/mg9/hub/hub.sqlite",
    "/srv/mg9/hub/course/solutions/cgcnn/cgcnn.ipynb",
    f"{ROOT}/course/hidden/cgcnn.py",
    "/etc/shadow",
]
TOLD = (FORBIDDEN, [f"/home/{AMIRA}", INES_HOME, INBOUND, "/srv/mg9/exchange/mg9/feedback"], INES, str(ROOT))
LIVE = """import matplotlib.pyplot as plt
from mg9 import data, widgets
widgets.ask("Who sends?", right="the neighbour j", wrong=["the centre i"], why="j, i = edge_index.")
widgets.slider(lambda k: plt.plot([0, k]), name="K", values=[1, 2], start=1, alt="a line")
widgets.turn(data.formation_energy().structure("mp-22865"), alt="CsCl")"""
PROBE = f"TOLD = {TOLD!r}\n" + Path(__file__).with_name("hub_probe.py").read_text()
COMMENT_IN, COMMENT = "#written-answer-comment", "Which two structures have equal lists of distances?"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The hub, until the last test here."""
    hub = Hub(tmp_path_factory.mktemp("hub") / "hub.log", "--budget", "tiny", patience=PATIENCE)
    yield hub
    assert hub.stop() == 0


@pytest.fixture(scope="module")
def people(hub):
    """Whoever is asked for, logged in once."""
    from playwright.sync_api import sync_playwright

    there: dict[str, Person] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def person(name: str) -> Person:
            if name not in there:
                there[name] = Person(browser, hub, name)
            return there[name]

        yield person
        browser.close()


@needs_hub
def test_a_student_logs_in_and_has_no_extensions_of_instructors(people):
    amira = people(AMIRA)
    amira.menu("Nbgrader")
    assert amira.page.locator(".lm-Menu-itemLabel:visible").all_inner_texts() == ["Assignment List"]
    amira.page.keyboard.press("Escape")
    assert amira.ask("formgrader")[0] == 404


@needs_hub
def test_an_assignment_goes_from_the_list_to_the_feedback(people):
    """The whole way of an assignment, by one student and the instructor."""
    amira = people(AMIRA)
    works_on(amira)
    hands_in(amira)
    ines = people(INES)
    grades(ines)
    marks_by_hand(ines)
    reads_the_feedback(amira)
    assert not amira.elsewhere and not ines.elsewhere, "without a network, this would be missing"


@needs_hub
def test_a_student_reaches_nothing_that_is_not_his(people):
    """By kernel, terminal, file browser and address; after the way above, which leaves what to look for."""
    amira, bruno, ines = people(AMIRA), people(BRUNO), people(INES)
    assert f"{INBOUND}/{AMIRA}+{ASSIGNMENT}+" in ines.shell(f"ls -d {INBOUND}/*")
    for path in (f"{INES_HOME}/gradebook/{ASSIGNMENT}/gradebook.db", f"{INES_HOME}/course/hidden/cgcnn.py"):
        ines.shell(f"test -r {path}")  # what is refused below is there

    told = bruno.kernel(PROBE)
    assert [line for line in told if line.startswith("REACHED")] == []
    assert len([line for line in told if line.startswith("refused")]) == len(told) >= 20, told

    says = bruno.shell("; ".join(f"cat {path} && echo REACHED" for path in FORBIDDEN) + "; true")
    assert len(re.findall("Permission denied|No such file", says)) == len(FORBIDDEN), says
    assert says.count("REACHED") == len(FORBIDDEN), "of the typed line alone"

    bruno.shell(" && ".join(f"ln -s {path} seen{number}" for number, path in enumerate(FORBIDDEN)))
    for number in range(len(FORBIDDEN)):
        assert bruno.ask(f"api/contents/seen{number}?content=1")[0] in (400, 403, 404, 500), FORBIDDEN[number]
    for address in (f"../{AMIRA}/api/contents", f"../{INES}/formgrader", "formgrader"):
        assert bruno.ask(address)[0] in (403, 404), address
    assert bruno.ask("../../hub/admin")[0] == 403
    assert bruno.ask(f"../../hub/api/users/{AMIRA}")[0] in (403, 404)
    assert bruno.ask("../../hub/api/users")[0] == 403
    assert amira.read(f"{ASSIGNMENT}/{ASSIGNMENT}.ipynb")["cells"]


@needs_hub
def test_questions_sliders_and_crystals_answer_hand_and_mouse(people):
    """What lectures display, live; the crystal is a picture until the mouse comes."""
    bruno = people(BRUNO)
    page = bruno.run(LIVE).page
    page.locator("label", has_text="the centre i").click()
    page.get_by_text("Not quite").wait_for()
    page.locator("label", has_text="the neighbour j").click()
    page.get_by_text("Right.").wait_for()
    drawn = page.locator("img.widget-image")
    before = drawn.get_attribute("src")
    page.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('img.widget-image').src != before", arg=before)
    page.locator(".jp-RenderedPlotly img").dispatch_event("mouseenter")
    page.wait_for_function("document.querySelector('.js-plotly-plot')?._fullLayout?.scene")
    assert not bruno.elsewhere, "without a network, this would be missing"


def works_on(student: Person) -> None:
    """Fetch, run, break, solve, validate."""
    page = student.page
    student.menu("Nbgrader", "Assignment List")
    row = page.locator("#released_assignments_list .list_item", has_text=ASSIGNMENT)
    row.get_by_text("Fetch", exact=True).click()
    fetched = page.locator("#fetched_assignments_list .list_item", has_text=ASSIGNMENT).first
    fetched.wait_for()
    picture(page, "assignments")

    notebook = student.open(f"{ASSIGNMENT}/{ASSIGNMENT}.ipynb")
    notebook.run(notebook.first)
    notebook.run("convolution")
    assert "NotImplementedError" in notebook.run("convolution-direction")
    notebook.write("convolution", BACKWARDS)
    notebook.run("convolution")
    says = notebook.run("convolution-direction")
    assert "convolution.direction" in says and "slide 21" in says, says
    assert "CheckFailed" not in says and "Traceback" not in says, says
    for state in ("hidden", "visible"):  # of the files, which take room from the words
        page.keyboard.press("Control+b")
        page.locator(".jp-FileBrowser").wait_for(state=state)
        if state == "hidden":
            picture(page, "failing_check")

    for name, text in SOLUTION.items():
        notebook.write(name, text)
    notebook.run_all()
    assert "passed" in notebook.printed("convolution-direction")
    page.click(".validate-button")
    dialog = page.locator(".jp-Dialog")
    dialog.wait_for(timeout=TRAINING * 1000)
    assert "Success! Your notebook passes all the tests." in dialog.inner_text()
    page.click(".jp-Dialog .jp-mod-accept")


def hands_in(student: Person) -> None:
    """Submit from the assignment list."""
    page = student.page
    student.menu("Nbgrader", "Assignment List")
    row = page.locator("#fetched_assignments_list .list_item", has_text=ASSIGNMENT).first
    row.get_by_text("Submit", exact=True).click()
    page.locator("#submitted_assignments_list .list_item", has_text=ASSIGNMENT).first.wait_for()


def grades(instructor: Person) -> None:
    """Collect and autograde, in a terminal."""
    says = instructor.shell(f"cd unit9 && mg9-course collect {ASSIGNMENT}")
    assert f"{AMIRA}: collected" in says
    says = instructor.shell(f"cd unit9 && mg9-course grade submitted --assignment {ASSIGNMENT}", TRAINING)
    assert re.search(rf"{AMIRA} +43/43 +7 to mark +ok", says), says
    picture(instructor.page, "grading")


def marks_by_hand(instructor: Person) -> None:
    """Mark the written answer in formgrader, then write and return the pages."""
    page = instructor.context.new_page()
    page.goto(instructor.address(f"formgrader?path=unit9/gradebook/{ASSIGNMENT}"))
    page.get_by_text("Manual Grading", exact=True).click()
    page.get_by_role("link", name=ASSIGNMENT).click()
    page.get_by_role("link", name=ASSIGNMENT).click()
    page.get_by_role("link", name="Submission #1").click()
    # The page fetches the marks after it is there; what is typed before that is lost.
    page.wait_for_function("document.querySelector('input#convolution-direction.score')?.placeholder == 2")
    page.wait_for_function(f"document.querySelector('{COMMENT_IN}')?.placeholder")
    for place, kind, text in (("input#written-answer.score", "grade", "6"), (COMMENT_IN, "comment", COMMENT)):
        saved = re.compile(f"formgrader/api/{kind}/")
        with page.expect_response(lambda answer, saved=saved: saved.search(answer.url)) as answer:
            page.fill(place, text)
            page.press(place, "Tab")
        assert answer.value.status == 200
    picture(page, "formgrader")
    page.close()
    folder = f"gradebook/{ASSIGNMENT}"
    says = instructor.shell(f"cd unit9 && mg9-course feedback {folder} && mg9-course return {folder}")
    assert re.search(rf"{AMIRA} +43/43 +6/7 +ok", says), says
    assert f"returned to 1 students: {AMIRA}" in says


def reads_the_feedback(student: Person) -> None:
    """Fetch the page and open it."""
    page = student.page
    row = page.locator("#submitted_assignments_list .list_item", has_text=ASSIGNMENT).first
    row.get_by_text("Fetch Feedback").click()
    page.get_by_text("(view feedback)").click()
    file = page.locator(f'.jp-DirListing-item:has-text("{ASSIGNMENT}.html")')
    file.dblclick()
    inside = page.frame_locator("iframe.jp-HTMLViewer, .jp-HTMLViewer iframe")
    inside.get_by_text(COMMENT).wait_for()
    picture(page, "feedback")
