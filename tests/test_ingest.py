"""Whatever a student hands in gets a verdict in words, and what can be graded is graded."""

from __future__ import annotations

import json
import os

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_notebook
from waves import RIGHT, answered, cell

from course.grader import reading
from course.grader.form import read_source
from course.grader.ingest import find_submissions, ingest, stage

OTHERS = {"gaps": {"gap-1", "gap-2"}}


@pytest.fixture
def read(root, tmp_path):
    """Write files of one student, then ingest them."""
    source = read_source(root, "waves")

    def ingested(**files: bytes | str):
        for name, content in files.items():
            file = tmp_path / "class" / "s" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = find_submissions(tmp_path / "class", "waves", OTHERS)
        return ingest("s", found["s"], "waves", source, OTHERS)

    return ingested


def text(root, **answers) -> str:
    return json.dumps(answered(root, **answers))


def sources(submission) -> list[str]:
    return [c.source for c in submission.notebook.cells]


def test_repairs_are_reported(graded):
    notes = graded.marks["tampered"]["notes"]
    assert "cell envelope was there twice" in notes
    assert "cell envelope-values was changed" in notes
    assert "graded cell energy-sum was deleted and is put back" in notes
    assert graded.marks["right"]["notes"] == ""


def test_submissions_are_untouched(graded):
    after = {
        file: (file.read_bytes(), file.stat().st_mtime_ns)
        for file in graded.folder.rglob("*")
        if file.is_file()
    }
    assert after == graded.before
    assert sorted(place.name for place in graded.root.iterdir()) == ["exercises", "solutions"]


def test_an_old_format_is_upgraded(root, read):
    old = read(**{"waves.ipynb": json.dumps(nbformat.convert(answered(root, **RIGHT), 3))})
    assert old.verdict == "ok" and "an old notebook format was upgraded" in old.notes
    assert RIGHT["energy"] in sources(old)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
def test_encodings_are_named_and_read(root, read, encoding):
    answer = "# die Fläche\ndef energy(r): ..."
    content = json.dumps(answered(root, energy=answer), ensure_ascii=False).encode(encoding)
    submission = read(**{"waves.ipynb": content})
    assert submission.verdict == "ok" and answer in sources(submission)
    said = {"utf-8-sig": "", "latin-1": "not UTF-8 (byte", "utf-32": "UTF-32", "utf-16-le": "UTF-16-LE"}
    named = said.get(encoding, "UTF-16")
    assert named in "".join(submission.notes) and (named or not submission.notes)


BAD = {
    "bytes": (bytes(range(1, 256)) * 9, "not text", "byte 128 is not UTF-8 text"),
    "empty": (b" \n", "empty file", "2 bytes"),
    "deep": ('{"cells": ' + "[" * 90_000, "not JSON", "nested too deeply"),
    "lists": ("[" + "[]," * 1_000_001 + "[]]", "too large", "too many lists"),
    "digits": ('{"cells": [' + "9" * 5000 + "]}", "not JSON", "is not valid JSON"),
    "cells": (json.dumps({"cells": [{}] * 2001}), "too large", "2001 cells"),
    "large": (b" " * (reading.LARGEST + 1), "too large", "20 MB"),
    "odd": (json.dumps({"cells": [{"cell_type": "code", "source": None}, 5]}), "wrong assignment", "none of"),
    "v3": (json.dumps({"worksheets": [1]}), "unreadable", "could not be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_graded_has_a_verdict(read, case):
    content, verdict, says = BAD[case]
    submission = read(**{"waves.ipynb": content})
    assert submission.notebook is None and submission.verdict == verdict and says in submission.says


STRANGERS = {
    "waves.pdf": (b"%PDF-1.7 ...", "waves.pdf is a PDF"),
    "waves.zip": (b"PK\x03\x04...", "waves.zip is a zip archive: unpack it"),
    "waves.py": (b"import numpy\n", "waves.py is a Python file"),
    "waves.html": (b"<!doctype html>", "waves.html is a web page"),
    "waves.docx": (b"\0\1\2", "waves.docx is no notebook"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_notebook_is_named(read, name):
    content, says = STRANGERS[name]
    submission = read(**{name: content})
    assert submission.verdict == "missing"
    assert submission.says == f"no notebook of waves was handed in; {submission.says.split('; ', 1)[1]}"
    assert says in submission.says


@pytest.mark.parametrize("name", ["mine.ipynb", "waves.ipynb.txt", "homework/mine.ipynb", "waves/a/b.json"])
def test_a_renamed_notebook_is_recognised_by_its_cells(root, read, name):
    submission = read(**{name: text(root, **RIGHT), "notes.txt": "see my notebook"})
    assert submission.verdict == "renamed" and RIGHT["energy"] in sources(submission)


def test_the_notebook_of_another_assignment_is_named_and_its_folder_left_alone(root, read, tmp_path):
    other = json.dumps(new_notebook(cells=[cell("1", "gap-1", solution=True)]))
    assert "is the notebook of gaps" in read(**{"waves.ipynb": other}).says
    (tmp_path / "class" / "s" / "waves.ipynb").unlink()
    assert read(**{"gaps/gaps.ipynb": other}).says == "no notebook of waves was handed in"


@pytest.mark.parametrize("where", ["s/waves.ipynb", "s/waves", "s"])
def test_links_are_never_followed(root, tmp_path, where):
    outside = tmp_path / "other" / "waves"
    outside.mkdir(parents=True)
    (outside / "waves.ipynb").write_text(text(root, **RIGHT))
    link = tmp_path / "class" / where
    link.parent.mkdir(parents=True)
    target = {"waves.ipynb": outside / "waves.ipynb", "waves": outside, "s": outside}[link.name]
    link.symlink_to(target)
    files = find_submissions(tmp_path / "class", "waves")["s"]
    submission = ingest("s", files, "waves", read_source(root, "waves"), {})
    assert submission.verdict == "link" and "links are not followed" in submission.says


def test_a_pipe_does_not_hold_the_class_up(root, tmp_path):
    (tmp_path / "class" / "s").mkdir(parents=True)
    os.mkfifo(tmp_path / "class" / "s" / "waves.ipynb")
    files = find_submissions(tmp_path / "class", "waves")["s"]
    assert ingest("s", files, "waves", read_source(root, "waves"), {}).verdict == "not a file"


def test_times_of_submission(root, read):
    late = read(**{"waves.ipynb": text(root), "timestamp.txt": "yesterday, I think"})
    assert "holds no time" in late.notes[0] and late.timestamp == ""
    good = read(**{"timestamp.txt": "2026-11-30 23:59:30.5 Europe/Berlin"})
    assert good.timestamp == "2026-11-30 23:59:30.5 Europe/Berlin" and not good.notes


def test_a_deleted_or_emptied_answer_counts_as_not_given(root, read):
    """nbgrader gives it no points; an empty cell would wait for a person."""
    assert "YOUR ANSWER HERE" in sources(read(**{"waves.ipynb": text(root, why=" \n")}))
    notebook = answered(root)
    notebook.cells = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "why"]
    deleted = read(**{"waves.ipynb": json.dumps(notebook)})
    assert "YOUR ANSWER HERE" in sources(deleted)
    assert "graded cell why was deleted and is put back" in deleted.notes


def test_half_a_surrogate_pair_can_be_written(root, read, tmp_path):
    submission = read(**{"waves.ipynb": text(root, energy="ENERGY").replace("ENERGY", "# \\ud83d")})
    stage(submission, tmp_path / "marks")
    assert "# ?" in sources(submission)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["code", "markdown", "source"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["cells", "cell_type", "source", "metadata", "nbgrader", "grade_id", "attachments"]
            )
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cells=st.lists(JSON, max_size=5), changes=st.dictionaries(st.integers(0, 9), JSON, max_size=3))
def test_any_json_becomes_a_verdict_or_a_notebook_that_can_be_written(root, tmp_path, cells, changes):
    """Arbitrary cells among those of the assignment: no exception, graded cells as the course wrote them."""
    source = read_source(root, "waves")
    content = json.loads(text(root))
    for number, change in changes.items():
        content["cells"][number]["metadata"] = change
    content["cells"] += cells
    file = tmp_path / "waves.ipynb"
    file.write_text(json.dumps(content))
    submission = ingest("s", [file], "waves", source, {})
    if submission.notebook is None:
        assert submission.verdict == "wrong assignment"
        return
    stage(submission, tmp_path)
    marked = [c for c in submission.notebook.cells if "nbgrader" in c.metadata]
    assert len({c.metadata.nbgrader.grade_id for c in marked}) == len(marked)
    there = {c.metadata.nbgrader.grade_id: c.source for c in marked}
    for c in source.cells:
        if c.metadata.get("nbgrader", {}).get("points") and c.cell_type == "code":
            assert there[c.metadata.nbgrader.grade_id] == c.source
