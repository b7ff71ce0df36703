"""What is kept of a cell's outputs: text and small pictures. They come from the student's process.

No HTML, no JavaScript, no widgets: an instructor's browser shows what is kept.
"""

from __future__ import annotations

import re

from nbformat import NotebookNode
from nbformat.v4 import new_output

LONGEST = 20_000  # characters of one cell's text
LARGEST_PICTURE = 1_000_000  # characters of base64
MOST = 50  # outputs of one cell
ROOM = 20_000_000  # characters of a whole notebook's outputs, pictures included
FULL = "... (cut: the outputs of a notebook may have {:,} characters)\n"
CUT = "\n... (cut: a cell may print {:,} characters)\n"
# Colours, what a terminal would obey, text turned around, and halves of letters, which cannot be written.
CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Outputs:
    """The outputs of one cell, trimmed as they come."""

    def __init__(self) -> None:
        self.outputs: list[NotebookNode] = []
        self.left, self.cut = LONGEST, False

    def add(self, message: dict) -> None:
        """Keep what may be kept of one message."""
        content, kind = message["content"], message.get("msg_type")
        if len(self.outputs) >= MOST and kind != "error":
            self.cut = True
        elif kind == "stream":
            self._stream("stderr" if content.get("name") == "stderr" else "stdout", content.get("text"))
        elif kind in ("display_data", "execute_result"):
            self._picture(content.get("data"))
        elif kind == "error":
            self.need_error(content)

    def need_error(self, content: dict) -> None:
        """Keep the error of a cell, once."""
        if not any(output.output_type == "error" for output in self.outputs):
            name, value = (plain(content.get(key))[:2000] for key in ("ename", "evalue"))
            trace = content.get("traceback")
            lines = [plain(line)[:5000] for line in trace[:30]] if isinstance(trace, list) else []
            self.outputs.append(new_output("error", ename=name, evalue=value, traceback=lines))

    def kept(self) -> list[NotebookNode]:
        """The outputs, with a line that says so if something was cut."""
        note = [new_output("stream", name="stdout", text=CUT.format(LONGEST))] if self.cut else []
        return self.outputs + note

    def _stream(self, name: str, text: object) -> None:
        text = str(text)
        part = plain(text[: self.left])
        self.cut = self.cut or len(text) > self.left
        self.left -= min(len(text), self.left)
        last = self.outputs[-1] if self.outputs else None
        if last and last.output_type == "stream" and last.name == name:
            last.text += part
        elif part:
            self.outputs.append(new_output("stream", name=name, text=part))

    def _picture(self, data: object) -> None:
        data = data if isinstance(data, dict) else {}
        kept, png = {}, data.get("image/png")
        if isinstance(data.get("text/plain"), str):
            kept["text/plain"] = plain(data["text/plain"][: self.left])
            self.left -= len(kept["text/plain"])
        if (
            isinstance(png, str)
            and len(png) <= LARGEST_PICTURE
            and re.fullmatch(r"iVBORw0KGgo[\w+/=\s]*", png)
        ):
            kept["image/png"] = png
        if kept:
            self.outputs.append(new_output("display_data", data=kept))


class Room:
    """How much may still be kept of a notebook's outputs: a cell that needs more keeps its error alone."""

    def __init__(self) -> None:
        self.left = ROOM

    def fit(self, outputs: list[NotebookNode]) -> list[NotebookNode]:
        """The outputs of one cell, or what there is room for."""
        size = sum(len(str(output)) for output in outputs)
        if size <= self.left:
            self.left -= size
            return outputs
        errors = [output for output in outputs if output.output_type == "error"]
        for error in errors:
            error.traceback = []
        return [new_output("stream", name="stdout", text=FULL.format(ROOM)), *errors]


def plain(text: object) -> str:
    """Text without colours and control characters."""
    return CONTROL.sub("", str(text))
