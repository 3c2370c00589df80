"""The migrations and the models say the same on every database."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from models.database import Database
from models.migrations import upgrade
from models.revision import current, head
from models.schema import metadata


def test_the_migrations_give_what_the_models_say(database_url: str) -> None:
    database = Database(database_url, owner=True)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    assert current(database) == head()
    database.close()


def test_an_upgrade_may_be_repeated(database_url: str) -> None:
    upgrade(database_url)
    database = Database(database_url)
    assert current(database) == head()
    database.close()
