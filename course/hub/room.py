"""The hub to try, inside its namespace, of which this is the first process.

Students may read the Python environment and mg9, nothing else of the course: /home, /srv, /tmp and /etc are
this namespace's own, and folders that others may not enter (root's home, where Python may lie) show only what
is needed.

Read in order: `main`, `furnish` (the file system), `enrol` (the users), `serve`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

HUB = Path("/srv/mg9/hub")  # the hub's own, and its view of the course's folder; root's alone
SETTINGS, EXCHANGE = Path("/srv/mg9/settings"), Path("/srv/mg9/exchange")
STAGE = Path("/mnt")  # where folders are kept while their places are covered
GROUPS = {"students": "mg9-students", "instructors": "mg9-instructors"}
COURSE = "mg9"
# Of the clone; mg9 is the installed one, which the grader's sandbox finds.
LEFT_OUT = {"mg9", ".git", ".venv", "build", "dist", "gradebook", "submitted", "demo"}


def main() -> int:
    """Furnish, enrol, serve; the plan is read from the standard input."""
    plan = json.load(sys.stdin)
    root = Path(plan["course"])
    furnish(root)
    enrol(plan, root)
    return serve(plan, root)


def furnish(root: Path) -> None:
    """Make the file system that users see. `root` is the course's folder."""
    run("mount", "-t", "tmpfs", "-o", "mode=0700", "stage", str(STAGE))
    shown = [Path(sys.prefix).absolute(), Path(sys.base_prefix).resolve(), root / "mg9"]
    shown = [place for place in shown if not place.is_relative_to("/usr")]
    for number, place in enumerate(shown):
        (STAGE / str(number)).mkdir()
        run("mount", "--bind", str(place), str(STAGE / str(number)))
    (STAGE / "course").mkdir()
    run("mount", "--bind", str(root), str(STAGE / "course"))
    run("cp", "-a", "/etc", str(STAGE / "etc"))
    run("mount", "--bind", str(STAGE / "etc"), "/etc")
    covered = {Path(name) for name in ("/home", "/srv", "/tmp", "/var/tmp", str(root))}
    covered |= {place for place in map(_closed, shown) if place}
    for place in sorted(covered, key=lambda place: len(place.parts)):
        place.mkdir(parents=True, exist_ok=True)
        mode = "1777" if place.name == "tmp" else "0755"
        run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "room", str(place))
    for number, place in enumerate(shown):
        place.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(STAGE / str(number)), str(place))
        run("mount", "-o", "remount,bind,ro", str(place))
    (HUB / "course").mkdir(parents=True)
    HUB.chmod(0o700)
    run("mount", "--bind", str(STAGE / "course"), str(HUB / "course"))
    run("umount", "--lazy", str(STAGE))


def _closed(place: Path) -> Path | None:
    """The uppermost folder above `place` that others may not enter."""
    return next((up for up in reversed(place.parents) if not up.stat().st_mode & 0o001), None)


def enrol(plan: dict, root: Path) -> None:
    """Users with homes of mode 0700, the exchange, the settings, and each instructor's clone."""
    for group in GROUPS.values():
        run("groupadd", "--force", group)
    for kind, group in GROUPS.items():
        for name in plan[kind]:
            run("useradd", "--no-create-home", "--shell", "/bin/bash", "--groups", group, name)
            _make_home(name, plan["home"] if kind == "students" else "")
    # A terminal is a login shell, for which /etc/profile forgets what the server had.
    Path("/etc/profile.d/mg9.sh").write_text(f'PATH="{sys.prefix}/bin:$PATH"\n')
    passwords = "".join(f"{name}:{word}\n" for kind in GROUPS for name, word in plan[kind].items())
    run("chpasswd", input=passwords)
    shutil.copytree(HUB / "course" / "course" / "hub" / "settings", SETTINGS)
    shutil.copy(HUB / "course" / "course" / "nbgrader_config.py", SETTINGS / "all")
    EXCHANGE.mkdir(mode=0o755)
    EXCHANGE.chmod(0o1777)  # nbgrader asks for a folder that everyone may write to; nobody removes another's
    for name in plan["instructors"]:
        home = Path("/home", name)
        shutil.copytree(HUB / "course", home / "unit9", ignore=_left_out)
        run("chown", "-R", f"{name}:", str(home))
    first, words = next(iter(plan["instructors"])), ["-m", "course.grader.cli", "release"]
    folder = f"/home/{first}/unit9"
    variables = {"PATH": os.environ["PATH"], "HOME": f"/home/{first}", "PYTHONPATH": folder}
    variables["JUPYTER_CONFIG_PATH"] = str(SETTINGS / "all")
    run(*as_user(first), sys.executable, *words, cwd=folder, env=variables)


def _make_home(name: str, size: str) -> None:
    """A home of mode 0700, a file system of its own of at most `size` if there is one."""
    home = Path("/home", name)
    home.mkdir(mode=0o700)
    if size:
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "home", str(home))
    run("cp", "-a", "/etc/skel/.", str(home))
    home.chmod(0o700)
    run("chown", "-R", f"{name}:", str(home))


def _left_out(place: str, names: list[str]) -> set[str]:
    return LEFT_OUT & set(names) if Path(place) == HUB / "course" else set()


def as_user(name: str) -> list[str]:
    """What turns root into a user."""
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups"]


def serve(plan: dict, root: Path) -> int:
    """Run JupyterHub, and wait for whatever ends; returns its exit code."""
    port, api, inner = plan["ports"]
    words = [
        "--config=" + str(HUB / "course" / "course" / "hub" / "jupyterhub_config.py"),
        f"--JupyterHub.bind_url=http://127.0.0.1:{port}",
        f"--JupyterHub.hub_bind_url=http://127.0.0.1:{inner}",
        f"--ConfigurableHTTPProxy.api_url=http://127.0.0.1:{api}",
        f"--ConfigurableHTTPProxy.command={[sys.executable, '-m', 'course.hub.proxy']!r}",
        "--ConfigurableHTTPProxy.log_level=error",
        f"--LimitedSpawner.group_prefix={plan['groups']}",
        f"--JupyterHub.db_url=sqlite:///{HUB}/hub.sqlite",
        f"--JupyterHub.cookie_secret_file={HUB}/cookie_secret",
        f"--ConfigurableHTTPProxy.pid_file={HUB}/proxy.pid",
        f"--Spawner.environment=MG9_BUDGET={plan['budget']}",
        "--LimitedSpawner.interrupt_timeout=3",
        "--JupyterHub.log_level=WARN",
    ]
    programs = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    variables = {"PATH": programs, "HOME": "/root", "LANG": "C.UTF-8", "PYTHONPATH": str(HUB / "course")}
    variables |= {"PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1"} | plan["limits"]
    hub = subprocess.Popen([sys.executable, "-m", "jupyterhub", *words], cwd=HUB, env=variables)
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    announced = False
    while hub.poll() is None:
        if not announced and _listens(inner) and (announced := _listens(port)):
            print(f"http://127.0.0.1:{port}", flush=True)
            for name, word in [item for kind in GROUPS for item in plan[kind].items()]:
                print(f"  {name:16s} password {word}", flush=True)
            print("Ctrl-C stops it and removes all of it.", flush=True)
        _reap(hub.pid)
        time.sleep(0.2)
    return hub.returncode


def _reap(kept: int) -> None:
    """Take leave of processes whose parents have ended, as the first process of a namespace must."""
    while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if found.si_pid == kept:
            return
        os.waitpid(found.si_pid, 0)


def _listens(port: int) -> bool:
    """Whether the hub answers on this port."""
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/hub/health", timeout=5) as answer:
        return answer.status == 200
    return False


def run(*command: str, **more: object) -> None:
    """Run a command; its words are the error's if it fails."""
    done = subprocess.run(command, text=True, capture_output=True, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


if __name__ == "__main__":
    raise SystemExit(main())
