"""What every table shares: the declarative base, ids, instants and small JSON; it knows no table."""

import os
import time
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from sqlalchemy import DateTime, Dialect, LargeBinary, MetaData, String, Text, Uuid
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# MariaDB compares text without regard to case unless told otherwise; ids of providers differ by case.
_MARIADB = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


class Base(DeclarativeBase):
    """The declarative base; `metadata` is what the migrations are compared with."""

    metadata = MetaData(naming_convention=NAMING)


def table_args(*constraints: Any) -> tuple[Any, ...]:
    """`__table_args__` of a table: its constraints, then what every table needs on MariaDB."""
    return (*constraints, _MARIADB)


def new_id() -> str:
    """A fresh uuid7 (RFC 9562) as text: ids sort by the millisecond in which they were made."""
    return new_ids(1)[0]


def new_ids(number: int) -> list[str]:
    """As many, sorted. Chance is asked for once: each time anew, a busy thread has to wait for the other ones."""
    time_ = f"{time.time_ns() // 1_000_000 & 0xFFFFFFFFFFFF:012x}"
    begins, chance = f"{time_[:8]}-{time_[8:]}-7", os.urandom(10 * number).hex()  # 7: the version
    return sorted([
        f"{begins}{chance[n : n + 3]}-{_VARIANT[chance[n + 3]]}{chance[n + 4 : n + 7]}-{chance[n + 7 : n + 19]}"
        for n in range(0, 20 * number, 20)
    ])  # fmt: skip


_VARIANT = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}


BEFORE_ALL = str(uuid.UUID(int=0))
"""An id that sorts before all of ours."""


def is_id(value: object) -> bool:
    """Whether a stranger's value can be one of our ids, so that it may be compared with a uuid column."""
    if not isinstance(value, str) or len(value) != 36:
        return False
    try:
        return str(uuid.UUID(value)) == value
    except ValueError:
        return False


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Aware in, aware (UTC) out, on every database; a naive datetime is refused."""

    impl = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive instants; databases without zones get UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database: give it a time zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC again."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """Small JSON that is never searched: kept as text, the same on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """To text."""
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """From text."""
        return None if value is None else orjson.loads(value)


Id = Annotated[str, mapped_column(Uuid(as_uuid=False))]
Key = Annotated[str, mapped_column(Uuid(as_uuid=False), primary_key=True, default=new_id)]
Instant = Annotated[datetime, mapped_column(UtcDateTime)]
Word = Annotated[str, mapped_column(String(32))]
ExternalId = Annotated[str, mapped_column(String(190))]
Sentence = Annotated[str, mapped_column(String(500))]
Json = Annotated[Any, mapped_column(JsonText)]
# Ciphertext of the vault: 16 MiB on MariaDB, unlimited elsewhere.
Sealed = Annotated[bytes, mapped_column(LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"))]


def short_binary(size: int) -> LargeBinary:
    """A hash or wrapped key of at most `size` bytes, which MariaDB can index."""
    return LargeBinary(size).with_variant(mysql.VARBINARY(size), "mysql", "mariadb")
