"""The PostgreSQL role that the application becomes: it owns nothing, so row policies hold for it; knows no table."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from models.database import APP_ROLE

_CREATE = f"CREATE ROLE {APP_ROLE} NOLOGIN"
_GRANTS = (
    f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APP_ROLE}",
    f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {APP_ROLE}",
)
_INSUFFICIENT_PRIVILEGE = "42501"
# Roles belong to the whole server: an upgrade of another database may make it at this very moment.
_MADE_BY_ANOTHER = {"42710", "23505"}


class RoleMissing(Exception):
    """The login may not make the application's role; the text is the SQL that an administrator has to run."""


def prepare_role(connection: Connection) -> None:
    """Make the role if need be, let the login take it on, and let it work on the tables there are. RoleMissing."""
    login = str(connection.execute(text("SELECT quote_ident(current_user)")).scalar_one())
    if not _holds(connection, f"SELECT to_regrole('{APP_ROLE}') IS NOT NULL"):
        _try(connection, _CREATE, login)
    # Membership alone may forbid SET ROLE: https://www.postgresql.org/docs/16/release-16.html
    privilege = "SET" if connection.dialect.server_version_info >= (16,) else "MEMBER"  # type: ignore[operator]
    if not _holds(connection, f"SELECT pg_has_role('{APP_ROLE}', '{privilege}')"):
        _try(connection, f"GRANT {APP_ROLE} TO {login}", login)
    for statement in _GRANTS:
        connection.execute(text(statement))


def _holds(connection: Connection, question: str) -> bool:
    return bool(connection.execute(text(question)).scalar())


def _try(connection: Connection, statement: str, login: str) -> None:
    try:
        with connection.begin_nested():
            connection.execute(text(statement))
    except ProgrammingError as error:
        state = getattr(error.orig, "sqlstate", None)
        if state == _INSUFFICIENT_PRIVILEGE:
            raise RoleMissing(
                f"{login} may not make the role that the application runs as. "
                f"Let an administrator run once: {_CREATE}; GRANT {APP_ROLE} TO {login};"
            ) from None
        if state not in _MADE_BY_ANOTHER:
            raise
