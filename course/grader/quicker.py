"""What nbgrader does again and again, done once. Importing this changes nbgrader in this process.

nbgrader opens the gradebook a dozen times a submission. Its statements are compiled once, and it is not asked
for each of its tables where all of them are there.

Read in order: `newest_schema`, `_make_missing_tables`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import nbgrader.api
import sqlalchemy
from nbgrader.dbutil import _temp_alembic_ini


def newest_schema() -> str:
    """The version of a new gradebook's tables; nbgrader starts a process for it, which takes seconds."""
    from alembic.config import Config  # here: it is needed for a new gradebook alone
    from alembic.script import ScriptDirectory

    with _temp_alembic_ini("sqlite://") as file:
        return ScriptDirectory.from_config(Config(file)).get_current_head()


def _make_missing_tables(bind: sqlalchemy.Engine, **more: Any) -> None:
    tables = nbgrader.api.Base.metadata
    if tables.tables.keys() - set(sqlalchemy.inspect(bind).get_table_names()):
        sqlalchemy.MetaData.create_all(tables, bind, **more)


nbgrader.api.get_alembic_version = newest_schema
nbgrader.api.create_engine = cache(nbgrader.api.create_engine)
nbgrader.api.Base.metadata.create_all = _make_missing_tables
