"""Downloads that go on where they broke off, from a server on this machine that breaks them off."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tqdm.auto

from mg9.data import cache, download

CONTENT = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ARCHIVE = cache.Archive("made-up", "1.0", "made_up-1.0.tar.gz", SHA256, len(CONTENT))
PIECE = 300_000  # bytes until the server breaks off


class Server(ThreadingHTTPServer):
    """asked: the first byte of each request for the file; breaks: how many of these are broken off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.asked = CONTENT, []
        self.breaks, self.ranges, self.code = 0, True, 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/{ARCHIVE.file}"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/simple/"):
            link = f'<a href="/files/{ARCHIVE.file}#sha256={SHA256}">{ARCHIVE.file}</a>'
            return self.send(200, f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html")
        server, wanted = self.server, re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted and server.ranges else 0
        server.asked.append(first)
        if server.code != 200:
            return self.send(server.code, b"")
        if first >= len(server.content):
            return self.send(416, b"")
        broken = len(server.asked) <= server.breaks
        self.send(206 if first else 200, server.content[first:], first=first, until=PIECE if broken else None)

    def send(self, code, content, kind="application/octet-stream", first=0, until=None) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if code == 206:
            size = first + len(content)
            self.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(content[:until])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def fetched(server: Server, target: Path) -> bytes:
    return download.fetch(
        server.url, target, sha256=SHA256, size=len(CONTENT), title="fetch made-up"
    ).read_bytes()


def test_it_goes_on_where_it_broke_off(server, tmp_path):
    server.breaks = 2
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [0, PIECE, 2 * PIECE]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_process_goes_on_where_one_was_killed(server, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:123_456])
    assert fetched(server, tmp_path / "file") == CONTENT
    assert server.asked == [123_456]


def test_a_part_of_another_file_is_refused_and_discarded(server, tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 123_456)
    with pytest.raises(cache.ChecksumError, match=f"expected sha256 {SHA256}, got .* Nothing was kept"):
        fetched(server, tmp_path / "file")
    assert server.asked == [123_456] and list(tmp_path.iterdir()) == []
    assert fetched(server, tmp_path / "file") == CONTENT


def test_another_file_on_the_server_is_refused(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(cache.ChecksumError, match="is not the pinned file"):
        fetched(server, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_ranges_sends_it_all(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.part").write_bytes(CONTENT[:123_456])
    assert fetched(server, tmp_path / "file") == CONTENT


def test_a_part_that_is_longer_than_what_the_server_has_is_dropped(server, tmp_path):
    server.content = CONTENT[:100]
    (tmp_path / "file.part").write_bytes(CONTENT[:200])
    with pytest.raises(cache.FetchError):
        fetched(server, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:100]


def test_two_at_once_write_one_file(server, tmp_path):
    found: list[bytes] = []
    both = [threading.Thread(target=lambda: found.append(fetched(server, tmp_path / "file"))) for _ in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert found == [CONTENT, CONTENT] and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_bar_begins_with_what_is_there(server, tmp_path, monkeypatch):
    bars = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options | {"disable": False, "file": open(os.devnull, "w")})
            bars.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    (tmp_path / "file.part").write_bytes(CONTENT[:123_456])
    fetched(server, tmp_path / "file")
    (bar,) = bars
    assert (bar.initial, bar.n, bar.total) == (123_456, len(CONTENT), len(CONTENT))


# The whole way, with pip's index on the same server


@pytest.fixture
def indexed(server, monkeypatch) -> Server:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    return server


def test_an_archive_comes_in_two_calls_and_is_kept(indexed, tmp_path):
    indexed.breaks = 1
    path = cache.obtain(ARCHIVE, into=tmp_path)
    assert path.read_bytes() == CONTENT and indexed.asked == [0, PIECE]
    assert cache.obtain(ARCHIVE, into=tmp_path) == path and len(indexed.asked) == 2


def test_where_nothing_more_comes_the_part_is_kept_and_everything_is_named(indexed, tmp_path):
    (tmp_path / f"{ARCHIVE.file}.part").write_bytes(CONTENT[:500_000])
    indexed.code = 503
    with pytest.raises(cache.FetchError) as caught:
        cache.obtain(ARCHIVE, into=tmp_path)
    said, target = str(caught.value), tmp_path / ARCHIVE.file
    assert "\n" not in said and "0.5 of 1.0 MB are kept in" in said and "503" in said
    assert all(word in said for word in (ARCHIVE.file, SHA256, f"to {target}"))
    indexed.code = 200
    assert cache.obtain(ARCHIVE, into=tmp_path).read_bytes() == CONTENT
    assert indexed.asked == [500_000] * (download.ATTEMPTS + 1)


def test_a_file_that_is_not_there_is_asked_for_once_and_then_of_pip(indexed, tmp_path):
    indexed.code = 404
    with pytest.raises(cache.FetchError, match=f"cannot download {ARCHIVE.file}.*sha256 {SHA256}.*404"):
        cache.obtain(ARCHIVE, into=tmp_path)
    assert indexed.asked == [0, 0] and list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_leaves_its_part(indexed, tmp_path):
    """The server breaks off and the process dies; the next one asks for the rest only."""
    indexed.breaks = 1
    program = (
        "import os\nfrom pathlib import Path\nfrom mg9.data import cache, download\n"
        "from test_download import ARCHIVE\nappend = download.append\n"
        "download.append = lambda *given: (append(*given), os._exit(3))\n"
        f"cache.obtain(ARCHIVE, into=Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True)
    assert done.returncode == 3, done.stderr
    assert (tmp_path / f"{ARCHIVE.file}.part").stat().st_size == PIECE
    assert cache.obtain(ARCHIVE, into=tmp_path).read_bytes() == CONTENT
    assert indexed.asked == [0, PIECE]
