"""`python -m course.hub` (`make hub`): a hub to try, on this machine alone, gone when it stops.

It runs in a mount and process namespace of its own: what it makes (users, homes, the exchange) exists there
alone, and all that it has started ends with it. Nothing of this machine's /etc or /home is changed.

Read in order: `main`, then room.py, which runs inside.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from course.grader.groups import remove_named
from course.hub import shared

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {"unshare": "util-linux", "mount": "mount", "useradd": "passwd", "chpasswd": "passwd"}
STUDENTS, INSTRUCTOR = ("amira", "bruno"), "ines"


def main(arguments: list[str] | None = None) -> int:
    """Start the hub, wait for Ctrl-C or SIGTERM, stop it; returns the exit code."""
    options = _parser().parse_args(arguments)
    if reason := why_not() or _taken(options.port):
        print(f"make hub: {reason}", file=sys.stderr)
        return 2
    names = [
        f"mg9-{STUDENTS[k] if k < len(STUDENTS) else f'student{k + 1}'}" for k in range(options.students)
    ]
    prefix = f"mg9hub{secrets.token_hex(4)}"
    plan = {
        "course": str(ROOT),
        "students": {name: secrets.token_urlsafe(9) for name in names},
        "instructors": {f"mg9-{INSTRUCTOR}": secrets.token_urlsafe(9)},
        "ports": [options.port or free_port(), free_port(), free_port()],
        "groups": prefix,
        "budget": options.budget,
        "home": options.home,
        "limits": {
            "MG9_HUB_MEMORY": options.memory,
            "MG9_HUB_PROCESSES": options.processes,
            "MG9_HUB_SERVERS": options.servers,
            "MG9_HUB_CULL_AFTER": options.cull_after,
        },
    }
    command = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    command += ["--mount-proc", sys.executable, "-m", "course.hub.room"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    room = subprocess.Popen(
        command, stdin=subprocess.PIPE, env=environment, start_new_session=True, preexec_fn=end_with_parent
    )
    try:
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(kind, _interrupt)
        room.stdin.write(json.dumps(plan).encode())
        room.stdin.close()
        return room.wait()
    except KeyboardInterrupt:
        print("make hub: stopping", file=sys.stderr)
        return 0
    finally:
        _stop(room)
        remove_named(prefix)


def why_not() -> str:
    """What is missing for a hub on this machine, with what to do; "" if nothing."""
    if not sys.platform.startswith("linux"):
        return "needs Linux (system users, namespaces)"
    if os.geteuid() != 0:
        return "needs root, for users and namespaces (sudo make hub); README.md in course/hub has other ways"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return f"needs {tool}: install the package {package}"
    try:
        import configurable_http_proxy  # noqa: F401
        import jupyterhub  # noqa: F401
        import jupyterhub_idle_culler  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed: make setup, or pip install -e '.[course,hub]'"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
    )
    return tried.stderr and f"no namespaces can be made here (CAP_SYS_ADMIN): {tried.stderr.strip()}"


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _taken(port: int) -> str:
    try:
        socket.create_server(("127.0.0.1", port)).close()  # 0 is any
    except OSError as error:
        return f"port {port}: {error.strerror}; choose another with --port"
    return ""


def _stop(room: subprocess.Popen) -> None:
    """Let the hub stop its servers; after half a minute, or a second Ctrl-C, the namespace goes as it is."""
    children = Path(f"/proc/{room.pid}/task/{room.pid}/children")
    with suppress(OSError, KeyboardInterrupt, subprocess.TimeoutExpired):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGTERM)
        room.wait(timeout=30)
    room.kill()  # with --kill-child the first process of the namespace goes, too, and with that all others
    room.wait()


def end_with_parent() -> None:
    """What a child does before it becomes another program: it is killed when its parent is."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m course.hub", description="A hub to try, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="of the hub (default: a free one)")
    parser.add_argument("--students", type=int, default=2, metavar="N", help="default %(default)s")
    parser.add_argument("--budget", choices=("tiny", "full"), default="full", help="how much notebooks train")
    limits = parser.add_argument_group("limits", "of one user, but for the last two")
    limits.add_argument("--memory", default=shared.MEMORY, metavar="SIZE", help="default %(default)s")
    limits.add_argument("--processes", default=str(shared.PROCESSES), metavar="N", help="default %(default)s")
    limits.add_argument(
        "--home", default="2G", metavar="SIZE", help="a student's files (default %(default)s)"
    )
    limits.add_argument("--servers", default=str(shared.SERVERS), metavar="N", help="default %(default)s")
    limits.add_argument(
        "--cull-after",
        default=str(shared.CULL_AFTER),
        metavar="SECONDS",
        help="without activity a server is stopped (default %(default)s)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
