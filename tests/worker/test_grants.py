"""Grants between providers and rows: one refresh for however many who ask, and what is gone is gone for all of them."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select

from integrations.errors import GrantGone, IntegrationError, NeedsUser, OurBug, Transient
from integrations.simulator.google_world import CALENDAR
from integrations.simulator.seed import ACME_ACCOUNT, SHARED_ACCOUNT, SHARED_EMAIL
from models.connection import ACTIVE, NEEDS_RECONNECT, PENDING, Connection
from models.grant import BeingRevoked, held_by
from models.job import Job
from models.refresh import take_turn
from models.tenancy import system_session, tenant_session
from tests.at_once import at_once
from tests.conftest import Company, FrozenClock
from tests.models.accounts import close, look, revoke, tokens_of, told
from tests.worker.outside import Outside, user_of
from worker import grants
from worker.grants import CHECK_EVERY, EARLY, fresh_tokens
from worker.services import Services


def fresh(troth: Services, company: Company, account: str, *, renew: bool = False) -> dict[str, str] | str | None:
    """What one who asks gets: tokens, nothing, or an error's name."""
    try:
        return fresh_tokens(troth, company.id, account, renew=renew)
    except IntegrationError as error:
        return type(error).__name__


@pytest.mark.every_database
def test_a_grant_that_google_has_ended_is_asked_for_once_and_destroyed_for_all(
    outside: Outside, troth: Services, acme: Company
) -> None:
    account = outside.bring(acme)
    outside.google.revoke(SHARED_ACCOUNT)
    grant_id = look(troth.database, account).grant_id
    found = at_once(*[partial(fresh, troth, acme, account)] * 8)
    assert sorted(found, key=str) == ["GrantGone", *[None] * 7]
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 1
    row = look(troth.database, account)
    assert (row.status, row.health_code, row.tokens, row.grant_id) == (NEEDS_RECONNECT, "invalid_grant", None, None)
    with tenant_session(troth.database, acme.id, reads_only=True) as session:
        assert troth.vault.existing(session, acme.id, str(grant_id)) is None
    assert told(troth.database, acme, account) == ["connection.created", "connection.needs_reconnect"]
    assert fresh(troth, acme, account) is None


@pytest.mark.parametrize("days, code", [(3, "invalid_grant"), (7.1, "testing_grant"), (30, "invalid_grant")])
def test_a_grant_that_died_after_seven_days_is_explained_as_an_app_in_testing(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock, days: float, code: str
) -> None:
    account = outside.bring(acme)
    clock.tick(days * 86400)
    outside.google.revoke(SHARED_ACCOUNT)
    with pytest.raises(GrantGone) as gone:
        fresh_tokens(troth, acme.id, account)
    assert gone.value.code == code and gone.value.fix
    row = look(troth.database, account)
    assert (row.health_code, row.health_sentence, row.health_fix) == (code, str(gone.value), gone.value.fix)


@pytest.mark.parametrize(
    "press", [{"does": "html_502"}, {"does": "cut"}, {"does": "error"}], ids=lambda one: one["does"]
)
def test_a_refresh_that_failed_leaves_the_tokens_and_the_turn_free(
    outside: Outside, troth: Services, acme: Company, press: dict[str, str]
) -> None:
    account = outside.bring(acme)
    before = look(troth.database, account)
    outside.panel.press(**press, kind="google_refresh", times=1)  # type: ignore[arg-type]
    with pytest.raises(Transient):
        fresh_tokens(troth, acme.id, account)
    row = look(troth.database, account)
    assert (row.status, row.tokens, row.token_version, row.refresh_by, row.refresh_until) == (
        ACTIVE, before.tokens, before.token_version, None, None,
    )  # fmt: skip
    assert isinstance(fresh(troth, acme, account), dict)
    assert told(troth.database, acme, account) == ["connection.created"]


def test_an_administrators_no_is_no_end_of_the_grant(outside: Outside, troth: Services, acme: Company) -> None:
    account = outside.bring(acme)
    outside.google.account(SHARED_ACCOUNT).admin_policy = True
    with pytest.raises(NeedsUser) as error:
        fresh_tokens(troth, acme.id, account)
    assert not isinstance(error.value, GrantGone)
    assert tokens_of(troth.database, troth.vault, account)
    outside.google.account(SHARED_ACCOUNT).admin_policy = False
    assert isinstance(fresh(troth, acme, account), dict)


@pytest.mark.every_database
def test_who_waits_too_long_for_another_process_is_told_to_come_again(
    outside: Outside, troth: Services, acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = outside.bring(acme)
    with tenant_session(troth.database, acme.id) as session:
        assert take_turn(session, troth.vault, session.get_one(Connection, account), troth.clock())
    monkeypatch.setattr(grants, "PATIENCE", timedelta(seconds=0.1))
    assert fresh(troth, acme, account) == "Transient"
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 0


@pytest.mark.every_database
def test_a_turn_whose_process_died_is_taken_over(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    account = outside.bring(acme)
    with tenant_session(troth.database, acme.id) as session:
        assert take_turn(session, troth.vault, session.get_one(Connection, account), clock())
    clock.tick(40)
    assert isinstance(fresh(troth, acme, account), dict)


def test_an_integration_that_is_off_says_which_settings_are_missing(
    outside: Outside, troth: Services, acme: Company
) -> None:
    account = outside.bring(acme)
    with pytest.raises(OurBug, match="TROTH_GOOGLE_CLIENT_ID"):
        fresh_tokens(replace(troth, providers={}), acme.id, account)
    assert look(troth.database, account).refresh_by is None


def test_a_closed_connection_and_a_strangers_have_no_tokens(
    outside: Outside, troth: Services, acme: Company, globex: Company, clock: FrozenClock
) -> None:
    account = outside.bring(acme)
    assert fresh(troth, globex, account) is None
    assert fresh(troth, acme, "01900000-0000-7000-8000-000000000001") is None
    close(troth.database, clock, acme, account)
    assert fresh(troth, acme, account) is None
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 0


def test_a_page_token_is_given_as_it_is_and_nobody_is_asked(outside: Outside, troth: Services, acme: Company) -> None:
    assert fresh(troth, acme, acme.connection_id, renew=True) == {"page_access_token": acme.token}
    assert not outside.server.calls.requests


def test_tokens_are_refreshed_shortly_before_their_end_and_not_earlier(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    account = outside.bring(acme)
    first = fresh(troth, acme, account)
    assert fresh(troth, acme, account) == first
    clock.tick((timedelta(seconds=3599) - EARLY).total_seconds() - 1)
    assert fresh(troth, acme, account) == first
    clock.tick(1)
    assert fresh(troth, acme, account) not in (first, None)
    assert fresh(troth, acme, account, renew=True) not in (first, None)
    assert outside.google.refreshes[SHARED_ACCOUNT] == 3


def test_a_refresh_token_that_is_rotated_is_the_one_that_is_kept(
    outside: Outside, troth: Services, acme: Company
) -> None:
    account = outside.bring(acme)
    old = tokens_of(troth.database, troth.vault, account)["refresh_token"]
    outside.google.account(SHARED_ACCOUNT).rotate = True
    seen = {old}
    for _ in range(3):
        given = fresh(troth, acme, account, renew=True)
        assert isinstance(given, dict) and given == tokens_of(troth.database, troth.vault, account)
        assert given["refresh_token"] not in seen
        seen.add(given["refresh_token"])


@pytest.mark.every_database
def test_of_many_threads_one_refreshes(outside: Outside, troth: Services, acme: Company) -> None:
    account = outside.bring(acme)
    outside.google.account(SHARED_ACCOUNT).rotate = True
    outside.panel.press("latency", kind="google_refresh", seconds=0.1)
    found = at_once(*[partial(fresh, troth, acme, account)] * 16)
    assert found == [tokens_of(troth.database, troth.vault, account)] * 16
    assert outside.google.refresh_calls[SHARED_ACCOUNT] == 1


@pytest.mark.every_database
def test_a_reconnect_during_a_refresh_wins(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    account = outside.bring(acme)
    provider = troth.provider("google_calendar")

    class ReconnectedMeanwhile:
        def refresh(self, tokens: dict[str, str]) -> object:
            refreshed = provider.refresh(tokens)
            if not again:
                again.append(outside.bring(acme))
            return refreshed

    again: list[str] = []
    meanwhile = replace(troth, providers={"google_calendar": ReconnectedMeanwhile()})  # type: ignore[dict-item]
    given = fresh(meanwhile, acme, account)
    assert again == [account]
    assert given == tokens_of(troth.database, troth.vault, account)
    assert outside.google.refreshes[SHARED_ACCOUNT] == 2, "the second is of the new grant"


@pytest.mark.every_database
def test_an_end_that_was_seen_of_an_older_grant_does_not_touch_the_new_one(
    outside: Outside, troth: Services, acme: Company
) -> None:
    account = outside.bring(acme)
    provider = troth.provider("google_calendar")

    class RevokedAndReconnectedMeanwhile:
        def refresh(self, tokens: dict[str, str]) -> object:
            if not again:
                outside.google.revoke(SHARED_ACCOUNT)
                again.append(outside.bring(acme))
            return provider.refresh(tokens)

    again: list[str] = []
    meanwhile = replace(troth, providers={"google_calendar": RevokedAndReconnectedMeanwhile()})  # type: ignore[dict-item]
    assert fresh(meanwhile, acme, account) == tokens_of(troth.database, troth.vault, account)
    assert look(troth.database, account).status == ACTIVE
    assert told(troth.database, acme, account) == ["connection.created"]


def test_a_person_is_known_by_a_hash_that_is_the_same_for_every_tenant(
    outside: Outside, troth: Services, acme: Company, globex: Company
) -> None:
    ours, theirs = (look(troth.database, outside.bring(company)) for company in (acme, globex))
    assert ours.external_id == theirs.external_id and SHARED_ACCOUNT not in ours.external_id
    with system_session(troth.database, reads_only=True) as session:
        marks = [bytes.fromhex(ours.external_id)]
        assert {tenant for tenant, _ in held_by(session, marks, states=(ACTIVE,))} == {acme.id, globex.id}
        assert SHARED_EMAIL not in repr(session.scalars(select(Connection)).all())


def test_a_page_of_another_tenant_waits_visibly_and_starts_no_work(
    outside: Outside, troth: Services, acme: Company, globex: Company
) -> None:
    outside.server.world.users[user_of(globex)].pages.append(acme.page_id)
    stored = {one.connection.external_id: one for one in outside.connect(globex, "facebook_leads", user_of(globex))}
    assert stored[acme.page_id].connection.status == PENDING
    assert stored[acme.page_id].connection.tokens is None
    assert stored[globex.page_id].connection.id == globex.connection_id
    with system_session(troth.database, reads_only=True) as session:
        worked = set(session.scalars(select(Job.connection_id)))
    assert worked == {globex.connection_id}


@pytest.mark.every_database
def test_a_grant_starts_its_first_look_and_the_work_that_waited(
    outside: Outside, troth: Services, acme: Company, clock: FrozenClock
) -> None:
    close(troth.database, clock, acme)
    with pytest.raises(BeingRevoked):
        outside.connect(acme, "facebook_leads", user_of(acme))
    revoke(troth.database, troth.vault, clock, acme)
    (stored,) = outside.connect(acme, "facebook_leads", user_of(acme))
    with system_session(troth.database, reads_only=True) as session:
        kinds = session.scalars(select(Job.kind).where(Job.connection_id == stored.connection.id)).all()
    assert sorted(kinds) == ["connections.check", "forms.discover", "leads.catch_up", "leads.fetch"]
    due = stored.connection.check_at
    assert due is not None and clock() < due <= clock() + CHECK_EVERY["facebook_leads"]


def test_what_a_person_left_out_is_a_named_condition(outside: Outside, troth: Services, acme: Company) -> None:
    (google,) = outside.connect(acme, "google_calendar", ACME_ACCOUNT, untick=[CALENDAR])
    (page,) = outside.connect(acme, "facebook_leads", user_of(acme), untick=["leads_retrieval"])
    for stored in (google, page):
        row = look(troth.database, stored.connection.id)
        assert (row.status, row.health_code) == (NEEDS_RECONNECT, "scope_missing")
        assert row.health_sentence and row.health_fix and row.tokens
