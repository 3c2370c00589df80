"""At which revision a schema is, and which is the newest; changes nothing, and needs no alembic, which weighs 8 MiB."""

from functools import cache
from pathlib import Path

from sqlalchemy import column, inspect, select, table
from sqlalchemy.exc import DBAPIError

from models.database import Database

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_APPLIED = table("alembic_version", column("version_num"))
_NO_SUCH_ROLE = "22023"


@cache
def head() -> str:
    """The newest revision: each file begins with its number."""
    return max(path.name for path in _VERSIONS.glob("[0-9]*.py")).partition("_")[0]


def current(database: Database) -> str | None:
    """The revision a database is at; None when it has none of our tables."""
    try:
        with database.reader.connect() as connection:
            if not inspect(connection).has_table(_APPLIED.name):
                return None
            found: str | None = connection.scalar(select(_APPLIED.c.version_num))
            return found
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _NO_SUCH_ROLE:  # on this server nothing was ever migrated
            return None
        raise
