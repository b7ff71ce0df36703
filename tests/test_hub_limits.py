"""What one student can do to a hub: too much memory, too many processes, a full home, or nothing at all."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hubs import PATIENCE, at_work, needs_root, visitor

from benchmarks.hub_visitor import KernelDied, Refused, Visitor
from course.hub.running import Hub

AMIRA, BRUNO, THIRD, FOURTH = "mg9-amira", "mg9-bruno", "mg9-student3", "mg9-student4"
MEMORY, PROCESSES = 1000, 150  # MB; a server and a kernel without torch take 200 MB and 40 threads
AFTERWARDS = "The latest attempt to start your server has failed.*Relaunch"  # if it ended before one asks
TOO_MUCH = "held = b'x' * (2 * 2**30)\nprint(len(held))"
SMALL = """
import os, time
for number in range(30):
    if not os.fork():
        held = b"x" * (60 * 2**20)
        time.sleep(100_000)
"""
# Children that sleep, twice as many as may be; they are counted where no more can be made.
MANY = """
import os, time
def fork(most):
    for number in range(most):
        try:
            if not os.fork():
                time.sleep(100_000)
                os._exit(0)
        except OSError as error:
            return print("held at", number, error.strerror)
    print("not held", number)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with small limits, until the last test here."""
    limits = [f"--memory={MEMORY}M", f"--processes={PROCESSES}", "--home=16M", "--servers=3"]
    hub = Hub(tmp_path_factory.mktemp("hub") / "hub.log", "--students=4", *limits, patience=PATIENCE)
    yield hub
    assert hub.stop() == 0


@pytest.fixture(scope="module")
def started(hub):
    """Two students at work: one who will do it, one who must not notice."""
    return at_work(hub, AMIRA), at_work(hub, BRUNO)


@pytest.fixture
def two(started):
    """The same, with new patience."""
    for one in started:
        one.end = time.monotonic() + PATIENCE
    return started


def server_of(one: Visitor) -> int:
    """The number of the process of somebody's server."""
    return int(one.kernel("parent.ipynb").run("import os; print(os.getppid())"))


@needs_root
def test_homes_and_new_files_are_closed(two):
    says = (
        two[0]
        .kernel()
        .run(
            "import os; home = os.path.expanduser('~'); open('new', 'w').close(); os.mkdir('folder')\n"
            "print(*(oct(os.stat(place).st_mode & 0o7777) for place in (home, 'new', 'folder')), home)"
        )
    )
    assert says.split() == ["0o700", "0o600", "0o700", f"/home/{AMIRA}"]


@needs_root
def test_a_kernel_that_takes_too_much_memory_dies_alone(two):
    amira, bruno = two
    theirs = bruno.kernel()
    theirs.run("kept = 'still here'")
    ours = amira.kernel()
    with pytest.raises(KernelDied, match="restarting"):
        ours.run(TOO_MUCH)
    ours.socket.close()
    assert amira.kernel("another.ipynb").run("print(6 * 7)") == "42\n"
    assert theirs.run("print(kept)") == "still here\n"
    assert bruno.ask("GET", "/hub/home").ok


@needs_root
def test_many_small_processes_do_not_end_the_server(two):
    """Each is smaller than the server, which the system would end first."""
    amira, bruno = two
    pid, ours = server_of(amira), amira.kernel("small.ipynb")
    with suppress(KernelDied):
        ours.run(SMALL)
    ours.socket.close()
    assert amira.kernel("next.ipynb").run("print(6 * 7)") == "42\n"
    assert server_of(amira) == pid
    assert bruno.kernel("still.ipynb").run("print(6 * 7)") == "42\n"


@needs_root
def test_a_fork_bomb_ends_at_the_limit(two):
    amira, bruno = two
    ours = amira.kernel("bomb.ipynb")
    says = ours.run(f"{MANY}\nfork({2 * PROCESSES})")
    assert says.startswith("held at"), says
    assert 0 < int(says.split()[2]) < PROCESSES
    assert bruno.kernel("other.ipynb").run("print(6 * 7)") == "42\n"
    ours.restart()
    assert amira.kernel("after.ipynb").run("print(6 * 7)") == "42\n"


FILL = """
import os
open("filler", "wb").close()
room = os.statvfs(".")
with open("filler", "r+b") as file:
    os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - {leave})
print("filled")
"""


@needs_root
def test_a_full_home_costs_no_notebook(two):
    """With so much left that all, or only the end, or nothing of the new text fits."""
    amira, bruno = two
    cell = {"cell_type": "markdown", "metadata": {}, "source": "short", "id": "answer"}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    amira.save("work.ipynb", notebook)
    before = amira.read("work.ipynb", type="file", format="text")
    kernel, refused = amira.kernel(), 0
    cell["source"] = "x" * 50_000
    for leave in range(4096, 400_000, 4096):
        assert "filled" in kernel.run(FILL.format(leave=leave))
        try:
            amira.save("work.ipynb", notebook)
            break
        except Refused as error:
            refused += 1
            assert "507" in str(error) and "No space left on device. The file is as it was" in str(error)
            assert amira.read("work.ipynb", type="file", format="text") == before
    assert refused > 50_000 / 4096
    assert amira.read("work.ipynb")["cells"][0]["source"] == "x" * 50_000
    bruno.save("work.ipynb", notebook)


@needs_root
def test_a_full_home_can_be_opened_and_emptied(hub, two):
    amira, _ = two
    assert "filled" in amira.kernel().run(FILL.format(leave=0))
    amira.stop_server()
    amira = at_work(hub, AMIRA)
    assert "gone" in amira.kernel("again.ipynb").run("import os; os.remove('filler'); print('gone')")


@needs_root
def test_one_server_too_many_is_refused_in_words(hub, two):
    third, fourth = at_work(hub, THIRD), visitor(hub, FOURTH)
    with pytest.raises(Refused, match="Active user limit exceeded. Try again in a few minutes"):
        fourth.login()
    third.stop_server()
    at_work(hub, FOURTH)


@needs_root
def test_a_server_without_activity_is_stopped(tmp_path):
    hub = Hub(tmp_path / "hub.log", "--students=1", "--cull-after=20", patience=PATIENCE)
    try:
        amira = at_work(hub, AMIRA)
        known = {"server": "at first"}
        while known["server"] or known["pending"]:  # pending while it stops
            assert time.monotonic() < amira.end, known
            time.sleep(1)
            known = amira.ask("GET", f"/hub/api/users/{AMIRA}").json()
        with pytest.raises(Refused, match="424 JupyterHub server no longer running"):
            amira.read("")
        assert at_work(hub, AMIRA).kernel().run("print(6 * 7)") == "42\n"
    finally:
        assert hub.stop() == 0


@needs_root
def test_a_start_that_fails_is_told_and_tried_again(tmp_path):
    hub = Hub(tmp_path / "hub.log", "--students=1", "--memory=20M", patience=PATIENCE)
    try:
        for _ in range(2):
            amira = visitor(hub, AMIRA)
            with pytest.raises(Refused, match=f"The server ended at once.*Try again|{AFTERWARDS}"):
                amira.login()
                amira.wait_for_server()
    finally:
        assert hub.stop() == 0


@needs_root
def test_without_control_groups_each_process_is_held(tmp_path):
    """On a machine whose control groups cannot be written: here they are covered."""
    cover = 'mount -t tmpfs -o ro none /sys/fs/cgroup && exec "$@"'
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-c", cover, "sh")
    limits = ["--students=2", f"--memory={MEMORY}M", "--processes=400"]
    hub = Hub(tmp_path / "hub.log", *limits, patience=PATIENCE, before=before)
    try:
        amira, bruno = at_work(hub, AMIRA), at_work(hub, BRUNO)
        assert "each process of mg9-amira is held alone" in hub.log.read_text()
        kernel = amira.kernel()
        assert "MemoryError" in kernel.run(TOO_MUCH)
        says = kernel.run(f"{MANY}\nfork(800)")
        assert says.startswith("held at") and int(says.split()[2]) < 400, says
        assert bruno.kernel().run("print(6 * 7)") == "42\n"
        kernel.restart()
        assert amira.kernel("after.ipynb").run("print(6 * 7)") == "42\n"
        amira.stop_server()
    finally:
        assert hub.stop() == 0
