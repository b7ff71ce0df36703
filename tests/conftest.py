"""What every test run prints at its end, and the small class that tests of the grader share."""

import sys
import time
from types import SimpleNamespace

import pytest
import waves

from course import registry


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(registry.summary())


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """The checks of `waves`, as an installed package provides them."""
    place = tmp_path_factory.mktemp("plugin")
    waves.install_checks(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(place), *sys.path])
        patch.setenv("PYTHONPATH", str(place), prepend=":")
        yield place


@pytest.fixture(scope="session")
def root(plugin, tmp_path_factory):
    """The course, with exercises/ built."""
    return waves.make_course(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="session")
def graded(root, tmp_path_factory):
    """The class of `waves.submissions`, graded once. Tests that change marks work on a copy."""
    folder, out = tmp_path_factory.mktemp("submitted"), tmp_path_factory.mktemp("marks")
    waves.hand_in(root, folder)
    (out / "submitted").mkdir()
    (out / "submitted" / "blocked").write_text("a file where nbgrader needs a folder")
    before = {
        file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()
    }
    start = time.monotonic()
    code, printed = waves.run("--root", root, "grade", folder, "--out", out, "--seed", 7)
    print(printed, f"{time.monotonic() - start:.0f} s")
    return SimpleNamespace(
        code=code,
        printed=printed,
        marks=waves.marks(out),
        folder=folder,
        out=out,
        before=before,
        root=root,
        pages={file.stem: file.read_text() for file in (out / "feedback").glob("*.html")},
    )
