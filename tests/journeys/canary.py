"""An eye on everything that is kept or said: each table's raw columns, Redis and logs, for what must be found in none."""

import pytest
from sqlalchemy import text

from models.schema import metadata
from models.tenancy import system_session
from tests.worker.outside import Outside
from worker.services import Services


class Canary:
    """Knows every token that the simulated providers ever made, what went through browsers, and who the people are."""

    def __init__(self, outside: Outside, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self.outside, self.services = outside, outside.services
        self._capfd, self._caplog = capfd, caplog
        self._said = ""
        self._known: set[str] = set()

    def secrets(self) -> set[str]:
        """All so far; the dead ones too."""
        world, google = self.outside.server.world, self.outside.google
        people = [lead.person for lead in world.leads.values() if lead.person is not None]
        self._known |= {*world.tokens, *world.codes, *google.tokens, *google.codes, *self.outside.secrets}
        self._known |= {word for one in google.accounts.values() for word in (one.sub, one.email)}
        self._known |= {user for user in world.users}
        self._known |= {person.email for person in people if person.email}
        return self._known

    def look(self) -> None:
        """AssertionError, naming the place and not the secret, if one is to be seen."""
        secrets = [secret.encode() for secret in self.secrets()]
        for place, raw in self.everything():
            assert not any(secret in raw for secret in secrets), f"a secret is to be seen in {place}"

    def everything(self) -> list[tuple[str, bytes]]:
        """(place, what stands there) of every column of every row, every key of Redis, and all that was said."""
        return [*_rows(self.services), *_keys(self.services), ("logs", self._logs())]

    def _logs(self) -> bytes:
        out = self._capfd.readouterr()
        self._said += out.out + out.err
        return (self._said + self._caplog.text).encode()


def _rows(services: Services) -> list[tuple[str, bytes]]:
    found = []
    with system_session(services.database, reads_only=True) as session:
        for table in metadata.sorted_tables:
            for row in session.execute(text(f"SELECT * FROM {table.name}")).mappings():
                found += [(f"{table.name}.{column}", _raw(value)) for column, value in row.items()]
    return found


def _raw(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def _keys(services: Services) -> list[tuple[str, bytes]]:
    found = []
    for key in services.redis.keys("*"):
        assert isinstance(key, bytes)
        found.append(("Redis", key + b" " + (services.redis.dump(key) or b"")))
    return found
