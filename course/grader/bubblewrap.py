"""What bubblewrap is told: what a process in the sandbox sees, and which limits its programs have.

It sees the Python environment and mg9 read-only, an empty home and /tmp of limited size, and no network. It
does not see solutions/, course/, the gradebook, other submissions, the cache folder but for the files that an
assignment names, or the modules that it masks (its answers). The only system calls that are
filtered are those of key rings (calls.py). A longer list would guard against faults of the kernel alone (no
program here has a capability or can make a namespace), and be another for each processor and each version of
torch; a machine that grades is better kept up to date.

Read in order: `Limits`, `Place` (what is to be seen), `command`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import course

from .package import PACKAGE, copy_of

KERNEL = "/run/kernel"  # where a kernel puts its sockets
HOME = "/home/student"
ADDRESSES = 2 * 2**30  # bytes of libraries and reserved addresses, which are not memory in use


@dataclass(frozen=True)
class Limits:
    """What one submission may use."""

    memory_mb: int = 4096
    disk_mb: int = 256  # of home and of /tmp, each
    processes: int = 256  # threads count, too
    files: int = 512
    threads: int = 1  # cores
    cpu_seconds: int = 3600  # of one process


@dataclass(frozen=True)
class Place:
    """What a sandbox shows: mg9 without the masked files, the variables that the process gets, and files of
    the cache folder, which are read-only there."""

    mask: tuple[str, ...] = ()  # as in the assignment's metadata: ("mg9/d_cgcnn.py", "mg9/pretrained/")
    variables: tuple[tuple[str, str], ...] = ()
    cached: tuple[str, ...] = ()  # paths here


def command(
    program: list[str], limits: Limits, place: Place, user: int, more: list[str], alone: bool
) -> list[str]:
    """The command that runs `program` in a sandbox; `user` is 0 for an ordinary user's own namespace,
    and `alone` says that no control group holds the memory."""
    inner = ["prlimit", "--core=0", f"--nproc={limits.processes}", f"--nofile={limits.files}"]
    inner += [f"--fsize={limits.disk_mb * 2**20}", f"--cpu={limits.cpu_seconds}"]
    memory = limits.memory_mb * 2**20
    inner += [f"--data={memory}", f"--as={memory + ADDRESSES}"] if alone else []
    # Away from the terminal last: until then each process is in the group that dies with the grader.
    inner += ["--", "setsid", *program]
    words = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--hostname", "grader", "--clearenv"]
    for name, value in _variables(limits, place):
        words += ["--setenv", name, value]
    size = str(limits.disk_mb * 2**20)
    words += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm"]
    for folder, most in (("/tmp", size), (HOME, size), (KERNEL, str(2**20))):
        words += ["--perms", "1777", "--size", most, "--tmpfs", folder]
    words += (
        _environment() + _package(place.mask) + _cache(place.cached)
    )  # after /tmp, where the course itself may lie
    # bubblewrap's /dev is a memory file system without a limit, and an ordinary user's own.
    words += [*more, "--chdir", HOME, "--remount-ro", "/dev", "--remount-ro", "/"]
    if user:
        drop = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"]
        drop += ["--bounding-set=-all", "--no-new-privs", "--"]
        again = ["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--die-with-parent"]
        return [*words, "--", *drop, *again, "--", *inner]
    return [*words, "--unshare-user", "--disable-userns", "--", *inner]


def _variables(limits: Limits, place: Place) -> list[tuple[str, str]]:
    """All the variables of the process: an allow-list, nothing is inherited."""
    programs = os.pathsep.join([str(Path(sys.prefix) / "bin"), "/usr/bin", "/bin"])
    fixed = {
        "PATH": programs,
        "HOME": HOME,
        "USER": "student",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "IPYTHONDIR": "/tmp/ipython",
        "MPLCONFIGDIR": "/tmp/matplotlib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": str(limits.threads),
        "OMP_WAIT_POLICY": "passive",
    }
    return [*fixed.items(), *place.variables]


def _environment() -> list[str]:
    """System libraries and the Python environment, read-only; parents of a folder are made readable."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64", "lib32", "sbin"):
        if Path("/", name).is_symlink():
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        else:
            words += ["--ro-bind-try", f"/{name}", f"/{name}"]
    for name in ("ld.so.cache", "localtime", "fonts", "alternatives"):
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    shown = [Path("/usr")]
    for prefix in dict.fromkeys([Path(sys.base_prefix).resolve(), Path(sys.prefix).absolute()]):
        if not any(prefix.is_relative_to(there) for there in shown):
            words += _parents(prefix) + ["--ro-bind", str(prefix), str(prefix)]
            shown.append(prefix)
    root = Path(course.__file__).resolve().parent
    for secret in (root, root.parent / "solutions", root.parent / "gradebook", root.parent / "submitted"):
        if any(secret.is_relative_to(there) for there in shown) and secret.is_dir():
            words += ["--tmpfs", str(secret), "--remount-ro", str(secret)]
    return words


def _package(mask: tuple[str, ...]) -> list[str]:
    """mg9 in its place, which /tmp or a sandbox's own folder may be part of."""
    return [*_parents(PACKAGE), "--ro-bind", str(copy_of(mask)), str(PACKAGE)]


def _cache(paths: tuple[str, ...]) -> list[str]:
    """Files of the cache folder where a process inside looks for its own, in which it may write."""
    if not paths:
        return []
    folder = f"{HOME}/.cache/mg9"
    words = ["--perms", "1777", "--dir", f"{HOME}/.cache", "--perms", "1777", "--dir", folder]
    return words + [word for path in paths for word in ("--ro-bind", path, f"{folder}/{Path(path).name}")]


def _parents(folder: Path) -> list[str]:
    """bubblewrap would make them for root alone."""
    made = [parent for parent in reversed(folder.parents) if parent != Path("/")]
    return [word for parent in made for word in ("--perms", "0755", "--dir", str(parent))]
