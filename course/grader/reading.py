"""One file that a student handed in, from bytes to a notebook made anew. Nothing in it is trusted.

What is taken is the cells' text, their kind, their grade id and pasted pictures; cell ids, formats, kernels
and outputs are not. Read in order: `regular` (bytes from disk), `read`, `_json` (encodings), `_cells`.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

LARGEST = 20_000_000  # bytes; a notebook with figures has about a hundredth of it
MOST_BRACKETS = 1_000_000  # a list costs some 60 bytes of memory for two of the file
MOST_CELLS = 2_000
NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
KINDS = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"%PDF": "a PDF: ask for the notebook itself",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"\xd0\xcf\x11\xe0": "an old Office document: ask for the notebook itself",
    b"<": "a web page: ask for the notebook itself",
}
BY_NAME = {".py": "a Python file: ask for the notebook itself", ".txt": "a text file"}


class Unusable(ValueError):
    """A file that cannot be graded: (verdict, sentence)."""


def shown(name: str) -> str:
    """The name of a file or folder as it can be printed and written, whatever bytes it has on the disk."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def regular(file: Path) -> bytes:
    """The content of an ordinary file. Raises `Unusable` for links, pipes, devices and what is too large."""
    try:
        # A link planted after the folder was listed is not followed, and a pipe does not block.
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        link = file.is_symlink()
        why = "a symbolic link, and links are not followed" if link else f"not readable: {error.strerror}"
        raise Unusable("link" if link else "unreadable", f"{shown(file.name)} is {why}") from error
    with open(handle, "rb") as opened:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("not a file", f"{shown(file.name)} is a folder, a pipe or a device")
        if status.st_size > LARGEST:
            size = f"{status.st_size / 1e6:.0f} MB (at most {LARGEST / 1e6:.0f})"
            raise Unusable("too large", f"{shown(file.name)} has {size}; clear its outputs")
        return opened.read(LARGEST)


def read(name: str, content: bytes) -> tuple[NotebookNode, list[str]]:
    """A notebook made anew from the cells' text in `content`, and what was repaired. Raises `Unusable`."""
    if not content.strip():
        raise Unusable("empty file", f"{name} is empty ({len(content)} bytes); ask for the file again")
    if content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        raise Unusable("too large", f"{name} has too many lists in it to be a notebook")
    raw, notes = _json(name, content)
    if isinstance(raw, dict) and isinstance(raw.get("worksheets"), list):
        raw = nbformat.convert(nbformat.from_dict(raw), 4)
        notes.append("an old notebook format was upgraded")
    if not isinstance(raw, dict) or not isinstance(raw.get("cells"), list):
        raise Unusable("not a notebook", f"{name} is JSON, but not a notebook: it has no cells")
    if len(raw["cells"]) > MOST_CELLS:
        raise Unusable("too large", f"{name} has {len(raw['cells'])} cells (at most {MOST_CELLS})")
    cells = [_cell(number, cell) for number, cell in enumerate(raw["cells"])]
    odd = cells.count(None)
    if odd:
        notes.append(f"{odd} cells that were no notebook cells were left out")
    return nbformat.v4.new_notebook(cells=[cell for cell in cells if cell is not None]), notes


def kind(name: str, content: bytes) -> str:
    """What a file is that is no notebook, in words."""
    start = content.lstrip()[:8] if content.lstrip().startswith(b"<") else content[:8]
    for magic, words in KINDS.items():
        if start.startswith(magic):
            return f"{name} is {words}"
    words = BY_NAME.get(os.path.splitext(name)[1].lower(), "no notebook")
    return f"{name} is {words}"


def _json(name: str, content: bytes) -> tuple[Any, list[str]]:
    """The content as JSON, whatever its encoding, and a note if that was not UTF-8."""
    notes = []
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
            encoding = json.detect_encoding(content)
            text = content.decode(encoding)
            notes.append(f"{name} is {encoding.upper()}, not UTF-8; it was read as such")
        else:
            text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        try:
            text = content.decode("cp1252")
            json.loads(text)
        except (ValueError, RecursionError):
            where = f"byte {error.start + 1} is not UTF-8 text"
            raise Unusable("not text", f"{name}: {where}; save it again in JupyterLab") from error
        notes.append(
            f"{name} is not UTF-8 (byte {error.start + 1}); it was read as Windows-1252, close to latin-1"
        )
    try:
        return json.loads(text), notes
    except json.JSONDecodeError as error:
        cut = ""
        if error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string"):
            cut = "; the file breaks off, it was probably cut in transfer"
        where = f"line {error.lineno}, column {error.colno}"
        raise Unusable("not JSON", f"{name} is not valid JSON at {where}: {error.msg}{cut}") from error
    except RecursionError as error:
        raise Unusable("not JSON", f"{name} is nested too deeply to be a notebook") from error
    except ValueError as error:  # a number of thousands of digits
        raise Unusable("not JSON", f"{name} is not valid JSON: {error}") from error


def _cell(number: int, cell: Any) -> NotebookNode | None:
    """A cell made anew, None if it was no cell."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        return None
    text = cell.get("source", "")
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        text = "".join(text)
    if not isinstance(text, str):
        return None
    # Half of a surrogate pair is valid in JSON, but can be neither run nor written.
    text = text.encode("utf-8", "replace").decode("utf-8")
    fresh = NEW_CELL[cell["cell_type"]](text, id=f"cell-{number}")
    metadata = cell.get("metadata")
    marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = marks.get("grade_id") if isinstance(marks, dict) else None
    if isinstance(name, str) and name:
        fresh.metadata.nbgrader = NotebookNode(grade_id=name)
    pictures = cell.get("attachments")
    if cell["cell_type"] != "code" and isinstance(pictures, dict):
        kept = {file: bundle for file, bundle in pictures.items() if _is_bundle(bundle)}
        if kept:
            fresh.attachments = nbformat.from_dict(kept)
    return fresh


def _is_bundle(bundle: Any) -> bool:
    return isinstance(bundle, dict) and all(isinstance(data, str) for data in bundle.values())
