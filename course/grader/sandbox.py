"""A sandbox of its own for every kernel: bubblewrap, limits, and nothing in reach that decides on points.

As root every sandbox runs under a user of its own; an ordinary user's runs in a user namespace. Memory,
processes and cores are held by a control group where one can be made, else by the limits of the process; open
files, file size and CPU seconds always by the latter. What is to be seen inside is told in `bubblewrap.py`.

Read in order: `Sandbox`, `run`, `refuse_without_sandbox`, `_free_user`.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from . import reaper
from .bubblewrap import KERNEL, Limits, Place, command
from .calls import without_keys
from .groups import Group

FIRST_USER = 60_000  # the first of the users that sandboxes run under if root starts them


class NoSandbox(RuntimeError):
    """No sandbox can be made here; says why, and what to do."""


class Sandbox:
    """One running program with its limits; `kill` ends it with all that it has started."""

    KERNEL = KERNEL

    def __init__(
        self, program: list[str], limits: Limits, place: Place, files: dict[str, str] | None = None
    ) -> None:
        """Start `program`; `files` are written into the sandbox first, path -> content."""
        refuse_without_tools()
        self.user, self._slot = _free_user() if os.geteuid() == 0 else (0, None)
        self.group = Group.make(Group.own_name(), limits.memory_mb, limits.processes, limits.threads)
        pipes = {path: _pipe_with(content.encode()) for path, content in (files or {}).items()}
        more = [w for path, fd in pipes.items() for w in ("--perms", "0644", "--file", str(fd), path)]
        if calls := without_keys():
            pipes["calls"] = _pipe_with(calls)
            more += ["--seccomp", str(pipes["calls"])]
        read, write = os.pipe()
        words = command(
            program, limits, place, self.user, ["--info-fd", str(write), *more], alone=not self.group
        )
        words = self.group.entering(words) if self.group else words
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write, *pipes.values()],
                env={},
                process_group=reaper.group(),
            )
        finally:
            for fd in (write, *pipes.values()):
                os.close(fd)
        with os.fdopen(read) as told:
            found = re.search(r'"child-pid": (\d+)', told.read())
        self.first = int(found[1]) if found else 0  # the first process inside; with it all of them end
        self.kernel = f"/proc/{self.first}/root{self.KERNEL}"
        self.printed = b""
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()

    def alive(self) -> bool:
        """Whether the program is running."""
        return self.process.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time of the processes that are running in it; its own /proc lists them and no others."""
        ticks, inside = 0, Path("/proc", str(self.first), "root", "proc")
        with suppress(OSError):
            for name in filter(str.isdecimal, os.listdir(inside)):
                with suppress(OSError):
                    fields = Path(inside, name, "stat").read_bytes().rpartition(b")")[2].split()
                    ticks += int(fields[11]) + int(fields[12])  # user and system, as in man 5 proc
        return ticks / os.sysconf("SC_CLK_TCK")

    def end(self) -> str:
        """Why the program has ended, in words."""
        code = self.process.poll()
        if self.group and self.group.ran_out_of_memory():
            return "it needed more memory than it may use"
        return _end(code)

    def kill(self) -> None:
        """End all processes of the sandbox and give its resources back."""
        if self.first and self.alive():  # then its number is still its own
            with suppress(ProcessLookupError):
                os.kill(self.first, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        if self.group:
            self.group.remove()
        self._reader.join(2)
        if self._slot:
            self._slot.close()

    def _drain(self) -> None:
        """Keep the end of what it prints, so that it never waits for a reader."""
        for part in iter(lambda: self.process.stdout.read1(65536), b""):
            self.printed = (self.printed + part)[-4000:]


class Bare:
    """The same without a sandbox: as this user, with the network, in an empty folder."""

    def __init__(
        self, program: list[str], limits: Limits, place: Place, files: dict[str, str] | None = None
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="mg9-", ignore_cleanup_errors=True)
        self.kernel, self.printed = f"{self.folder.name}/kernel", b""
        for name in ("kernel", "work"):
            Path(self.folder.name, name).mkdir(mode=0o700)
        program = [word.replace(self.KERNEL, self.kernel) for word in program]
        for path, content in (files or {}).items():
            Path(path.replace(self.KERNEL, self.kernel)).write_text(content.replace(self.KERNEL, self.kernel))
        variables = dict(place.variables) | {"OMP_NUM_THREADS": str(limits.threads)}
        variables |= {"IPYTHONDIR": f"{self.folder.name}/ipython"}
        self.process = subprocess.Popen(
            program,
            cwd=f"{self.folder.name}/work",
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    KERNEL = "/run/kernel"

    def alive(self) -> bool:
        """Whether the program is running."""
        return self.process.poll() is None

    def cpu_seconds(self) -> float:
        """CPU time of the processes that are running in it."""
        total = 0.0
        with suppress(psutil.Error):
            first = psutil.Process(self.process.pid)
            for process in (first, *first.children(recursive=True)):
                with suppress(psutil.Error):
                    total += sum(process.cpu_times()[:2])
        return total

    def end(self) -> str:
        """Why the program has ended, in words."""
        return _end(self.process.poll())

    def kill(self) -> None:
        """End it, and what is still in its session."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.folder.cleanup()


def run(program: list[str], limits: Limits, place: Place, seconds: float) -> tuple[int | None, str]:
    """(exit code, None if the time was over; the end of what it printed) of a program in a sandbox."""
    sandbox = Sandbox(program, limits, place)
    try:
        code = sandbox.process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        sandbox.kill()
    return code, sandbox.printed.decode("utf-8", "replace")


def refuse_without_tools() -> None:
    """Raises `NoSandbox` if a program that is needed is missing."""
    for program in ("bwrap", "prlimit", "setpriv", "setsid"):
        package = "bubblewrap" if program == "bwrap" else "util-linux"
        if not shutil.which(program):
            raise NoSandbox(
                f"no sandbox without {program}: install the package {package} "
                f"(Debian, Ubuntu: sudo apt-get install {package}), then try `mg9-course doctor`"
            )


def refuse_without_sandbox() -> None:
    """Raises `NoSandbox` if a sandbox cannot be made here."""
    code, printed = run(["true"], Limits(), Place(), 120)
    if code != 0:
        reason = printed.strip().splitlines()[-1:] or [f"exit code {code}"]
        raise NoSandbox(
            f"bubblewrap makes no sandbox here ({reason[0]}); `mg9-course doctor` tries each part of it"
        )


def _end(code: int | None) -> str:
    """Why a program has ended, in words, from its exit code."""
    number = -code if code and code < 0 else (code or 0) - 128
    if number == signal.SIGSEGV:
        return "a segmentation fault ended it"
    if number == signal.SIGXCPU:
        return "all of its CPU time was used"
    if number in list(signal.Signals):
        return f"the signal {signal.Signals(number).name} ended it"
    return f"it ended itself with exit code {code}"


def _free_user() -> tuple[int, IO]:
    """(a user number that no other sandbox of this machine has now, the lock that says so)."""
    folder = Path(tempfile.gettempdir(), "mg9-users")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != 0 or folder.is_symlink():
        raise NoSandbox(f"{folder} is not root's; remove it")
    for user in range(FIRST_USER, FIRST_USER + 1000):
        lock = (folder / str(user)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return user, lock
        except OSError:
            lock.close()
    raise NoSandbox("a thousand sandboxes are running; wait for some of them to end")


def _pipe_with(content: bytes) -> int:
    """A file descriptor from which `content` (a few kB) can be read."""
    read, write = os.pipe()
    with os.fdopen(write, "wb") as target:
        target.write(content)
    return read
