"""Of every user's server: a notebook that does not fit on the disk is refused before any of it is written.

Jupyter's own saving truncates the file first. Where only the last bytes do not fit, the file stays cut off,
and the next attempt overwrites the copy that was kept beside it.
"""

import os
import tempfile

import nbformat
from tornado.web import HTTPError

c = get_config()  # noqa: F821  (Jupyter provides it)

SPARE = 64 * 1024  # bytes, for folders
ADVICE = (
    "The file is as it was. Leave this page open, delete what you do not need "
    "(in a terminal, `du -ah ~ | sort -h` lists the largest last), then save again."
)


def keep_room(model, path, contents_manager, **_):
    """Refuse to save what would not fit beside the old file and a checkpoint. Raises `HTTPError` 507."""
    if model.get("type") != "notebook" or not model.get("content"):
        return
    folder = os.path.dirname(os.path.join(contents_manager.root_dir, path.strip("/")))
    size = len(nbformat.writes(nbformat.from_dict(model["content"])).encode())
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, 2 * size + SPARE)  # a quota counts this, too
    except OSError as error:
        raise HTTPError(507, f"not saved: {error.strerror}. {ADVICE}") from error


c.FileContentsManager.pre_save_hook = keep_room
