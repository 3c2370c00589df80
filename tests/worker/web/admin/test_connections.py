"""The connections as pages: whose they are, what is masked, what they say, and what each button does and does not."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from models.base import new_id
from models.connect_link import ConnectLink
from models.connection import REVOKED, REVOKING, Connection, needs_person
from models.deletion import (
    DESTROY_TOKENS,
    REVOKE_GRANT,
    STEP_DONE,
    STEP_SKIPPED,
    STOP_NOTICES,
    Deletion,
    deletion_of,
    end_step,
)
from models.grant import NewGrant, store_grant
from models.inbox import Notice, take_in
from models.job import WAITING, Job
from models.revocation import begin_revocation, end_revocation
from models.tenancy import SYSTEM, system_session, tenant_session
from models.tenant import add_tenant
from worker.services import Services

LIST = "/admin/connections"


@pytest.fixture
def settings_given(settings_given: dict[str, str]) -> dict[str, str]:
    """Both integrations are on."""
    meta = {"APP_ID": "1", "APP_SECRET": "secret", "VERIFY_TOKEN": "verify", "GRAPH_URL": "http://127.0.0.1:9"}
    google = {"TROTH_GOOGLE_CLIENT_ID": "g", "TROTH_GOOGLE_CLIENT_SECRET": "secret"}
    return {**settings_given, **google, **{f"TROTH_META_{name}": value for name, value in meta.items()}}


@pytest.fixture
def add_person(services: Services) -> Callable[..., str]:
    """add_person(company, name) -> the id of a connected Google account."""

    def make(company: Any, name: str = "ada@example.com", **changes: Any) -> str:
        with tenant_session(services.database, company.id) as session:
            values: dict[str, Any] = {
                "integration": "google_calendar", "key": new_id(), "external_id": "108", "name": name,
                "tokens": {"refresh_token": "1//secret"}, "may_be_shared": True, **changes,
            }  # fmt: skip
            grant = NewGrant(**values)
            return store_grant(
                session, services.vault, grant, tenant_id=company.id, now=services.clock()
            ).connection.id  # fmt: skip

    return make


def row_of(services: Services, connection_id: str) -> Connection:
    with system_session(services.database, reads_only=True) as session:
        return session.scalars(select(Connection).where(Connection.id == connection_id)).one()


def jobs_of(services: Services, connection_id: str) -> dict[str, str]:
    with system_session(services.database, reads_only=True) as session:
        return {job.kind: job.state for job in session.scalars(select(Job).where(Job.connection_id == connection_id))}


def links_made(services: Services) -> int:
    with system_session(services.database, reads_only=True) as session:
        return len(session.scalars(select(ConnectLink)).all())


def break_it(services: Services, company: Any, waiting: int = 0) -> None:
    with tenant_session(services.database, company.id) as session:
        row = session.scalars(select(Connection).where(Connection.id == company.connection_id)).one()
        needs_person(session, row, code="190", sentence="Meta refused the token.", fix="Connect the page again.",
                     now=services.clock())  # fmt: skip
        notices = [Notice(company.id, row.id, "lead", str(number), "webhook") for number in range(waiting)]
        take_in(session, notices, services.clock())


def own(connection_id: str, more: str = "") -> str:
    return f"{LIST}/{connection_id}{more}"


def test_nothing_opens_and_nothing_happens_without_a_session(http: httpx.Client, acme: Any, services: Services) -> None:
    for path in (LIST, own(acme.connection_id), own(acme.connection_id, "/disconnect")):
        assert http.get(path).headers["location"] == "/admin"
    for more in ("/connect", f"/{acme.connection_id}/check", f"/{acme.connection_id}/disconnect"):
        answer = http.post(LIST + more, data={"integration": "google_calendar", "tenant": acme.id})
        assert (answer.status_code, answer.headers["location"]) == (303, "/admin")
    assert row_of(services, acme.connection_id).status == "active"
    assert links_made(services) == 0


def test_globex_sees_nothing_of_acmes_connections_and_cannot_touch_them(
    enter: Callable[..., httpx.Client], acme: Any, globex: Any, services: Services
) -> None:
    browser = enter(globex.id)

    listed = browser.get(LIST).text
    assert "Globex's page" in listed.replace("&#39;", "'")
    assert "Acme" not in listed
    assert acme.connection_id not in listed
    unknown = browser.get(own(new_id()))
    for tenant in ("", acme.id):
        given = {"tenant": tenant} if tenant else {}
        for more in ("", "/disconnect"):
            answer = browser.get(own(acme.connection_id, more), params=given)
            assert (answer.status_code, answer.text) == (404, unknown.text)
        for more in ("/check", "/disconnect"):
            assert browser.post(own(acme.connection_id, more), data=given).status_code == 404
    for tenant in (acme.id, SYSTEM, "x"):
        given = {"integration": "google_calendar", "tenant": tenant}
        assert browser.post(f"{LIST}/connect", data=given).status_code == 404
    assert row_of(services, acme.connection_id).status == "active"
    assert jobs_of(services, acme.connection_id) == {}
    assert links_made(services) == 0


def test_a_form_of_another_site_does_nothing(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    for more in ("/connect", f"/{acme.connection_id}/check", f"/{acme.connection_id}/disconnect"):
        answer = signed_in.post(
            LIST + more, data={"integration": "google_calendar"}, headers={"sec-fetch-site": "cross-site"}
        )
        assert answer.status_code == 403
    assert row_of(services, acme.connection_id).status == "active"
    assert jobs_of(services, acme.connection_id) == {}
    assert links_made(services) == 0


def test_a_persons_address_is_masked_everywhere_and_a_page_is_named(
    signed_in: httpx.Client, acme: Any, add_person: Callable[..., str]
) -> None:
    person = add_person(acme)

    for path in (LIST, own(person), own(person, "/disconnect")):
        page = signed_in.get(path).text
        assert "a***@example.com" in page
        assert "ada@example.com" not in page
        assert "108" not in re.sub(r"[0-9a-f-]{36}", "", page)  # Google's id of the person
    assert "Acme&#39;s page" in signed_in.get(LIST).text
    assert acme.page_id in signed_in.get(own(acme.connection_id)).text


def test_a_broken_connection_says_what_happened_what_to_do_and_what_waits(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    break_it(services, acme, waiting=3)

    for path in (LIST, own(acme.connection_id)):
        page = signed_in.get(path).text
        for told in ("Needs to be reconnected", "Meta refused the token.", "Connect the page again.", "3 leads",
                     "2 Mar 2026, 04:00", "Reconnect", "Check now", "Disconnect"):  # fmt: skip
            assert told in page


def test_permissions_are_shown_in_words_and_those_left_out_are_named(
    signed_in: httpx.Client, acme: Any, add_person: Callable[..., str]
) -> None:
    page = signed_in.get(own(acme.connection_id)).text
    assert "Read the leads that people send" in page
    assert "Not allowed" in page
    assert "See the list of your Pages" in page
    nothing_told = signed_in.get(own(add_person(acme))).text
    assert "It is not known yet" in nothing_told
    assert "Not allowed" not in nothing_told


def test_connecting_leads_to_a_page_of_ours_that_works(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    answer = signed_in.post(f"{LIST}/connect", data={"integration": "google_calendar"})

    assert answer.status_code == 303
    assert re.fullmatch(r"/connect/[\w-]{43}", answer.headers["location"])
    page = signed_in.get(answer.headers["location"])
    assert page.status_code == 200
    assert "Acme" in page.text
    with system_session(services.database, reads_only=True) as session:
        link = session.scalars(select(ConnectLink)).one()
    assert (link.tenant_id, link.integration, link.user) == (acme.id, "google_calendar", None)


def test_a_link_to_send_is_shown_once_and_leads_to_the_public_address(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    page = signed_in.post(f"{LIST}/connect", data={"integration": "facebook_leads", "how": "link"})

    (url,) = re.findall(r'value="(http[^"]+)"', page.text)
    assert page.headers["cache-control"] == "no-store"
    assert url.startswith(f"{services.settings.base_url}/connect/")
    assert signed_in.get(url.removeprefix(services.settings.base_url)).status_code == 200
    assert url.rsplit("/", 1)[1] not in signed_in.get(LIST).text


def test_what_cannot_be_connected_makes_no_link(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    for wish in ({}, {"integration": "fax"}, {"integration": "x" * 500}):
        assert signed_in.post(f"{LIST}/connect", data=wish).status_code == 422
    assert links_made(services) == 0


class TestTurnedOff:
    """Google Calendar has no settings here."""

    @pytest.fixture
    def settings_given(self, settings_given: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in settings_given.items() if not name.startswith("TROTH_GOOGLE")}

    @pytest.mark.every_database
    def test_its_button_is_absent_and_an_operator_is_told_why(
        self, enter: Callable[..., httpx.Client], acme: Any, services: Services
    ) -> None:
        theirs = enter(acme.id).get(LIST).text
        assert "Connect Facebook Lead Ads" in theirs
        assert "Google" not in theirs
        operators = enter(None).get(LIST, params={"tenant": acme.id}).text
        assert "Connect Google Calendar" not in operators
        assert "TROTH_GOOGLE_CLIENT_ID" in operators
        answer = enter(acme.id).post(f"{LIST}/connect", data={"integration": "google_calendar"})
        assert answer.status_code == 503
        assert links_made(services) == 0


@pytest.mark.every_database
def test_check_now_puts_a_job_and_does_not_wait_for_an_earlier_one(
    signed_in: httpx.Client, acme: Any, services: Services, clock: Any
) -> None:
    answer = signed_in.post(own(acme.connection_id, "/check"))
    assert answer.headers["location"] == own(acme.connection_id, "?said=checking")
    assert "Troth is looking" in signed_in.get(answer.headers["location"]).text
    assert jobs_of(services, acme.connection_id) == {"connections.check": "queued"}

    later = clock() + timedelta(hours=1)
    with system_session(services.database) as session:
        session.execute(
            update(Job).values(state=WAITING, error_kind="transient", due_at=later, wake_at=later, attempts=4)
        )
    signed_in.post(own(acme.connection_id, "/check"))
    with system_session(services.database, reads_only=True) as session:
        assert session.scalars(select(Job)).one().due_at == clock()


@pytest.mark.every_database
def test_the_page_before_disconnecting_says_what_will_happen_and_does_nothing(
    signed_in: httpx.Client, acme: Any, add_person: Callable[..., str], services: Services
) -> None:
    break_it(services, acme, waiting=2)

    page = signed_in.get(own(acme.connection_id, "/disconnect")).text

    for told in ("What stops at once", "2 leads are waiting", "every lead that came through this page", "24 hours",
                 "Wednesday, 11 March 2026", "7 working days", "What the CRM has copied"):  # fmt: skip
        assert told in page, told
    assert "what becomes of our events is chosen below" in signed_in.get(own(add_person(acme), "/disconnect")).text
    assert row_of(services, acme.connection_id).status == "needs_reconnect"
    with system_session(services.database, reads_only=True) as session:
        assert session.scalars(select(Deletion)).all() == []


def test_disconnecting_closes_at_once_and_shows_what_is_due_and_a_second_time_changes_nothing(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    for _ in range(2):
        answer = signed_in.post(own(acme.connection_id, "/disconnect"))
        assert (answer.status_code, answer.headers["location"]) == (303, own(acme.connection_id))
        assert row_of(services, acme.connection_id).status == REVOKING
        assert jobs_of(services, acme.connection_id) == {"connections.revoke": "queued"}
    with system_session(services.database, reads_only=True) as session:
        asked = session.scalars(select(Deletion)).one()
    assert (asked.requested_by, asked.undo_until - asked.requested_at) == ("admin", services.settings.undo)
    page = signed_in.get(own(acme.connection_id)).text
    for told in ("Being disconnected", "Wednesday, 11 March 2026", "To be done", "Destroy the stored access"):
        assert told in page
    for gone in ("Check now", "Reconnect", "Disconnect…"):
        assert gone not in page
    assert f'href="/deletions/{asked.confirmation_code}"' in page
    assert signed_in.get(f"/deletions/{asked.confirmation_code}").status_code == 200
    assert signed_in.get(own(acme.connection_id, "/disconnect")).headers["location"] == own(acme.connection_id)
    assert signed_in.post(own(acme.connection_id, "/check")).status_code == 409


@pytest.mark.every_database
def test_a_closed_connection_tells_how_each_step_went(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    now = services.clock()
    with tenant_session(services.database, acme.id) as session:
        begin_revocation(session, acme.connection_id, requested_by="api", undo=services.settings.undo, now=now)
        asked = deletion_of(session, acme.connection_id)
        assert asked is not None
        end_step(session, asked.id, STOP_NOTICES, STEP_DONE, None, now)
        end_step(session, asked.id, REVOKE_GRANT, STEP_SKIPPED, "Another connection lives by it.", now)
        end_step(session, asked.id, DESTROY_TOKENS, STEP_DONE, None, now)
        end_revocation(session, services.vault, session.get_one(Connection, acme.connection_id), now)
    assert row_of(services, acme.connection_id).status == REVOKED

    page = signed_in.get(own(acme.connection_id)).text

    for told in ("Disconnected", "Done", "Not done", "Another connection lives by it."):
        assert told in page
    assert "To be done" not in page
    assert "Disconnected" in signed_in.get(LIST).text


def test_what_providers_call_things_is_shown_as_text(
    signed_in: httpx.Client, acme: Any, add_person: Callable[..., str], services: Services
) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    ids = [add_person(acme, evil), add_person(acme, evil, integration="facebook_leads", key="9", may_be_shared=False)]
    with tenant_session(services.database, acme.id) as session:
        for row in session.scalars(select(Connection)):
            needs_person(session, row, code="x", sentence=evil, fix=evil, now=services.clock())
    for path in (LIST, *(own(one, more) for one in ids for more in ("", "/disconnect", f"?said={evil[:8]}"))):
        page = signed_in.get(path)
        assert page.status_code == 200
        assert not re.search(r"<script|<img src=x|https?://|style=", page.text)


@pytest.mark.every_database
def test_pages_follow_each_other_and_who_needs_somebody_comes_first(
    signed_in: httpx.Client, acme: Any, add_person: Callable[..., str], services: Services
) -> None:
    people = [add_person(acme, f"p{number}@example.com") for number in range(51)]
    with tenant_session(services.database, acme.id) as session:
        row = session.scalars(select(Connection).where(Connection.id == people[7])).one()
        needs_person(session, row, code="x", sentence="It broke.", fix="Mend it.", now=services.clock())

    first = signed_in.get(LIST).text
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    second = signed_in.get(following[1].replace("&amp;", "&")).text

    shown = [re.findall(r'<h2 id="c-([^"]+)"', page) for page in (first, second)]
    assert (len(shown[0]), len(shown[1])) == (50, 2)
    assert shown[0][0] == people[7]
    assert {*shown[0], *shown[1]} == {acme.connection_id, *people}
    assert signed_in.get(LIST, params={"cursor": "AAAA"}).status_code == 400


def test_an_operator_stays_with_the_tenant_that_was_chosen(
    enter: Callable[..., httpx.Client], acme: Any, services: Services
) -> None:
    browser = enter(None)
    assert browser.get(LIST).headers["location"] == "/admin/tenants"
    break_it(services, acme)
    for path in (LIST, own(acme.connection_id), own(acme.connection_id, "/disconnect")):
        page = browser.get(path, params={"tenant": acme.id}).text
        addresses = re.findall(r'href="(/admin/(?:leads|connections)[^"]*)"', page)
        assert addresses
        assert [one for one in addresses if not one.endswith(f"tenant={acme.id}")] == []
        forms = re.findall(r'<form[^>]*action="/admin/connections.*?</form>', page, re.DOTALL)
        assert forms
        assert [one for one in forms if f'name="tenant" value="{acme.id}"' not in one] == []
    answer = browser.post(own(acme.connection_id, "/disconnect"), data={"tenant": acme.id})
    assert answer.headers["location"] == own(acme.connection_id, f"?tenant={acme.id}")
    assert row_of(services, acme.connection_id).status == REVOKING


def test_an_empty_list_says_what_to_do(enter: Callable[..., httpx.Client], services: Services) -> None:
    with system_session(services.database) as session:
        tenant = add_tenant(session, external_id="new", name="New", country="IE", timezone="UTC", now=services.clock())
    page = enter(tenant.id).get(LIST).text
    assert "Nothing is connected yet" in page
    assert "Connect Google Calendar" in page
