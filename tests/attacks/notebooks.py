"""Attacks that lie in the notebook file or beside it. Each function writes what a student hands in.

`folder` is the student's own, `notebook` the exercise as a dictionary, filled with wrong answers
(answers.toml). The docstring says what is tried; `attack` what is expected.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

Write = Callable[[Path, dict], None]
ATTACKS: list[dict] = []


def attack(name: str, **expected: object) -> Callable[[Write], Write]:
    """Enter an attack; `expected`: verdict, earns, answers, student ... as in the TOML files."""

    def enter(write: Write) -> Write:
        tries = " ".join((write.__doc__ or "").split())
        ATTACKS.append({"name": name, "tries": tries, "write": write} | expected)
        return write

    return enter


def put(folder: Path, notebook: dict, name: str = "target.ipynb") -> None:
    """The notebook as a file."""
    (folder / name).write_text(json.dumps(notebook), encoding="utf-8")


def cell(notebook: dict, name: str) -> dict:
    """The cell with that grade_id."""
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)


def graded(notebook: dict) -> list[dict]:
    """The cells that are graded by a check."""
    locked = [c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("locked")]
    return [c for c in locked if c["metadata"]["nbgrader"]["grade"]]


def text(c: dict) -> str:
    """A cell's source."""
    return "".join(c["source"])


ALL = [f"{question}-{kind}" for question in ("gaussian", "readout") for kind in ("check", "hidden")]
ALL += ["convolution-sum", "convolution-hidden", "families-check", "families-hidden"]


@attack("honest and right", answers="right", earns=ALL, unsandboxed=True)
def honest(folder: Path, notebook: dict) -> None:
    """No attack: right answers beside all the others must score in full."""
    put(folder, notebook)


@attack("right with warnings", answers="right", earns=ALL, unsandboxed=True)
def warnings(folder: Path, notebook: dict) -> None:
    """No attack: warnings and text on stderr in every function, and in graded cells through a hook."""
    noise = "import sys, warnings\nwarnings.warn('deprecated')\nprint('careful', file=sys.stderr)\n"
    hook = "get_ipython().events.register('pre_run_cell', lambda info: print('careful', file=sys.stderr))\n"
    for name in ("gaussian", "readout", "families"):
        c = cell(notebook, name)
        c["source"] = (
            noise
            + (hook if name == "gaussian" else "")
            + text(c).replace("):\n", "):\n    print('careful', file=sys.stderr)\n", 1)
        )
    put(folder, notebook)


@attack("untouched", answers="untouched", unsandboxed=True)
def untouched(folder: Path, notebook: dict) -> None:
    """No attack: the exercise as it was given out scores nothing."""
    put(folder, notebook)


@attack("graded cells are edited", unsandboxed=True)
def edited(folder: Path, notebook: dict) -> None:
    """Each graded cell prints that it passed, and is unlocked."""
    for c in graded(notebook):
        c["source"] = "print('passed')"
        c["metadata"]["nbgrader"]["locked"] = False
    put(folder, notebook)


@attack("graded cells are deleted", unsandboxed=True)
def deleted(folder: Path, notebook: dict) -> None:
    """What is not there cannot fail."""
    gone = graded(notebook)
    notebook["cells"] = [c for c in notebook["cells"] if c not in gone]
    put(folder, notebook)


@attack("graded cells are there twice")
def doubled(folder: Path, notebook: dict) -> None:
    """A copy of each graded cell, with the same ids, that does nothing; above and below the right one."""
    for c in graded(notebook):
        copy = deepcopy(c) | {"source": "pass"}
        place = notebook["cells"].index(c)
        notebook["cells"][place : place + 1] = [deepcopy(copy), c, copy]
    put(folder, notebook)


@attack("cell ids are there twice", unsandboxed=True)
def same_ids(folder: Path, notebook: dict) -> None:
    """All cells have the id of the first, one has none, one has a path for an id."""
    for c in notebook["cells"]:
        c["id"] = notebook["cells"][0]["id"]
    notebook["cells"][3]["id"] = "../../gradebook"
    del notebook["cells"][4]["id"]
    put(folder, notebook)


@attack("graded cells are moved", unsandboxed=True)
def moved(folder: Path, notebook: dict) -> None:
    """Graded cells before the definitions, in reverse order."""
    checks = graded(notebook)
    notebook["cells"] = checks[::-1] + [c for c in notebook["cells"] if c not in checks]
    put(folder, notebook)


@attack("graded cells have another type", unsandboxed=True)
def other_type(folder: Path, notebook: dict) -> None:
    """Graded code cells are handed in as markdown and raw cells, which never fail."""
    for number, c in enumerate(graded(notebook)):
        c["cell_type"] = ("markdown", "raw")[number % 2]
        c.pop("outputs", None), c.pop("execution_count", None)
    put(folder, notebook)


@attack("points are forged", unsandboxed=True)
def forged_points(folder: Path, notebook: dict) -> None:
    """A thousand points a cell, points for cells that had none, negative and endless ones, outputs too."""
    for number, c in enumerate(notebook["cells"]):
        marks = c["metadata"].get("nbgrader")
        if marks:
            marks |= {"points": (1000, 1e308, -5, "NaN")[number % 4], "grade": True, "score": 1000}
    for c in graded(notebook):
        c["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "passed"}]
    put(folder, notebook)


@attack("solutions are declared graded, and graded cells solutions", unsandboxed=True)
def other_roles(folder: Path, notebook: dict) -> None:
    """Roles exchanged: who writes the solution to a test scores by hand or not at all."""
    for c in notebook["cells"]:
        marks = c["metadata"].get("nbgrader")
        if marks:
            marks["grade"], marks["solution"], marks["task"] = marks["solution"], marks["grade"], True
            marks["schema_version"] = 1
    put(folder, notebook)


@attack("tags that skip", unsandboxed=True)
def tags(folder: Path, notebook: dict) -> None:
    """Tags and settings by which tools skip cells or expect errors."""
    for c in notebook["cells"]:
        c["metadata"] |= {"tags": ["skip-execution", "raises-exception", "remove-cell"], "deletable": False}
        c["metadata"] |= {"execution": {"allow_errors": True}, "run_control": {"frozen": True}}
    notebook["metadata"] |= {"execution": {"allow_errors": True}, "nbgrader": {"points": 1000}}
    put(folder, notebook)


@attack("another kernel")
def other_kernel(folder: Path, notebook: dict) -> None:
    """The notebook names another kernel, with a command of its own."""
    spec = {"name": "bash", "language": "bash", "display_name": "x", "argv": ["touch", "@CANARY@/@NAME@"]}
    notebook["metadata"] |= {"kernelspec": spec, "language_info": {"name": "bash"}}
    notebook["metadata"]["jupytext"] = {"main_language": "bash"}
    put(folder, notebook)


@attack("look-alike names", unsandboxed=True)
def look_alike(folder: Path, notebook: dict) -> None:
    """Grade ids with invisible and foreign letters, as lists, numbers and a megabyte of text."""
    odd = ["gaussian-check\u200b", "gauss\u0456an-hidden", ["readout-check"], 7, None, "x" * 1_000_000]
    for c, name in zip(graded(notebook), odd, strict=False):
        c["metadata"]["nbgrader"]["grade_id"] = name
        c["source"] = "print('passed')"
    put(folder, notebook)


@attack("metadata that is no metadata", unsandboxed=True)
def no_metadata(folder: Path, notebook: dict) -> None:
    """nbgrader's entries are lists, numbers, or nested a hundred deep; outputs are not outputs."""
    deep: object = 1
    for _ in range(100):
        deep = {"x": [deep]}
    for c, marks in zip(graded(notebook), ([], 5, "yes", None, deep, {"grade": "perhaps"}), strict=False):
        c["metadata"]["nbgrader"], c["outputs"] = marks, "passed"
    put(folder, notebook)


@attack("JSON nested without end", verdict="too large")
def nested(folder: Path, notebook: dict) -> None:
    """A million brackets."""
    (folder / "target.ipynb").write_text('{"cells": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}")


@attack("JSON with numbers that never end", verdict=None)
def numbers(folder: Path, notebook: dict) -> None:
    """A number of a million digits, one of 10^400, NaN, and the same key a thousand times."""
    raw = json.dumps(notebook)
    odd = f'"a": {"9" * 1_000_000}, "b": 1e400, "c": NaN, ' + '"nbformat": 4, ' * 1000
    (folder / "target.ipynb").write_text("{" + odd + raw[1:])


@attack("a notebook of many cells")
def many_cells(folder: Path, notebook: dict) -> None:
    """Ten thousand empty cells and one of five megabytes."""
    plain = {"cell_type": "markdown", "metadata": {}, "source": "x"}
    notebook["cells"] += [plain | {"id": f"c{n}"} for n in range(10_000)]
    notebook["cells"].append(plain | {"id": "long", "source": "y" * 5_000_000})
    put(folder, notebook)


@attack("a file of 30 MB", verdict="too large")
def large(folder: Path, notebook: dict) -> None:
    """More than a notebook has."""
    cell(notebook, "start")["source"] = "#" + "x" * 30_000_000
    put(folder, notebook)


@attack("a file of a terabyte", verdict="too large")
def sparse(folder: Path, notebook: dict) -> None:
    """A sparse file: it takes no room on the disk, and all memory of who reads it."""
    with (folder / "target.ipynb").open("wb") as file:
        try:
            file.truncate(1 << 40)
        except OSError:  # a file system without such files
            file.truncate(1 << 31)


@attack("a file that never ends", verdict="not a file")
def fifo(folder: Path, notebook: dict) -> None:
    """A named pipe and a folder where the notebook should be: who opens the pipe waits for ever."""
    os.mkfifo(folder / "target.ipynb")
    (folder / "target (2).ipynb").mkdir()


@attack("another encoding", verdict="ok")
def utf_16(folder: Path, notebook: dict) -> None:
    """UTF-16 with a byte order mark."""
    (folder / "target.ipynb").write_bytes(json.dumps(notebook).encode("utf-16"))


@attack("a byte order mark and line ends", answers="right", earns=ALL)
def byte_order_mark(folder: Path, notebook: dict) -> None:
    """No attack: UTF-8 with a mark, carriage returns and non-ASCII text is read."""
    cell(notebook, "start")["source"] = "# größe, Å, 原子\r\nname = 'Ünïcode'\r\n"
    (folder / "target.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook, ensure_ascii=False).encode())


@attack("letters that are none", verdict=None)
def surrogates(folder: Path, notebook: dict) -> None:
    """Lone surrogates, NUL, form feeds and text that runs from right to left in sources and names."""
    cell(notebook, "start")["source"] = "# \ud800 \u202e \x00 \x0c\n"
    cell(notebook, "words")["source"] = "It decides. \ud83d \u202egnp.exe"
    put(folder, notebook)


@attack(
    "a syntax error",
    answers="right",
    earns=[name for name in ALL if not name.startswith("readout")],  # costs its own question
    unsandboxed=True,
)
def syntax_error(folder: Path, notebook: dict) -> None:
    """No attack: a syntax error costs its own question."""
    cell(notebook, "readout")["source"] = "def mean_readout(contributions batch:\n"
    put(folder, notebook)


@attack("an old format", answers="right", earns=ALL)
def old_format(folder: Path, notebook: dict) -> None:
    """No attack: format 4.0, without cell ids, and a minor version from the future."""
    for c in notebook["cells"]:
        c.pop("id", None)
    notebook |= {"nbformat_minor": 99}
    put(folder, notebook)


@attack("a format that does not exist", verdict=None)
def no_format(folder: Path, notebook: dict) -> None:
    """Format -1, and cells whose source is a list of numbers."""
    notebook["nbformat"] = -1
    for c in notebook["cells"]:
        c["source"] = [1, None, {"a": "b"}]
    put(folder, notebook)


@attack("markup in the prose", absent=["<script>alert", "onerror=alert"], unsandboxed=True)
def markup(folder: Path, notebook: dict) -> None:
    """Scripts in the written answer, in attachments and in outputs, for the instructor's browser."""
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    cell(notebook, "words")["source"] = f"It decides. {script}"
    cell(notebook, "words")["attachments"] = {"a.svg": {"image/svg+xml": script}}
    for c in graded(notebook):
        html = {"output_type": "display_data", "data": {"text/html": script}, "metadata": {}}
        c["outputs"] = [html]
    put(folder, notebook)


@attack("a name that is a command", student="$(touch pwned); -rf `id` '", answers="right", earns=ALL)
def command_name(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that a shell would run."""
    put(folder, notebook)


@attack("a name that is a formula", student="=HYPERLINK(1)", absent=["\n=HYPERLINK"])
def formula_name(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that a spreadsheet would compute."""
    put(folder, notebook)


@attack("another one's notebook", verdict="link")
def linked(folder: Path, notebook: dict) -> None:
    """The notebook is a link to the one of a student who is right."""
    (folder / "target.ipynb").symlink_to(folder.parents[1] / "honest and right" / "target" / "target.ipynb")


@attack("a time before the deadline that is none")
def forged_time(folder: Path, notebook: dict) -> None:
    """The time stamp is a link to a secret, and ten megabytes long in another place."""
    (folder / "timestamp.txt").symlink_to("@CANARY@/secret.txt")
    (folder / "late.txt").write_bytes(b"0" * 10_000_000)
    put(folder, notebook)


@attack("several notebooks")
def several(folder: Path, notebook: dict) -> None:
    """A hundred more files, some of which are nearly notebooks."""
    put(folder, notebook)
    for number in range(100):
        (folder / f"target ({number}).ipynb").write_text('{"cells": [' * (number % 3))


@attack("a name that is no text", student="zo\udceb", answers="right", verdict="folder name")
def name_of_bytes(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that is not UTF-8, as old archives unpack it."""
    put(folder, notebook)


@attack("a name that a terminal obeys", student="zoë\x1b[2J\nbruno  9 of 9  ok", verdict="folder name")
def name_of_controls(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that clears the screen and puts a line of its own into the table."""
    put(folder, notebook)


@attack("a name without end", student="x" * 255, verdict="folder name")
def long_name(folder: Path, notebook: dict) -> None:
    """The student's folder has the longest name that there is, so that no page can be called after it."""
    put(folder, notebook)


@attack("a name that is markup", student="<img src=x onerror=prompt(1)>", absent=['row"><img', "<h1><img"])
def name_of_markup(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that a browser would run."""
    put(folder, notebook)


@attack("a name that is a pattern", student="{student_id}+target+2026 %(x)s \\d+", verdict="folder name")
def name_of_patterns(folder: Path, notebook: dict) -> None:
    """The student's folder has a name that format strings and regular expressions would read."""
    put(folder, notebook)


@attack("files whose names are no text", answers="right", earns=ALL, verdict="ok")
def names_of_files(folder: Path, notebook: dict) -> None:
    """Other notebooks with names that are not UTF-8, of control characters, and very long."""
    put(folder, notebook)
    for name in ("zo\udceb.ipynb", "\x1b[2J\nbruno  9 of 9  ok.ipynb", f"{'y' * 240}.ipynb", "\u202ebnypi.x"):
        (folder / name).write_text("{}")


@attack("many files beside the notebook", answers="right", earns=ALL, verdict="ok")
def many_files(folder: Path, notebook: dict) -> None:
    """No attack: a hundred pictures whose names come before that of the notebook."""
    put(folder, notebook)
    for number in range(100):
        (folder / f"a{number:02d}.png").write_bytes(b"\x89PNG")


@attack("cells that take long to read", answers="right", earns=ALL)
def long_to_read(folder: Path, notebook: dict) -> None:
    """Six hundred line magics, and a text with 100,000 fields: for who reads the code."""
    place = notebook["cells"].index(cell(notebook, "start"))
    plain = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    for number, source in enumerate(["!true\n" * 600, f"x = f'{'{1}' * 100_000}'"]):
        notebook["cells"].insert(place, plain | {"id": f"r{number}", "source": source})
    put(folder, notebook)


@attack("pictures without end", answers="right", earns=ALL, verdict="ok")
def many_pictures(folder: Path, notebook: dict) -> None:
    """Thirty cells with fifty pictures of a megabyte each: 1.5 GB for who keeps them."""
    place = notebook["cells"].index(cell(notebook, "start"))
    source = "from IPython.display import display\nfor _ in range(50):\n"
    source += "    display({'image/png': 'iVBORw0KGgo' + 'A' * 900_000}, raw=True)"
    plain = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
    notebook["cells"][place:place] = [plain | {"id": f"p{n}"} for n in range(30)]
    put(folder, notebook)


@attack("right code with one warning", kind="warning", answers="right", earns=ALL, unsandboxed=True)
def one_warning(folder: Path, notebook: dict) -> None:
    """No attack: right functions, each of which gives a warning when a graded cell calls it."""
    # Python shows a text once for each line, hence the time in it.
    warn = (
        "import time, warnings\n{0}warnings.warn(f'this will be removed {{time.time()}}', stacklevel=2)\n{0}"
    )
    for name in ("gaussian", "readout", "families"):
        c = cell(notebook, name)
        c["source"] = text(c).replace("):\n    ", "):\n    " + warn.format("    "), 1)
    layer, head = cell(notebook, "convolution"), "def forward(self, v, u, edge_index):\n        "
    layer["source"] = text(layer).replace(head, head + warn.format("        "), 1)
    assert all("warnings.warn" in text(cell(notebook, name)) for name in ("families", "convolution"))
    put(folder, notebook)
