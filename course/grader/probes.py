"""What `mg9-course doctor` tries in a sandbox: small programs that print HOLDS if they reach nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .bubblewrap import Limits

SMALL = Limits(memory_mb=300, disk_mb=16, processes=40, files=64, cpu_seconds=30)


@dataclass(frozen=True)
class Probe:
    """A program that prints HOLDS if the limit holds; how it may end otherwise; what to do if it does not."""

    name: str
    tries: str
    program: str
    remedy: str
    limits: Limits = SMALL
    killed: bool = False  # the limit also holds if the program is ended


PROBES = (
    Probe(
        "user",
        "who the program is",
        """
status = open("/proc/self/status").read()
bare = "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status
print("HOLDS" if bare and (os.getuid() != 0) else status)
""",
        "install setpriv (package util-linux); as root every sandbox needs a user of its own",
    ),
    Probe(
        "network",
        "a server of this machine, a name, another machine",
        """
import socket
def reaches(address):
    try:
        socket.create_connection(address, timeout=2).close()
        return True
    except OSError:
        return False
others = [name for _, name in socket.if_nameindex() if name != "lo"]
reached = [address for address in (("127.0.0.1", PORT), ("192.0.2.1", 80)) if reaches(address)]
print(others + reached or "HOLDS")
""",
        "bubblewrap cannot make a network namespace: is it forbidden by the container's seccomp profile?",
    ),
    Probe(
        "files",
        "a canary, the course, the home, and writing beside them",
        """
seen = [name for name in SECRETS if os.path.exists(name)]
for name in ("/usr/x", os.path.join(PACKAGE, "x"), os.path.join(sys.prefix, "x"), "/x", "/etc/x"):
    try:
        open(name, "w").close()
        seen.append("written " + name)
    except OSError:
        pass
print(seen or "HOLDS")
""",
        "move the course out of the Python environment's folder",
    ),
    Probe(
        "keys",
        "the session's key ring, which the instructor's programs have",
        """
import ctypes, platform
machine = platform.machine()
first = {"x86_64": 248, "aarch64": 217, "riscv64": 217}.get(machine)
call = ctypes.CDLL(None).syscall
left = first and call(first, b"user", b"mg9-doctor", b"x", 1, -3)
found = first and call(first + 2, 10, -3, b"user", b"mg9-doctor", 0)
print("HOLDS" if left == found == -1 else (machine, left, found))
""",
        "bubblewrap without --seccomp, or a processor that course/grader/calls.py does not know",
    ),
    Probe(
        "masked modules",
        "the answer modules of an assignment",
        """
found = []
for name in ("mg9.d_cgcnn", "mg9.pretrained.cgcnn"):
    try:
        __import__(name)
        found.append(name)
    except ImportError:
        pass
for folder, _, files in os.walk(PACKAGE):
    of_it = [(f, open(os.path.join(folder, f), "rb").read()) for f in files if "d_cgcnn" in f]
    found += [f for f, content in of_it if f.endswith(".pyc") or b"class " in content]
print(found or "HOLDS")
""",
        "report it: mounts should do this everywhere",
    ),
    Probe(
        "memory",
        "600 MB where 300 are allowed",
        """
held = []
try:
    for _ in range(60):
        held.append(b"x" * 10_000_000)
    print("600 MB were given")
except (MemoryError, OSError):
    print("HOLDS")
""",
        "make control groups writable (root, or a delegated cgroup); without them addresses are limited",
        replace(SMALL, memory_mb=300),
        killed=True,
    ),
    Probe(
        "processes",
        "200 where 40 are allowed",
        """
import time
started = 0
try:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        started += 1
    print(started, "were started")
except OSError:
    print("HOLDS" if started <= 40 else started)
""",
        "make control groups writable; RLIMIT_NPROC does not hold for root",
    ),
    Probe(
        "open files",
        "500 where 64 are allowed",
        """
try:
    held = [open("/dev/null") for _ in range(500)]
    print("all were opened")
except OSError:
    print("HOLDS")
""",
        "report it: RLIMIT_NOFILE should do this everywhere",
    ),
    Probe(
        "disk",
        "40 MB each in /tmp, home and /dev/shm, where 16 are allowed, and other places to write",
        """
full = []
for line in open("/proc/self/mounts"):  # what may be written to without a limit is no place for a student
    _, folder, kind, options, *_ = line.split()
    about = os.statvfs(folder) if kind == "tmpfs" and "rw" in options.split(",") else None
    full += [folder] if about and about.f_blocks * about.f_frsize > 17_000_000 else []
for folder in ("/tmp", os.environ["HOME"], "/dev/shm"):
    try:
        for number in range(4):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(b"x" * 10_000_000)
        full.append(folder)
    except OSError:
        pass
print(full or "HOLDS")
""",
        "install bubblewrap 0.8 or newer (option --size)",
        replace(SMALL, memory_mb=1000),
    ),
    Probe(
        "CPU time",
        "an endless computation where 1 s is allowed",
        "while True: pass",
        "install prlimit (package util-linux)",
        replace(SMALL, cpu_seconds=1),
        killed=True,
    ),
)
