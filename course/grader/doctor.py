"""`mg9-course doctor`: does the sandbox hold here? Each limit is tried in a real one.

Read in order: `doctor`, `held` (one of the programs of `probes.py`), `ends_with_all`, `ends_with_us`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from .bubblewrap import PACKAGE, Place
from .probes import PROBES, SMALL, Probe
from .sandbox import NoSandbox, Sandbox, refuse_without_tools, run

MASK = Place(mask=("mg9/d_cgcnn.py", "mg9/pretrained/"))


def doctor() -> int:
    """Try everything and print a line each; returns 0 if all of it holds, else 1."""
    try:
        refuse_without_tools()
        code, printed = run(["true"], SMALL, Place(), 120)
    except NoSandbox as error:
        print(error)
        return 1
    if code != 0:
        print(f"does not hold   sandbox: bubblewrap starts no program: {printed.strip()[-300:]}")
        print("  in a container, allow user namespaces (or run as root with CAP_SYS_ADMIN)")
        return 1
    bad = 0
    trials = [(probe.name, probe.tries, probe.remedy, lambda probe=probe: held(probe)) for probe in PROBES]
    remedy = "report it: the end of the process namespace should do this everywhere"
    trials.append(("wall time", "a sleeper and a daemon of it, ended from outside", remedy, ends_with_all))
    trials.append(("the grader's end", "the grader is killed, its sandbox must go too", remedy, ends_with_us))
    trials.append(("a start", "the grader is killed while a sandbox starts", remedy, ends_while_it_starts))
    for name, tries, remedy, trial in trials:
        fault = trial()
        print(f"{'does not hold' if fault else 'holds':15s} {name}: {tries}", flush=True)
        if fault:
            bad += 1
            print(f"{'':15s}   {fault}\n{'':15s}   what to do: {remedy}")
    sandbox = Sandbox(["true"], SMALL, Place())
    alone = "the limits of each process: no control group can be made here"
    how = "control groups" if sandbox.group else alone
    sandbox.kill()
    who = "a user of its own for each sandbox" if sandbox.user else "your own user, in a user namespace"
    print(f"\n{bad or 'No'} faults. Memory, processes and cores are held by {how}; programs run as {who}.")
    return 1 if bad else 0


def held(probe: Probe, place: Place = MASK) -> str:
    """What a probe has reached, "" if its limit holds."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        canary = Path(folder, "canary.txt")
        canary.write_text("a secret")
        course = [PACKAGE.parent / name for name in ("course", "solutions", "gradebook", "tests")]
        home = [path for path in Path.home().iterdir() if not Path(sys.base_prefix).is_relative_to(path)]
        told = {"PORT": server.getsockname()[1], "PACKAGE": str(PACKAGE)}
        told["SECRETS"] = [str(path) for path in (canary, *course, *home)]
        head = "import os, sys\n" + "".join(f"{name} = {value!r}\n" for name, value in told.items())
        code, printed = run([sys.executable, "-c", head + probe.program], probe.limits, place, 300)
    if "HOLDS" in printed or (probe.killed and code not in (0, 1, None)):
        return ""
    return f"exit code {code}: {printed.strip()[-300:] or 'nothing printed'}"


DAEMON = """
import os, subprocess, sys, time
subprocess.Popen(["setsid", "-f", "sh", "-c", "sleep 300 # " + sys.argv[1]])
time.sleep(300)
"""


def ends_with_all() -> str:
    """Whether something of a sandbox is left when it was ended, once its daemon runs."""
    word = f"mg9-doctor-{secrets.token_hex(8)}"
    sandbox = Sandbox([sys.executable, "-c", DAEMON, word], SMALL, Place())
    _await_daemon(word)
    code = sandbox.process.poll()
    sandbox.kill()
    return _left(word) or ("" if code is None else f"it ended by itself with exit code {code}")


def ends_with_us() -> str:
    """Whether something of a sandbox is left when the process that made it was killed."""
    word = f"mg9-doctor-{secrets.token_hex(8)}"
    start = (
        "import sys, time; from course.grader.doctor import *\n"
        f"s = Sandbox([sys.executable, '-c', DAEMON, {word!r}], SMALL, Place()); time.sleep(300)"
    )
    grader = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.DEVNULL)
    _await_daemon(word)
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    return _left(word)


STARTS = """
import os, signal, sys, time
from course.grader.doctor import SMALL, Place, Sandbox
for number in range(int(sys.argv[2])):
    grader = os.fork()
    if not grader:
        Sandbox(["sh", "-c", "sleep 300 # " + sys.argv[1]], SMALL, Place())
        time.sleep(60)
    time.sleep(0.003 * number)
    os.kill(grader, signal.SIGKILL)
    os.wait()
"""


def ends_while_it_starts(moments: int = 24) -> str:
    """Whether something is left of a sandbox whose maker was killed in its start, each time 3 ms later."""
    word = f"mg9-doctor-{secrets.token_hex(8)}"
    subprocess.run([sys.executable, "-c", STARTS, word, str(moments)], stdout=subprocess.DEVNULL, check=True)
    return _left(word)


def _await_daemon(word: str) -> None:
    """Return when the daemon that has `word` in its command runs, or after two minutes."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if any(command[-1:] == [f"sleep 300 # {word}"] for command in _commands().values()):
            return
        time.sleep(0.05)


def _left(word: str) -> str:
    """A process that has `word` in its command, "" if there is none; waits for it to go: a busy machine takes
    its time."""
    for _ in range(200):
        left = [number for number, command in _commands().items() if any(word in part for part in command)]
        if not left:
            return ""
        time.sleep(0.05)
    return f"process {left[0]} is still there"


def _commands() -> dict[int, list[str]]:
    """Process number -> command, of all processes but this one."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found[process.pid] = process.cmdline()
    found.pop(os.getpid(), None)
    return found
