"""mg9 as a sandbox shows it: a copy without the modules that an assignment masks, made once a process.

A copy, because what appears in the course's folder while a class is graded (compiled answers, another
version) is not to be seen; and because bubblewrap takes longer to bind a hundred files than one folder.

Read in order: `copy_of`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path

import mg9

PACKAGE = Path(mg9.__file__).resolve().parent
MASKING = Path(__file__).with_name("masked.py")
NAME = "mg9-shown-"
_copies: dict[tuple, Path] = {}  # by process (a fork makes its own) and mask
_locks: list[int] = []  # of the copies in use; they end with the process


def copy_of(mask: tuple[str, ...]) -> Path:
    """The folder to show in place of mg9's; `mask` as in the assignment's metadata."""
    key = (os.getpid(), mask)
    if key not in _copies or not _copies[key].is_dir():  # what cleans up /tmp may have taken it
        _sweep()
        place = _place()
        Finalize(None, shutil.rmtree, (place, True), exitpriority=0)
        _copies[key] = _copied(mask, place / "mg9")
    return _copies[key]


def _copied(mask: tuple[str, ...], folder: Path) -> Path:
    masked = [PACKAGE.parent / name for name in mask]

    def left_out(place: str, names: list[str]) -> set[str]:
        """What is masked, with what Python has compiled of it and editors keep of it."""
        here = Path(place)
        source = here.parent if here.name == "__pycache__" else here
        module = {name: source / f"{name.lstrip('.#').partition('.')[0]}.py" for name in names}
        return {name for name in names if module[name] in masked or here / name in masked}

    shutil.copytree(PACKAGE, folder, ignore=left_out)
    for hidden in masked:
        there = folder / hidden.relative_to(PACKAGE)
        there = there if hidden.suffix == ".py" else there / "__init__.py"
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MASKING, there)
    for path in (folder, *folder.rglob("*")):  # read by the user of a sandbox, whatever this one's umask is
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def _place() -> Path:
    """A new folder that is locked; another process may have swept it before it was."""
    while True:
        place = Path(tempfile.mkdtemp(prefix=NAME))
        with suppress(BlockingIOError, FileNotFoundError):
            _locks.append(_lock(place))
            return place


def _lock(folder: Path) -> int:
    """A lock on the folder, as a descriptor. Raises `BlockingIOError` if a process has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep() -> None:
    """Remove the copies of processes that were killed: nobody has their lock.

    A number of a process would not do: the folder may be seen from a container, in which numbers differ.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{NAME}*"):
        with suppress(OSError):
            descriptor = _lock(folder)
            if os.fstat(descriptor).st_uid == os.geteuid():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
