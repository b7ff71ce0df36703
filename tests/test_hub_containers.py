"""The images and settings for containers: what can be seen of them without an engine."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import waves
import yaml
from traitlets.config import LoggingConfigurable, PyFileConfigLoader

from course.grader import exchange, ngshare
from course.grader.ingest import FolderError
from course.grader.leaks import leaks

ROOT = Path(__file__).parents[1]
HUB = ROOT / "course" / "hub"
TEXT = (HUB / "Dockerfile").read_text().replace("\\\n", " ")
README = (HUB / "README.md").read_text()


def stages() -> dict[str, list[list[str]]]:
    """The words of each instruction, by stage."""
    found: dict[str, list[list[str]]] = {}
    for line in TEXT.splitlines():
        words = line.split()
        if words and words[0] == "FROM":
            found[words[3]] = [words]
        elif words and not words[0].startswith("#"):
            list(found.values())[-1].append(words)
    return found


def copied(stage: str) -> list[tuple[str, str]]:
    """(what is copied, where) of a stage."""
    lines = [words[1:] for words in stages()[stage] if words[0] == "COPY"]
    return [(source, line[-1]) for line in lines for source in line[:-1]]


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The folder that `make release` writes."""
    place = tmp_path_factory.mktemp("package") / "mg9-student"
    code, printed = waves.run("package", "--out", place)
    assert code == 0, printed
    return place


def test_all_that_the_images_copy_is_there_after_make_release(package):
    assert stages()["instructor"][0] == ["FROM", "student", "AS", "instructor"]
    named = copied("student") + copied("instructor")
    assert ("${PACKAGE}", "/opt/mg9") in named and ("solutions", "solutions") in named
    for source, _ in named:
        assert source == "${PACKAGE}" or (ROOT / source).exists(), source


def test_nothing_that_students_must_not_have_is_copied_into_their_image(package, tmp_path):
    for number, (source, _) in enumerate(copied("student")):
        place = package if source == "${PACKAGE}" else ROOT / source
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / str(number))
    assert leaks(tmp_path, ROOT) == []
    users = {stage: [words[1] for words in lines if words[0] == "USER"] for stage, lines in stages().items()}
    assert users["student"][-1] == users["instructor"][-1] == "jovyan"


def test_settings_go_before_those_that_nbgrader_installs():
    """In /etc/jupyter they would not, and students would have formgrader."""
    assert ["ENV", "JUPYTER_CONFIG_PATH=/etc/mg9"] in stages()["student"]
    for kind, stage in (("students", "student"), ("instructors", "instructor")):
        assert (f"course/hub/settings/{kind}", "/etc/mg9") in [(a, b.rstrip("/")) for a, b in copied(stage)]


def test_versions_are_those_of_the_lock():
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines()[2:])
    assert ["ARG", f"JUPYTERHUB={lock['jupyterhub']}"] in stages()["student"]
    pins = re.findall(r"\b(jupyterhub|nbgrader)==([\d.]+)", TEXT + README)
    assert len(pins) >= 3 and {(name, lock[name]) for name, _ in pins} == set(pins)


def test_values_for_the_chart_say_what_they_are_meant_to():
    block = re.search(r"    # values.yaml.*\n((?:    .*\n)+)", README)[1]
    values = yaml.safe_load(re.sub(r"(?m)^    ", "", block))
    assert values.keys() == {"hub", "singleuser", "cull"}
    service, user = values["hub"]["services"]["ngshare"], values["singleuser"]
    assert service["url"].startswith("http://") and service["apiToken"]
    config = values["hub"]["config"]
    assert "access:services!service=ngshare" in config["Spawner"]["server_token_scopes"]
    assert "access:services!service=ngshare" in values["hub"]["loadRoles"]["user"]["scopes"]
    # From a user's pod only the proxy and the hub are reached.
    assert user["extraEnv"]["MG9_NGSHARE"] == "http://proxy-public/services/ngshare"
    assert user["memory"]["limit"] == "4G" and user["cpu"]["limit"] == 2 and values["cull"]["timeout"] == 3600


def test_each_user_gets_an_image_and_the_address_of_ngshare(monkeypatch):
    pytest.importorskip("jupyterhub")
    monkeypatch.setenv("MG9_HUB_STUDENTS", "amira bruno")
    monkeypatch.setenv("MG9_HUB_INSTRUCTORS", "ines")
    config = PyFileConfigLoader("jupyterhub_docker_config.py", path=str(HUB)).load_config()
    command = config.JupyterHub.services[-1]["command"]
    assert command[command.index("--admins") + 1] == "ines"
    assert config.JupyterHub.hub_ip not in ("0.0.0.0", "")
    chosen = {}
    for name in ("amira", "ines"):
        spawner = SimpleNamespace(user=SimpleNamespace(name=name), environment={}, image="mg9-student")
        config.Spawner.pre_spawn_hook(spawner)
        chosen[name] = spawner
    assert [one.image for one in chosen.values()] == ["mg9-student", "mg9-instructor"]
    assert config.DockerSpawner.image == "mg9-student" and "--tag mg9-$who" in README
    for one in chosen.values():
        assert one.environment["MG9_NGSHARE"].endswith("/services/ngshare")
        assert "JUPYTER_CONFIG_PATH" not in one.environment


# ngshare's client is not installed here (it asks for an old jupyter-core); what is used of it:


class Client(LoggingConfigurable):
    """Stands for each of the client's classes."""

    sent: list = []
    fails = ""

    def __init__(self, coursedir, **more):
        super().__init__(**more)
        self.coursedir = coursedir

    def start(self):
        self.src_records = [{"student_id": "amira"}]
        if Client.fails:
            self.log.error("endpoint returned failure: %s", Client.fails)

    def post_feedback(self, student, stamp, pages):
        self.sent.append((self.coursedir.assignment_id, student, stamp, pages))
        self.start()


@pytest.fixture
def shared(monkeypatch):
    """nbgrader's settings with ngshare's client in them."""
    config = exchange._config()
    for what in ("release_assignment", "collect", "release_feedback"):
        config.ExchangeFactory[what] = Client
    monkeypatch.setattr(exchange, "_config", lambda: config)
    monkeypatch.setattr(Client, "fails", "")
    monkeypatch.setattr(Client, "sent", [])


def test_the_settings_turn_to_ngshare_where_the_hub_says_so(monkeypatch):
    asked = []
    stub = SimpleNamespace(configureExchange=lambda config, url: asked.append(url))
    monkeypatch.setitem(sys.modules, "ngshare_exchange", stub)
    assert exchange._config().Exchange.root and not asked
    monkeypatch.setenv("MG9_NGSHARE", "http://172.30.9.1:8080/services/ngshare")
    assert "root" not in exchange._config().Exchange
    assert asked == ["http://172.30.9.1:8080/services/ngshare"]


def test_work_goes_through_ngshare_where_it_is_configured(shared, root, graded, tmp_path):
    assert exchange.release(root, ["waves"]) == ["waves"]
    assert exchange.collect(root, "waves") == ["amira: collected"]
    work = tmp_path / "right" / "waves"
    work.mkdir(parents=True)
    (work / "waves.ipynb").write_bytes((graded.folder / "right" / "waves" / "waves.ipynb").read_bytes())
    (work / "timestamp.txt").write_text("2026-11-01 10:00:00.000000\n")
    assert exchange.give_back(graded.out, tmp_path) == ["right"]
    page = str(graded.out / "feedback" / "right.html")
    given = [{"path": page, "notebook_id": "waves"}]
    assert Client.sent == [("waves", "right", "2026-11-01 10:00:00.000000", given)]


def test_what_ngshare_refuses_is_an_error(shared, root, monkeypatch):
    monkeypatch.setattr(Client, "fails", "Course not found")
    for transfer in (lambda: exchange.release(root, ["waves"]), lambda: exchange.collect(root, "waves")):
        with pytest.raises(FolderError, match="ngshare: .*Course not found"):
            transfer()
    assert ngshare.client(exchange._config(), "fetch_assignment") is None
