"""The labels that students do not get, and the whole data sets: for grading and for benchmarks.

mg9 ships the structures of the blind crystals (`mg9.data.blind`); their labels are only in this folder's
tables, which `python -m mg9.data.curate` writes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mg9 import data

if TYPE_CHECKING:
    import pandas as pd

FOLDER = Path(__file__).parent


def labels(name: str) -> pd.DataFrame:
    """Blind labels of "formation_energy" or "band_gap": index material_id, columns and units of mg9.data.

    Rows are in the order of `mg9.data.blind(name)`. ValueError for another name.
    """
    import pandas as pd

    if name not in data.BLIND:
        raise ValueError(f"no blind labels of {name!r}: choose one of {', '.join(data.BLIND)}")
    return pd.read_csv(FOLDER / f"{name}.csv", index_col="material_id")


def complete(name: str) -> data.Dataset:
    """All rows with their labels, shipped and blind, in the order of the source: 3,938 or 1,056.

    ValueError for another name, or when the labels here do not belong to the shipped structures.
    """
    import pandas as pd

    truth, blind = labels(name), data.blind(name)
    shipped = {"formation_energy": data.formation_energy, "band_gap": data.band_gap}[name]()
    if not truth.index.equals(blind.table.index):
        raise ValueError(f"{FOLDER.name}/{name}.csv and mg9.data.blind({name!r}) list different crystals")
    rows = np.concatenate([shipped.rows, blind.rows])
    order = np.argsort(rows)
    table = pd.concat([shipped.table, blind.table.join(truth)[list(shipped.table)]]).iloc[order]
    return replace(shipped, table=table, rows=rows[order], _ids=tuple(table.index))
