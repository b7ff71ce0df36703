"""The course in a hub, as a class uses it, in Chromium; and what students must not reach there."""

from __future__ import annotations

import pytest
from browser import CHROMIUM, FLAGS, Hub, Person, needs_hub

AMIRA, BRUNO, INES = "mg9-amira", "mg9-bruno", "mg9-ines"  # two students and an instructor


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The hub, until the last test here."""
    hub = Hub(tmp_path_factory.mktemp("hub") / "hub.log", "--budget", "tiny")
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
