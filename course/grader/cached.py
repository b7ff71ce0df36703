"""Files of the cache folder that an assignment needs where there is no network.

A source notebook names them in its metadata: `"mg9": {"cache": ["mace-mp-0-small", "mptrj"]}`. The grader
makes what is not there, before a sandbox starts; inside they are read-only.
"""

from __future__ import annotations

from collections.abc import Sequence


def paths_of(names: Sequence[str]) -> tuple[str, ...]:
    """The files, fetched and converted if they are not there. Raises `FetchError` and `ChecksumError`, and
    ValueError for another name."""
    paths = []
    for name in names:
        if name == "mace-mp-0-small":
            from mg9.pretrained.mace import converted

            paths.append(str(converted().absolute()))
        elif name in ("mptrj", "mlearn", "qm9"):
            from mg9.data.fetched import path_of

            paths.append(str(path_of(name).absolute()))
        else:
            raise ValueError(
                f"no file of the cache folder is called {name!r}: mace-mp-0-small, mptrj, mlearn, qm9"
            )
    return tuple(paths)
