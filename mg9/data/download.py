"""A download that goes on where it broke off, and is held to its sha256 before it gets its name.

pip says where its index has a file (so its settings hold: mirrors, proxies, no index); the file itself comes
by HTTP ranges, because pip would begin again. What has come lies beside the target, its name ending in
".part", also after Ctrl-C; the next call asks for the rest.

Read in order: `address_of`, `fetch`, `append`.
"""

import hashlib
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows: two downloads at once end in a wrong sha256, not in a wrong file
    fcntl = None

ATTEMPTS = 4  # without a single byte, one after the other
TIMEOUT, CHUNK = 30.0, 1 << 16  # s without a byte; bytes
PASSING = (408, 416, 429)  # of the answers that begin with a 4, those that another attempt may mend


class FetchError(RuntimeError):
    """The file is not here and cannot be downloaded now."""


class ChecksumError(ValueError):
    """A file is not the pinned one."""


def address_of(package: str, file: str) -> str | None:
    """Where pip's index has the file; None without network or index, or if pip names it in another way."""
    command = [sys.executable, "-m", "pip", "index", "versions", package, "-vv", "--no-input"]
    command += ["--retries", "1", "--disable-pip-version-check"]
    environment = os.environ | {"PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=60,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    found = re.search(rf"https?://\S*/{re.escape(file)}(?![\w.-])", asked.stdout + asked.stderr)
    return found[0] if found else None


def fetch(url: str, target: Path, *, sha256: str, size: int, title: str) -> Path:
    """`target`, with what lies at `url`: the rest of it, where a part is there already.

    size: in bytes. Errors: FetchError where nothing more comes, the part is kept; ChecksumError for another
    file, nothing is kept.
    """
    part = target.with_name(f"{target.name}.part")
    with alone(target.parent):
        if target.exists():  # another process was faster
            return target
        try:
            with part.open("ab") as file:
                _all_of(file, url, part, size, title)
        finally:
            if part.stat().st_size == 0:
                part.unlink()
        with part.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != sha256:
            part.unlink()
            raise ChecksumError(
                f"{target.name} as downloaded is not the pinned file: expected sha256 {sha256}, got {got}. "
                "Nothing was kept; the next attempt begins anew."
            )
        os.replace(part, target)
    return target


def _all_of(file: BinaryIO, url: str, part: Path, size: int, title: str) -> None:
    """Request after request, until all of it is there."""
    from tqdm.auto import tqdm

    failed, farthest = 0, file.seek(0, os.SEEK_END)
    with tqdm(total=size, initial=farthest, desc=title, unit="B", unit_scale=True, delay=1) as bar:
        while file.tell() < size:
            reason = "the server closed the connection"
            try:
                append(url, file, size)
            except (OSError, HTTPException) as error:
                reason = str(error) or type(error).__name__
                if getattr(error, "code", 500) // 100 == 4 and error.code not in PASSING:
                    failed = ATTEMPTS
            bar.update(file.tell() - bar.n)
            failed = 0 if file.tell() > farthest else failed + 1
            farthest = max(farthest, file.tell())
            if failed >= ATTEMPTS:
                raise _nothing_more(part, file.tell(), size, reason)
            time.sleep(2.0**failed - 1)


def append(url: str, file: BinaryIO, size: int) -> None:
    """What one request brings of bytes that are not there yet, until `size`. A server without ranges sends
    all of it, then what is there is dropped."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={file.tell()}-"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            empty(file)
        raise
    with answer:
        start = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if answer.status != 206 or not start or int(start[1]) != file.tell():
            empty(file)
            if answer.status == 206:
                return
        while file.tell() < size and (chunk := answer.read(min(CHUNK, size - file.tell()))):
            file.write(chunk)
        file.flush()


def empty(file: BinaryIO) -> None:
    """Drop what has come so far: it is not the beginning of what the server has."""
    file.truncate(0)
    file.seek(0)


def _nothing_more(part: Path, here: int, size: int, reason: str) -> FetchError:
    if here == 0:
        return FetchError(reason)
    return FetchError(
        f"{reason}; {here / 1e6:.1f} of {size / 1e6:.1f} MB are kept in {part}, the same call goes on there"
    )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process downloads into this folder."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
