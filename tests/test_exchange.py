"""What a class hands in through the exchange: folders that students made, as they should not."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
from importlib.machinery import ModuleSpec
from pathlib import Path

import nbformat
import pytest
from traitlets.config import Config, PyFileConfigLoader

from course.grader import exchange
from course.grader.ingest import FolderError

ROOT = Path(__file__).parents[1]
HUB = ROOT / "course" / "hub"
EARLY, LATE, LATER = (f"2026-11-0{day} 10:00:00.000000 UTC" for day in (1, 2, 3))


@pytest.fixture
def inbound(root, tmp_path, monkeypatch) -> Path:
    """Where students of the small course hand in; `root` is its folder."""
    monkeypatch.setenv("MG9_EXCHANGE", str(tmp_path / "exchange"))
    with pytest.raises(FolderError, match="there is no exchange at .*MG9_EXCHANGE"):
        exchange.release(root, ["waves"])
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange").chmod(0o777)
    assert exchange.release(root, ["waves"]) == ["waves"]
    monkeypatch.setattr(exchange, "_owner", lambda place: "amira" if "amira" in place.name else "bruno")
    return tmp_path / "exchange" / "mg9" / "inbound"


def hand_in(inbound: Path, name: str, text: str = "{}", when: str = EARLY) -> Path:
    place = inbound / f"{name}+waves+{when}+x"
    place.mkdir()
    (place / "waves.ipynb").write_text(text)
    (place / "timestamp.txt").write_text(when)
    return place


def collected(root: Path, tmp_path: Path) -> tuple[list[str], Path]:
    course = tmp_path / "course"
    course.mkdir(exist_ok=True)
    return exchange.collect(course, "waves"), course / "submitted"


def test_students_fetch_what_is_released_and_cannot_list_what_is_handed_in(inbound, root):
    there = inbound.parent / "outbound" / "waves" / "waves.ipynb"
    assert (
        nbformat.read(there, 4).cells == nbformat.read(root / "exercises" / "waves" / "waves.ipynb", 4).cells
    )
    mode = stat.S_IMODE(inbound.stat().st_mode)
    assert mode & 0o1777 == 0o1733, oct(mode)
    with pytest.raises(FolderError, match="mg9-course build magpie"):
        exchange.release(root, ["magpie"])


def test_the_latest_of_each_student_is_collected(inbound, root, tmp_path):
    hand_in(inbound, "amira", "first")
    hand_in(inbound, "amira", "second", LATE)
    hand_in(inbound, "bruno", "other")
    says, submitted = collected(root, tmp_path)
    assert [line.split(";")[0] for line in says] == ["amira: collected", "bruno: collected"]
    assert (submitted / "amira" / "waves" / "waves.ipynb").read_text() == "second"
    assert (submitted / "bruno" / "waves" / "timestamp.txt").read_text() == EARLY
    assert collected(root, tmp_path)[0] == ["nothing newer of 2 who were collected before"]


def test_a_folder_in_anothers_name_replaces_nothing(inbound, root, tmp_path, monkeypatch):
    hand_in(inbound, "amira", "amira's own")
    forged = hand_in(inbound, "amira", "forged", LATE)
    monkeypatch.setattr(exchange, "_owner", lambda place: "bruno" if place == forged else "amira")
    says, submitted = collected(root, tmp_path)
    assert f"{forged.name}: not collected: the folder is bruno's" in says
    assert (submitted / "amira" / "waves" / "waves.ipynb").read_text() == "amira's own"


def test_no_link_is_followed_and_no_pipe_waited_for(inbound, root, tmp_path):
    secret = tmp_path / "secret.ipynb"
    secret.write_text("another's work")
    place = hand_in(inbound, "bruno")
    (place / "waves.ipynb").unlink()
    (place / "waves.ipynb").symlink_to(secret)
    (place / "folder").symlink_to(tmp_path)
    os.mkfifo(place / "pipe")
    (inbound / f"amira+waves+{EARLY}+y").symlink_to(tmp_path)
    hand_in(inbound, "amira", "in order", LATE)
    says, submitted = collected(root, tmp_path)
    assert any("left out waves.ipynb, a link" in line and "pipe" in line for line in says), says
    files = [file for file in submitted.rglob("*") if file.is_file()]
    assert not [file for file in files if "another's work" in file.read_text()]
    assert {file.parent.parent.name for file in files} == {"amira", "bruno"}


def test_a_folder_that_is_a_trap_costs_nobody_elses_work(inbound, root, tmp_path, monkeypatch):
    """Folders in folders beyond Python's recursion, a thousand files, a name that is no text, a huge file."""
    deep = hand_in(inbound, "bruno", "at the top")
    at = os.open(deep, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("a", dir_fd=at)
        inside = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inside
    os.close(at)
    os.mkfifo(os.fsencode(deep) + b"/\xff")
    hand_in(inbound, "amira", "in order", LATE)
    says, submitted = collected(root, tmp_path)
    subprocess.run(["rm", "-rf", deep / "a"], check=True)  # pytest could not
    assert says[0].startswith("amira: collected") and "more than 10 folders deep" in says[1]
    assert "left out ?, which is no plain file" in says[1] and "\n".join(says).encode()
    assert (submitted / "bruno" / "waves" / "waves.ipynb").read_text() == "at the top"
    monkeypatch.setattr(exchange, "LARGEST", 100)
    (hand_in(inbound, "bruno", "{}", LATE) / "much.bin").write_bytes(bytes(101))
    says, _ = collected(root, tmp_path)
    assert "not collected in full: more than" in says[0]
    many = hand_in(inbound, "bruno", "{}", LATER)
    for number in range(1001):
        (many / str(number)).touch()
    says, _ = collected(root, tmp_path)
    assert "more than 1000 files and folders" in says[0]


def test_pages_go_to_the_work_that_they_are_about(inbound, graded, tmp_path):
    submitted = tmp_path / "submitted"
    work = submitted / "right" / "waves"
    work.mkdir(parents=True)
    (work / "waves.ipynb").write_bytes((graded.folder / "right" / "waves" / "waves.ipynb").read_bytes())
    (work / exchange.SECRET).write_text("s3cret")
    assert exchange.give_back(graded.out, submitted) == ["right"]
    folder = inbound.parent / "feedback"
    (page,) = folder.iterdir()
    assert page.read_text() == (graded.out / "feedback" / "right.html").read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    (work / "waves.ipynb").write_text("a newer one")
    assert exchange.give_back(graded.out, submitted) == []


@pytest.mark.parametrize("name", ["jupyterhub_config.py", "jupyterhub_docker_config.py"])
def test_each_configuration_of_a_hub_loads(name):
    pytest.importorskip("jupyterhub")
    config: Config = PyFileConfigLoader(name, path=str(HUB)).load_config()
    assert callable(config.Spawner.pre_spawn_hook) and config.Spawner.mem_limit
    assert config.JupyterHub.services[0]["name"] == config.JupyterHub.load_roles[0]["name"]


def test_a_folder_called_course_makes_nobody_an_instructor(monkeypatch):
    """The student package has one; nbgrader puts the folder where it is called on the path."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, is_package=True))
    assert "collect" not in exchange._config().ExchangeFactory
    monkeypatch.undo()
    assert "collect" in exchange._config().ExchangeFactory


def test_the_settings_turn_off_for_students_what_instructors_have():
    server = {
        kind: json.loads((HUB / "settings" / kind / "jupyter_server_config.d" / "nbgrader.json").read_text())
        for kind in ("students", "instructors")
    }
    on = {
        kind: {k for k, v in x["ServerApp"]["jpserver_extensions"].items() if v} for kind, x in server.items()
    }
    assert on["instructors"] - on["students"] == {"nbgrader.server_extensions.formgrader"}
