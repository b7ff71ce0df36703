"""What a student tries in a kernel of the hub; test_hub.py puts TOLD before it."""

import importlib
import os
import pwd
import signal
import subprocess
from pathlib import Path

PATHS, FOLDERS, INSTRUCTOR, COURSE = globals().get("TOLD", ((), (), "", "."))


def tried(what, action):
    try:
        print("REACHED", what, str(action())[:200])
    except Exception as error:
        print("refused", what, type(error).__name__)


def first(found):
    return next(iter(found))


for path in PATHS:
    tried(f"to read {path}", lambda path=path: Path(path).read_bytes())
for folder in FOLDERS:
    tried(f"to list {folder}", lambda folder=folder: os.listdir(folder))
for name in ("course", "course.hidden.cgcnn", "course.grader"):
    tried(f"to import {name}", lambda name=name: importlib.import_module(name))
others = [place for place in Path("/proc").glob("[0-9]*") if place.stat().st_uid != os.getuid()]
readable = [place for place in others if os.access(place / "environ", os.R_OK)]
groups = [file for file in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if os.access(file, os.W_OK)]
tried("to read the variables of others", lambda: first(readable))
tried("to end others' processes", lambda: [os.kill(int(place.name), signal.SIGTERM) for place in others])
tried("to become root", lambda: os.setuid(0))
tried("to become another", lambda: os.setuid(pwd.getpwnam(INSTRUCTOR).pw_uid))
tried("to leave the limits", lambda: first(groups))
search = (
    f"find /home /srv /tmp {COURSE} -readable -path '*/course/hidden/*' -o -readable -path '*/solutions/*'"
)
found = subprocess.run(search, shell=True, capture_output=True, text=True).stdout
tried("to find it", lambda: first(line for line in found.splitlines() if "/.venv/" not in line))
