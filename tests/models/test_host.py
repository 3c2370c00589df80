"""Keys, links and sessions: whose they are, until when, and that a link opens once."""

from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text

from models import host
from models.database import Database
from models.host import ApiKey
from models.tenancy import system_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock


def test_a_key_speaks_for_its_tenant_and_scopes(database: Database, clock: FrozenClock, acme: Company) -> None:
    with system_session(database) as session:
        row, key = host.add_key(session, tenant_id=acme.id, scopes=("leads:read",), now=clock())
        _, platform = host.add_key(session, tenant_id=None, scopes=host.EVERY_SCOPE, now=clock())
    with system_session(database, reads_only=True) as session:
        caller, vendor = host.caller_of(session, key, clock()), host.caller_of(session, platform, clock())
    assert caller is not None
    assert vendor is not None
    assert (caller.tenant_id, caller.credential, row.hint) == (acme.id, f"key:{row.id}", key[-4:])
    assert (caller.may("leads:read"), caller.may("leads:write"), caller.may("*")) == (True, False, False)
    assert (vendor.tenant_id, vendor.may("jobs:write")) == (None, True)


@pytest.mark.parametrize("wrong", ["", "troth_", "x" * 5000, "troth_\0", "ключ"])
def test_a_wrong_key_is_nobody(database: Database, clock: FrozenClock, wrong: str) -> None:
    with system_session(database) as session:
        host.add_key(session, tenant_id=None, scopes=("*",), now=clock())
        assert host.caller_of(session, wrong, clock()) is None


def test_a_key_differs_by_case_and_by_its_last_letter(database: Database, clock: FrozenClock) -> None:
    with system_session(database) as session:
        _, key = host.add_key(session, tenant_id=None, scopes=("*",), now=clock())
        for wrong in (key.upper(), key.swapcase(), key[:-1], key + " "):
            assert host.caller_of(session, wrong, clock()) is None


def test_an_expired_or_revoked_key_is_nobodys(database: Database, clock: FrozenClock, acme: Company) -> None:
    with system_session(database) as session:
        _, expires = host.add_key(
            session, tenant_id=acme.id, scopes=("*",), now=clock(), expires_at=clock() + timedelta(hours=1)
        )
        revoked, key = host.add_key(session, tenant_id=acme.id, scopes=("*",), now=clock())
    with system_session(database) as session:
        assert host.caller_of(session, expires, clock()) is not None
        session.get_one(ApiKey, revoked.id).revoked_at = clock()
    clock.tick(3600)
    with system_session(database, reads_only=True) as session:
        assert host.caller_of(session, expires, clock()) is None
        assert host.caller_of(session, key, clock()) is None


def test_no_secret_is_stored(database: Database, clock: FrozenClock) -> None:
    with system_session(database) as session:
        _, key = host.add_key(session, tenant_id=None, scopes=("*",), now=clock())
        link = host.add_sign_in(session, kind="link", tenant_id=None, now=clock(), lives=timedelta(hours=1))
        rows = str([session.execute(text(f"SELECT * FROM {table}")).all() for table in ("api_keys", "sign_ins")])
    for secret in (key, link):
        assert secret not in rows
        assert secret[-20:] not in rows


def test_a_link_opens_once_however_many_click_at_once(database: Database, clock: FrozenClock, acme: Company) -> None:
    with system_session(database) as session:
        link = host.add_sign_in(session, kind="link", tenant_id=acme.id, now=clock(), lives=timedelta(hours=1))

    def click() -> str | None:
        with system_session(database) as session:
            opened = host.use_link(session, link, clock())
            return opened.tenant_id if opened else None

    assert sorted(map(str, at_once(*[partial(click)] * 8))) == sorted([acme.id, *["None"] * 7])


def test_a_link_does_not_open_when_it_is_late_unknown_or_a_session(database: Database, clock: FrozenClock) -> None:
    with system_session(database) as session:
        late = host.add_sign_in(session, kind="link", tenant_id=None, now=clock(), lives=timedelta(minutes=1))
        cookie = host.add_sign_in(session, kind="session", tenant_id=None, now=clock(), lives=timedelta(hours=1))
    clock.tick(60)
    with system_session(database) as session:
        assert [host.use_link(session, secret, clock()) for secret in (late, "unknown", cookie)] == [None] * 3


def test_a_session_lives_until_it_ends_and_a_link_is_none(
    database: Database, clock: FrozenClock, acme: Company
) -> None:
    with system_session(database) as session:
        cookie = host.add_sign_in(session, kind="session", tenant_id=acme.id, now=clock(), lives=timedelta(minutes=1))
        link = host.add_sign_in(session, kind="link", tenant_id=acme.id, now=clock(), lives=timedelta(hours=1))
    with system_session(database, reads_only=True) as session:
        found = host.session_of(session, cookie, clock())
        assert found is not None
        assert found.tenant_id == acme.id
        assert host.session_of(session, link, clock()) is None
    clock.tick(60)
    with system_session(database, reads_only=True) as session:
        assert host.session_of(session, cookie, clock()) is None
