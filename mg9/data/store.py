"""The one file format of mg9.data: a zip of .npy columns, read with `numpy.load` or with `Store`.

Members are stored, not compressed: the bytes then depend on no compressor's version, and reading is a copy.
A file holds one or more data sets. Each has `<name>/meta.json` (columns, units, provenance), one member for
each column and tensor, and `<name>/rows`, which points into the crystals that several data sets may share:
`crystals/<block>/` with material_id, formula, natoms, lattice, coords, z.
"""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FORMAT = 1  # part of a cache file's name: a change of layout never meets an old file


def text(values: list[str]) -> np.ndarray:
    """Strings as UTF-8 bytes, a quarter of numpy's own text columns."""
    return np.array([value.encode() for value in values], dtype=bytes)


def pack(members: Mapping[str, np.ndarray | str]) -> bytes:
    """The file as bytes; equal members give equal bytes, on any machine and day."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            value, content = members[name], io.BytesIO()
            if isinstance(value, str):
                info, content = zipfile.ZipInfo(f"{name}.json"), io.BytesIO(value.encode())
            else:
                info = zipfile.ZipInfo(f"{name}.npy")
                little_endian = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
                np.lib.format.write_array(content, little_endian, version=(1, 0), allow_pickle=False)
            info.create_system = 3  # the zip header otherwise names the operating system
            info.external_attr = 0o644 << 16
            archive.writestr(info, content.getvalue())
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write next to `path`, then rename: a reader sees the old file, the new one, or none; never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


class Store:
    """Read-only access: `store["elasticity/K_VRH"]` is an array, `store.meta("elasticity")` a dict.

    Raises ValueError, naming the file, when it is no such file or damaged (each member has a checksum).
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path} is damaged ({error}): delete it, and install or fetch it again")

    def _read(self, member: str) -> io.BytesIO:
        try:
            return io.BytesIO(self.archive.read(member))
        except (zipfile.BadZipFile, EOFError) as error:
            raise self._damaged(error) from None

    def __getitem__(self, name: str) -> np.ndarray:
        array = np.lib.format.read_array(self._read(f"{name}.npy"), allow_pickle=False)
        if array.dtype.kind == "S":
            return np.char.decode(array, "utf-8")
        array.flags.writeable = False  # structures share these numbers
        return array

    def names(self) -> list[str]:
        return [member.rsplit(".", 1)[0] for member in self.archive.namelist()]

    def meta(self, name: str) -> dict:
        return json.load(self._read(f"{name}/meta.json"))
