"""People who use a hub in Chromium. Waits are for conditions, never for a while."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hubs import NO_HUB, PATIENCE
from PIL import Image

from course.hub.running import Hub

TRAINING = 4 * PATIENCE  # for what runs a whole notebook
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]
FLAGS += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# The terminal reports each exit code in a control sequence that it does not show.
TELL_CODE = r"""PROMPT_COMMAND='printf "\e]777;exit code %d .\a" $?'; clear"""
CODE = re.compile(r"\]777;exit code (\d+) \.")
NO_BROWSER = "" if CHROMIUM else "needs Chromium: make browser, or install the package chromium"
WHY_NOT = NO_BROWSER or NO_HUB
needs_hub = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "there is one")


def picture(page, name: str, colours: int = 48) -> None:
    """Keep a picture of the screen for the README, if MG9_SCREENS names a folder."""
    if folder := os.environ.get("MG9_SCREENS"):
        screen = Image.open(BytesIO(page.screenshot()))
        screen.convert("RGB").quantize(colours).save(Path(folder, f"{name}.png"), optimize=True)


class Person:
    """Somebody who is logged in, with one page of JupyterLab."""

    def __init__(self, browser, hub: Hub, name: str) -> None:
        self.hub, self.name = hub, name
        self.context = browser.new_context(viewport={"width": 1100, "height": 720})
        self.context.set_default_timeout(PATIENCE * 1000)
        self.elsewhere: list[str] = []  # addresses that a page wanted from beyond the hub
        self.context.on("request", self._notice)
        self.page = self.context.new_page()
        self.page.goto(hub.url)
        self.page.fill("#username_input", name)
        self.page.fill("#password_input", hub.passwords[name])
        self.page.click("#login_submit")
        self.page.wait_for_selector('.lm-MenuBar-itemLabel:text-is("Nbgrader")')

    def _notice(self, request) -> None:
        if not request.url.startswith((self.hub.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def address(self, path: str) -> str:
        """Of something on this person's server."""
        return f"{self.hub.url}/user/{self.name}/{path}"

    def menu(self, *names: str) -> None:
        """Choose from JupyterLab's menu."""
        first, *others = names
        self.page.click(f'.lm-MenuBar-itemLabel:text-is("{first}")')
        for name in others:
            begins = re.compile(f"^{re.escape(name)}")  # "Shut Down Terminal" is another item
            self.page.locator(".lm-Menu-itemLabel:visible", has_text=begins).first.click()

    def ask(self, path: str, method: str = "GET", body: object = None) -> tuple[int, object]:
        """(status, answer) of this person's server, asked from the page."""
        script = """async ([url, method, body]) => {
            const xsrf = document.cookie.split('; ').find(c => c.startsWith('_xsrf='));
            const headers = {'X-XSRFToken': xsrf ? xsrf.slice(6) : ''};
            const answer = await fetch(url, {method, headers, body: body && JSON.stringify(body)});
            const text = await answer.text();
            let json = null; try { json = JSON.parse(text); } catch {}
            return [answer.status, json ?? text];
        }"""
        status, answer = self.page.evaluate(script, [self.address(path), method, body])
        return status, answer

    def read(self, path: str) -> object:
        """The content of a file in the home."""
        status, answer = self.ask(f"api/contents/{path}?content=1")
        assert status == 200, (path, status, answer)
        return answer["content"]

    def open(self, path: str) -> Notebook:
        """Open a notebook that exists."""
        self.page.goto(self.address(f"lab/tree/{path}"))
        self.page.wait_for_selector(".jp-NotebookPanel:visible .jp-Cell")
        self.page.wait_for_selector('#jp-main-statusbar :text("| Idle")')
        return Notebook(self, path)

    def shell(self, command: str, patience: float = PATIENCE) -> str:
        """What a command prints that is typed into a new terminal. Fails if its exit code is not 0."""
        frames: list[str] = []

        def listen(socket) -> None:
            if "terminals/websocket" in socket.url:
                socket.on("framereceived", lambda payload: frames.append(_stdout(payload)))

        def enter(words: str, patience: float = PATIENCE) -> re.Match:
            """Type a line; the end of it is the next prompt's."""
            frames.clear()
            self.page.keyboard.insert_text(words)
            self.page.keyboard.press("Enter")
            self.wait(lambda: CODE.search("".join(frames)), words, patience)
            return CODE.search("".join(frames))

        self.page.on("websocket", listen)
        self.menu("File", "New", "Terminal")
        self.wait(lambda: "$" in "".join(frames), "a prompt")
        self.page.locator(".jp-Terminal:visible").last.click()
        enter(TELL_CODE)
        code = enter(command, patience)
        self.page.remove_listener("websocket", listen)
        printed = "".join(frames)
        assert code[1] == "0", printed
        return printed

    def kernel(self, code: str) -> list[str]:
        """The lines that code prints in a kernel, in a notebook of its own."""
        return self.run(code).printed("probe").strip().splitlines()

    def run(self, code: str) -> Notebook:
        """A notebook of its own with one cell, which has run."""
        cell = {"cell_type": "code", "source": code, "metadata": {"nbgrader": {"grade_id": "probe"}}}
        cell |= {"outputs": [], "execution_count": None, "id": "probe"}
        kind = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        content = {"cells": [cell], "metadata": kind, "nbformat": 4, "nbformat_minor": 5}
        body = {"type": "notebook", "format": "json", "content": content}
        name = f"probe{hash(code) % 1000}.ipynb"
        status, answer = self.ask(f"api/contents/{name}", "PUT", body)
        assert status == 201, answer
        notebook = self.open(name)
        notebook.run_all()
        return notebook

    def wait(self, condition, what: str, patience: float = PATIENCE) -> None:
        """Wait until something that the page reports is so. Raises `TimeoutError`."""
        end = time.monotonic() + patience
        while not condition():
            if time.monotonic() > end:
                self.page.screenshot(path=self.hub.log.with_name("late.png"))
                raise TimeoutError(f"waited {patience} s for {what}; see {self.hub.log.parent}")
            self.page.wait_for_timeout(100)  # in which the page's events arrive


def _stdout(payload: str | bytes) -> str:
    words = json.loads(payload)
    return words[1] if words[0] == "stdout" else ""


class Notebook:
    """The notebook that is open. JupyterLab keeps only cells near the visible part in the page."""

    def __init__(self, person: Person, path: str) -> None:
        self.person, self.page, self.path = person, person.page, path
        self.panel = self.page.locator(".jp-NotebookPanel:visible")
        self.cells = person.read(path)["cells"]
        names = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in self.cells]
        code = [number for number, cell in enumerate(self.cells) if cell["cell_type"] == "code"]
        self.place = {name: number for number, name in enumerate(names) if name}
        self.last = "the last cell with code"
        self.first = "the first cell with code"
        self.place |= {self.first: code[0], self.last: code[-1]}

    def cell(self, number: int):
        """The cell, brought into view."""
        found = self.panel.locator(f'.jp-Cell[data-windowed-list-index="{number}"]')
        end = time.monotonic() + PATIENCE
        while not found.count() and time.monotonic() < end:
            self.panel.evaluate(
                """(panel, number) => {
                    const seen = [...panel.querySelectorAll('.jp-Cell')].filter(c => c.offsetParent);
                    const first = Number(seen[0].dataset.windowedListIndex);
                    panel.querySelector('.jp-WindowedPanel-outer').scrollBy(0, number < first ? -400 : 400);
                    return new Promise(requestAnimationFrame);
                }""",
                number,
            )
        found.scroll_into_view_if_needed()
        return found

    def write(self, name: str, text: str) -> None:
        """Type over the content of a cell."""
        cell = self.cell(self.place[name])
        if "jp-MarkdownCell" in cell.get_attribute("class"):
            cell.dblclick()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def run_all(self) -> None:
        """Restart the kernel and run all cells; returns when the last one has run.

        A kernel to which the page is only just connected may lose what it is sent: then once more.
        """
        done, end = "Restart Kernel and Run All Cells", time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.person.menu("Kernel", done)
            self.page.click(".jp-Dialog .jp-mod-accept")
            with suppress(TimeoutError):
                self.person.wait(lambda: self.prompt(self.first).strip("[]: "), "the first cell", 20)
                return self.person.wait(lambda: self.number(self.last) is not None, "the last cell", TRAINING)
        raise TimeoutError("no cell runs")

    def run(self, name: str) -> str:
        """Run a cell and return what it prints."""
        cell = self.cell(self.place[name])
        before = self.number(name)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        self.person.wait(lambda: self.number(name) not in (before, None), f"{name} to run")
        return self.printed(name)

    def number(self, name: str) -> int | None:
        """How many cells had run when this one had; None while it waits or runs."""
        found = re.search(r"\[(\d+)\]", self.prompt(name))
        return int(found[1]) if found else None

    def prompt(self, name: str) -> str:
        """What stands beside a cell: "[ ]:" if it has not run, "[*]:" while it runs or waits, "[3]:"."""
        return self.cell(self.place[name]).locator(".jp-InputPrompt").first.text_content()

    def printed(self, name: str) -> str:
        """The output of a cell."""
        return "\n".join(self.cell(self.place[name]).locator(".jp-OutputArea-output").all_text_contents())
