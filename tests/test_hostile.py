"""What the grader itself reads of a student, outside of any sandbox: code, names, outputs, replies."""

from __future__ import annotations

import json
import os

import pytest
from jupyter_client.session import Session
from nbformat.v4 import new_output
from waves import RIGHT, answered

from course.grader import definitions, exchange, outputs
from course.grader.definitions import LONGEST, defined, parsed, repeatable
from course.grader.form import read_source
from course.grader.ingest import MOST_FILES, find_submissions, ingest
from course.grader.kernel import LARGEST_JSON, Kernel
from course.grader.outputs import Room, plain

SIGNS = "-" * 900 + "1"  # the parser takes it; functions that call themselves do not
DECORATED = "@(\n    cache\n)\n@wraps(f)\ndef g():\n    return 1\n"
CELLS = {  # source: (names that it gives a value, what is run again after a death)
    "!true\n" * 600 + "x = 1": ({"x"}, "x = 1"),
    "files = !ls\ny = 2": ({"files", "y"}, "y = 2"),
    "%time f()\ndef g():\n    pass": ({"g"}, "def g():\n    pass"),
    "%%time\ndef f():\n    pass": ({"f"}, "def f():\n    pass"),
    "%matplotlib inline\ns = '''\n%d'''": ({"s"}, "s = '\\n%d'"),
    "if True:\n    !ls\n    q = 2": ({"q"}, ""),
    "print?\n  \nz = 1": ({"z"}, "z = 1"),
    ">>> a = 1\n>>> b = 2": ({"a", "b"}, "a = 1\nb = 2"),
    "  a = 1\n  b = 2": ({"a", "b"}, "a = 1\nb = 2"),
    "x = 5 %\\\n 3": ({"x"}, ""),
    "total = " + " + ".join(["0.1"] * 600): ({"total"}, ""),
    f"y = [t := {SIGNS}]": ({"y", "t"}, ""),
    f"x = {SIGNS}; f(x); z = 'é'; w = 3": ({"x", "z", "w"}, f"x = {SIGNS}\nz = 'é'\nw = 3"),
    f"{DECORATED}f(x)\nx = {SIGNS}": ({"g", "x"}, f"{DECORATED}x = {SIGNS}"),
    f"%time f()\ndef g():\n    !ls\n    return {SIGNS}": ({"g"}, f"def g():\n    pass\n    return {SIGNS}"),
    f"x = 0x{'f' * 5000}": ({"x"}, f"x = 0x{'f' * 5000}"),
}


@pytest.mark.parametrize("source", CELLS)
def test_magics_are_read_without_ipython(source):
    assert parsed(source)[1] == ""
    assert (defined(source), repeatable(source)) == CELLS[source]


def test_a_line_of_spaces_is_read_in_a_time_that_grows_with_its_length():
    """If it grew with the square, this line would take hours."""
    assert definitions.MAGIC.match(" " * 2_000_000 + "a b\n") is None
    assert definitions.MAGIC.match(" " * 2_000_000 + "a, b" + " " * 2_000_000 + "c\n") is None
    assert definitions.MAGIC.match("  a, b = !ls\n").groups() == ("  ", "a, b =")
    spaces = "if 1:\n" + " " * (LONGEST - 100) + "a b\n"
    assert defined(spaces) == set() and parsed(spaces)[0] is None


def test_a_cell_is_read_once_for_what_it_defines_and_why_it_cannot_be_read(monkeypatch):
    read = []
    monkeypatch.setattr(
        definitions.ast, "parse", lambda text: read.append(text) or compile(text, "", "exec", 1024)
    )
    for source in ("first = 1", "second = (1"):
        defined(source), parsed(source)
    assert [text.strip() for text in read] == ["first = 1", "second = (1"]


def test_a_cell_that_is_too_long_is_not_read_but_its_names_are_known():
    source = "value = 1\n" + "#" * LONGEST
    assert parsed(source) == (None, f"it is longer than {LONGEST:,} characters")
    assert defined(source) == {"value"} and repeatable(source) == ""


def test_what_a_terminal_would_obey_is_not_in_a_text():
    assert plain("a\x1b[31mred\x1b[0m\x9b2J\u202eb\ud800\n\tc") == "ared2Jb\n\tc"


def test_the_outputs_of_a_notebook_have_an_end(monkeypatch):
    monkeypatch.setattr(outputs, "ROOM", 1000)
    room, short = Room(), [new_output("stream", text="x" * 300)]
    assert room.fit(short) is short and room.fit(short) is short
    error = new_output("error", ename="ValueError", evalue="no", traceback=["y" * 900])
    cut, kept = room.fit([*short, error])
    assert "cut" in cut.text and (kept.ename, kept.evalue, kept.traceback) == ("ValueError", "no", [])


class Line:
    """A socket on which one message waits."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    def recv_multipart(self, flags: int) -> list[bytes]:
        """The message."""
        return self.parts


@pytest.mark.parametrize("size", [10, LARGEST_JSON])
def test_a_reply_that_would_take_much_memory_is_refused_in_words(size):
    kernel = Kernel.__new__(Kernel)
    kernel.session = Session(key=b"key")
    message = kernel.session.msg("mg9_reply", {"value": "x" * size}, parent={"msg_id": "1"})
    content = kernel._receive(Line(kernel.session.serialize(message)))["content"]
    if size == 10:
        assert content == {"value": "x" * 10}
    else:
        assert content["failure"]["state"] == "refused" and "too long" in content["failure"]["what"]


NAMES = [
    "zo\udceb",
    "zoë\x1b[2J\nbruno 9 of 9",
    "x" * 255,
    "back\\slash",
    "a[b]",
    "\u202ebnypi",
    "ordinary ",
    "ordinary  ",
    " zoë",
]


def test_names_that_cannot_be_written_are_verdicts_and_no_two_students_become_one(root, tmp_path):
    for name in (*NAMES, "x" * 254, "ordinary", "zoë"):
        (tmp_path / name / "waves").mkdir(parents=True)
        (tmp_path / name / "waves" / "waves.ipynb").write_text(json.dumps(answered(root, **RIGHT)))
    source, found = read_source(root, "waves"), find_submissions(tmp_path, "waves")
    submissions = [ingest(student, files, "waves", source, {}) for student, files in found.items()]
    assert len(submissions) == len(NAMES) + 3
    assert {one.student for one in submissions if one.verdict == "ok"} == {"ordinary", "zoë"}
    assert {one.verdict for one in submissions} == {"ok", "folder name"}
    for one in submissions:
        assert one.student.isprintable() and one.student == one.student.strip()
        assert len(f"{one.student}.html".encode()) < 256


def test_names_of_files_can_be_printed_and_the_notebook_is_found_among_many(root, tmp_path):
    folder = tmp_path / "amira" / "waves"
    folder.mkdir(parents=True)
    (folder / "waves.ipynb").write_text(json.dumps(answered(root, **RIGHT)))
    for name in ("zo\udceb.ipynb", "\x1b[2J\nbruno.ipynb", *(f"a{n:03}.png" for n in range(2 * MOST_FILES))):
        (folder / name).write_text("{}")
    files = find_submissions(tmp_path, "waves")["amira"]
    one = ingest("amira", files, "waves", read_source(root, "waves"), {})
    assert one.verdict == "ok" and len(files) == MOST_FILES
    assert "zo\\udceb.ipynb" in one.notes[-1] and all(note.isprintable() for note in one.notes)


def test_nobody_waits_for_a_pipe_where_pages_are_given_back(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert exchange._content(tmp_path / "pipe") == b""
