"""What nbgrader does again and again, done once. Importing this changes nbgrader in this process.

nbgrader opens the gradebook a dozen times a submission, and each time makes a class of sessions, looks for
each of its tables and asks for the course: half of the time that it takes to score. Here one look says that
all is there. nbgrader holds each marked cell to its schema, and each time the schema to the schema of schemas
first: here that once.

Read in order: `newest_schema`, `_open` with `_complete`, `_hold_to_schema`.
"""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import jsonschema
import nbgrader.api
import nbgrader.nbgraderformat.common
import sqlalchemy
from nbgrader.dbutil import _temp_alembic_ini
from sqlalchemy.orm import scoped_session, sessionmaker


def newest_schema() -> str:
    """The version of a new gradebook's tables; nbgrader starts a process for it, which takes seconds."""
    from alembic.config import Config  # here: it is needed for a new gradebook alone
    from alembic.script import ScriptDirectory

    with _temp_alembic_ini("sqlite://") as file:
        return ScriptDirectory.from_config(Config(file)).get_current_head()


def _open(
    self: nbgrader.api.Gradebook, db_url: str, course_id: str = "default_course", authenticator: Any = None
) -> None:
    """`Gradebook.__init__`, which makes what is missing, for a gradebook in which nothing is."""
    engine = nbgrader.api.create_engine(db_url, echo=False, future=True)
    if not _complete(engine, course_id):
        return _nbgraders_open(self, db_url, course_id, authenticator)
    self.engine, self.db = engine, scoped_session(_sessions(engine))
    self.course_id, self.authenticator = course_id, authenticator


def _complete(engine: sqlalchemy.Engine, course_id: str) -> bool:
    """Whether an SQLite file has nbgrader's tables and the course."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.connect() as connection:
        there = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars()
        if nbgrader.api.Base.metadata.tables.keys() - set(there):
            return False
        return bool(connection.exec_driver_sql("SELECT 1 FROM course WHERE id = ?", (course_id,)).first())


@cache
def _sessions(engine: sqlalchemy.Engine) -> sessionmaker:
    return sessionmaker(autoflush=True, bind=engine, future=True)


def _hold_to_schema(instance: Any, schema: dict) -> None:
    """`jsonschema.validate`. Raises `jsonschema.ValidationError`."""
    error = jsonschema.exceptions.best_match(_validator(json.dumps(schema)).iter_errors(instance))
    if error is not None:
        raise error


@cache
def _validator(schema: str) -> jsonschema.protocols.Validator:
    read = json.loads(schema)
    kind = jsonschema.validators.validator_for(read)
    kind.check_schema(read)
    return kind(read)


nbgrader.api.get_alembic_version = newest_schema
nbgrader.api.create_engine = cache(nbgrader.api.create_engine)
_nbgraders_open, nbgrader.api.Gradebook.__init__ = nbgrader.api.Gradebook.__init__, _open
nbgrader.nbgraderformat.common.jsonschema = SimpleNamespace(validate=_hold_to_schema)
