"""The pages of Facebook leads: whose they are, what they say, what is masked, and what each button does and does not."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from integrations.simulator.server import SimulatorServer
from models.base import new_id
from models.connection import Connection
from models.form import Form
from models.tenancy import SYSTEM, tenant_session
from tests.worker.meta import world_of
from tests.worker.outside import APP_SECRET
from tests.worker.web.forms import add_check, add_failed, add_form, every_job, form_row, inbox_of, jobs_of
from worker.services import Services

PAGE = "/admin/facebook"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def posts(form: str, check: str, connection: str) -> list[tuple[str, dict[str, str]]]:
    """Every button of these pages."""
    return [
        (f"/admin/forms/{form}/mapping", {"how": "keep", "email": "best_mail"}),
        (f"/admin/forms/{form}/mapping", {"how": "reset"}),
        (f"/admin/forms/{form}/mapping", {"how": "try", "email": "email"}),
        (f"/admin/forms/{form}/backfill", {"since": "2026-02-25"}),
        (f"/admin/forms/{form}/test-lead", {}),
        (f"/admin/lead-checks/{check}/fetch", {}),
        (f"{PAGE}/{connection}/read", {}),
        (f"{PAGE}/{connection}/check", {}),
    ]


@pytest.mark.every_database
def test_globex_sees_nothing_of_acmes_forms_and_its_buttons_touch_none(
    enter: Callable[..., httpx.Client], acme: Any, globex: Any, services: Services
) -> None:
    form = add_form(services, acme, name="Acme's secret form")
    check = add_check(services, acme, form, date(2026, 3, 1), ["9001"])
    failed = add_failed(services, acme, "9002")
    browser = enter(globex.id)

    page = browser.get(PAGE)
    assert page.status_code == 200
    assert "secret form" not in page.text
    assert "9002" not in page.text
    unknown = browser.get(f"/admin/forms/{new_id()}")
    for tenant in ("", acme.id, SYSTEM, "x"):
        given = {"tenant": tenant} if tenant else {}
        theirs = browser.get(f"/admin/forms/{form}", params=given)
        assert (theirs.status_code, theirs.text) == (404, unknown.text)
        for path, body in posts(form, check, acme.connection_id):
            assert browser.post(path, data={**body, **given}).status_code == 404
        if tenant:
            assert browser.post(f"{PAGE}/replay", data=given).status_code == 404
    for body in ({}, {"event": failed}):
        assert browser.post(f"{PAGE}/replay", data=body).status_code == 303
    assert every_job(services) == 0
    assert inbox_of(services, acme) == {"9002": "failed"}
    assert form_row(services, form).mapping is None


def test_nothing_happens_without_a_session_or_by_a_form_of_another_site(
    http: httpx.Client, signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    form = add_form(services, acme)
    check = add_check(services, acme, form, date(2026, 3, 1), ["9001"])
    add_failed(services, acme, "9002")
    buttons = [*posts(form, check, acme.connection_id), (f"{PAGE}/replay", {}), ("/admin/leads/csv", {})]

    for path in (PAGE, f"/admin/forms/{form}"):
        assert http.get(path).headers["location"] == "/admin"
    for path, body in buttons:
        assert http.post(path, data=body).headers["location"] == "/admin"
        assert signed_in.post(path, data=body, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert every_job(services) == 0
    assert inbox_of(services, acme) == {"9002": "failed"}


@pytest.mark.every_database
def test_a_page_says_how_its_forms_are(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    now = services.clock()
    add_form(services, acme, "1", name="Spring", proven_until=now, last_lead_at=now - timedelta(days=5),
             silent_since=now - timedelta(days=5), backfill_state="running", backfill_read=41)  # fmt: skip
    red = add_form(services, acme, "2", name="Autumn")
    add_check(services, acme, red, date(2026, 2, 28), ["9001", "9002"])
    add_check(services, acme, red, date(2026, 3, 1), [])
    add_form(services, acme, "3", name="Winter")
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Form, red).gone_at = now

    page = signed_in.get(PAGE).text

    for told in ("Acme&#39;s page", "Spring", "Silent since 25 Feb 2026", "Backfill: 41 read", "2 Mar 2026, 04:00", "Gone",
                 "2 missing", "not counted yet", "Read now", "Check now"):  # fmt: skip
        assert told in page, told
    assert "could not be read" not in page
    assert 'aria-current="page">Forms' in page


def test_failed_leads_are_told_with_their_reason_and_tried_again_one_or_all(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    one = add_failed(services, acme, "9001", "missing", "Meta has no such lead.")
    for number in range(2, 5):
        add_failed(services, acme, f"900{number}", "our_bug", "Meta refused the question.")

    page = signed_in.get(PAGE).text
    for told in ("Leads that could not be read: 4", "9001", "Meta has no such lead.", "Not there, or not to be read",
                 "Refused for good", "Try all 4 again"):  # fmt: skip
        assert told in page, told
    answer = signed_in.post(f"{PAGE}/replay", data={"event": one})
    assert answer.headers["location"] == f"{PAGE}?said=replayed"
    assert list(inbox_of(services, acme).values()).count("failed") == 3
    assert "tried again now" in signed_in.get(answer.headers["location"]).text
    signed_in.post(f"{PAGE}/replay")
    assert set(inbox_of(services, acme).values()) == {"pending"}
    assert jobs_of(services, acme) == ["leads.fetch"]
    assert "could not be read" not in signed_in.get(PAGE).text
    assert signed_in.post(f"{PAGE}/replay", data={"event": "x"}).status_code == 404


@pytest.mark.every_database
def test_read_now_and_check_now_put_their_jobs(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    form = add_form(services, acme, read_due_at=None, check_due_at=None)

    for _ in range(2):
        signed_in.post(f"{PAGE}/{acme.connection_id}/read")
        assert jobs_of(services, acme) == ["forms.discover", "leads.catch_up"]
    assert form_row(services, form).read_due_at == services.clock()
    signed_in.post(f"{PAGE}/{acme.connection_id}/check")
    assert jobs_of(services, acme) == ["connections.check", "forms.discover", "leads.catch_up", "leads.check"]
    assert form_row(services, form).check_due_at == services.clock()


@pytest.mark.every_database
def test_a_forms_page_shows_what_it_asks_and_a_mapping_is_tried_masked_then_kept_then_undone(
    signed_in: httpx.Client, acme: Any, services: Services, add_lead: Callable[..., str]
) -> None:
    form = add_form(services, acme)
    answers = [{"key": "email", "label": None, "values": ["old@example.com"]},
               {"key": "best_mail", "label": None, "values": ["ada@example.org"]}]  # fmt: skip
    add_lead(acme, "5001", answers=answers)
    own, mapping = f"/admin/forms/{form}", {"full_name": "full_name", "email": "best_mail"}
    page = signed_in.get(own).text
    for told in ("Where do we write to?", "Small", "Nothing is kept yet", "What it asks"):
        assert told in page, told

    tried = signed_in.post(f"{own}/mapping", data={"how": "try", **mapping})
    assert (tried.status_code, form_row(services, form).mapping) == (200, None)
    assert "a***@example.org" in tried.text
    assert "ada@example.org" not in tried.text
    assert 'value="best_mail" selected' in tried.text
    kept = signed_in.post(f"{own}/mapping", data={"how": "keep", **mapping, "phone": ""})
    assert kept.headers["location"] == f"{own}?said=mapped"
    assert form_row(services, form).mapping == mapping
    assert "This is how contacts are read now" in signed_in.get(own).text
    signed_in.post(f"{own}/mapping", data={"how": "reset"})
    assert form_row(services, form).mapping is None


def test_a_wrong_mapping_is_told_and_not_kept(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    form = add_form(services, acme)
    for wrong, told in (({"email": EVIL}, "no question with the key"), ({"email": "email", "phone": "email"}, "fill one"),
                        ({}, "Choose a question")):  # fmt: skip
        for how in ("try", "keep"):
            answer = signed_in.post(f"/admin/forms/{form}/mapping", data={"how": how, **wrong})
            assert answer.status_code == 422
            assert told in answer.text
            assert "<script" not in answer.text
    assert form_row(services, form).mapping is None


def test_red_days_are_shown_and_what_they_lack_is_fetched(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    form = add_form(services, acme)
    red = add_check(services, acme, form, date(2026, 3, 1), [f"900{number}" for number in range(7)])
    add_check(services, acme, form, date(2026, 2, 28), [])
    add_check(services, acme, form, date(2026, 1, 1), ["8000"])  # too long ago to be shown

    page = signed_in.get(f"/admin/forms/{form}").text
    assert page.count("Fetch them") == 1
    for told in ("7 missing", "All here", "9000, 9001, 9002, 9003, 9004 …"):
        assert told in page, told
    answer = signed_in.post(f"/admin/lead-checks/{red}/fetch")
    assert answer.headers["location"] == f"/admin/forms/{form}?said=fetching"
    assert len(inbox_of(services, acme)) == 7
    assert jobs_of(services, acme) == ["leads.check", "leads.fetch"]


def test_a_backfill_begins_on_a_day_of_the_tenant_and_not_beyond_metas_wall(
    signed_in: httpx.Client, acme: Any, services: Services
) -> None:
    form = add_form(services, acme)
    for day in ("", "soon", "2025-12-01", "2026-03-03"):
        assert signed_in.post(f"/admin/forms/{form}/backfill", data={"since": day}).status_code == 422
    assert jobs_of(services, acme) == []

    # The first day of the calendar on the page: it began in New York before Meta's wall, which is 04:00 there.
    assert 'min="2025-12-02"' in signed_in.get(f"/admin/forms/{form}").text
    answer = signed_in.post(f"/admin/forms/{form}/backfill", data={"since": "2025-12-02"})
    assert answer.headers["location"] == f"/admin/forms/{form}?said=backfill"
    assert form_row(services, form).backfill_since == services.clock() - timedelta(days=90)
    assert jobs_of(services, acme) == ["leads.backfill"]
    page = signed_in.get(answer.headers["location"]).text
    assert "Running, 0 read" in page


@pytest.mark.every_database
def test_what_people_wrote_at_meta_is_shown_as_text(
    signed_in: httpx.Client, acme: Any, services: Services, add_lead: Callable[..., str]
) -> None:
    question = {"key": EVIL, "label": EVIL, "type": EVIL, "options": [{"key": EVIL, "value": EVIL}]}
    form = add_form(services, acme, name=EVIL, status=EVIL[:32], questions=[question], gone_sentence=EVIL,
                    backfill_state="done", backfill_sentence=EVIL)  # fmt: skip
    add_check(services, acme, form, date(2026, 3, 1), [EVIL])
    add_failed(services, acme, EVIL, "missing", EVIL)
    add_lead(acme, "5001", answers=[{"key": EVIL, "label": None, "values": [EVIL]}])
    tried = signed_in.post(f"/admin/forms/{form}/mapping", data={"how": "try", "email": EVIL})
    assert tried.status_code == 200
    for page in (signed_in.get(PAGE).text, signed_in.get(f"/admin/forms/{form}").text, tried.text):
        assert not re.search(r"<script|<img src=x|https?://|style=|\son\w+=\"", page)


def test_an_operator_stays_with_the_tenant_that_was_chosen(
    enter: Callable[..., httpx.Client], acme: Any, services: Services
) -> None:
    browser, form = enter(None), add_form(services, acme)
    add_check(services, acme, form, date(2026, 3, 1), ["9001"])
    add_failed(services, acme, "9002")
    assert browser.get(PAGE).headers["location"] == "/admin/tenants"
    for path in (PAGE, f"/admin/forms/{form}"):
        page = browser.get(path, params={"tenant": acme.id}).text
        addresses = re.findall(r'href="(/admin/(?:leads|connections|forms|facebook)[^"]*)"', page)
        assert addresses
        assert [one for one in addresses if f"tenant={acme.id}" not in one] == []
        forms = re.findall(r'<form[^>]*action="/admin/(?!sign-out).*?</form>', page, re.DOTALL)
        assert forms
        assert [one for one in forms if f'name="tenant" value="{acme.id}"' not in one] == []
    answer = browser.post(f"{PAGE}/replay", data={"tenant": acme.id})
    assert answer.headers["location"] == f"{PAGE}?tenant={acme.id}&said=replayed"


@pytest.mark.every_database
def test_pages_of_forms_follow_each_other(signed_in: httpx.Client, acme: Any, services: Services) -> None:
    with tenant_session(services.database, acme.id) as session:
        for number in range(102):
            session.add(Form(id=new_id(), tenant_id=acme.id, connection_id=acme.connection_id, external_id=str(number),
                             name=f"F{number}", status="ACTIVE", questions=[], seen_at=services.clock(),
                             backfill_read=0))  # fmt: skip
    first = signed_in.get(PAGE).text
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following is not None
    second = signed_in.get(following[1].replace("&amp;", "&")).text

    found = [set(re.findall(r'href="/admin/forms/([^"]+)"', page)) for page in (first, second)]
    assert [len(one) for one in found] == [100, 2]
    assert not found[0] & found[1]
    assert signed_in.get(PAGE, params={"cursor": "AAAA"}).status_code == 400


@pytest.mark.every_database
def test_an_empty_page_says_what_to_do(enter: Callable[..., httpx.Client], acme: Any, services: Services) -> None:
    assert "No form of this page is known yet" in enter(acme.id).get(PAGE).text
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).status = "revoked"
    assert "No Facebook page is connected" in enter(acme.id).get(PAGE).text


class TestAtMeta:
    """Meta is there."""

    @pytest.fixture
    def simulator(self, clock: Any, acme: Any) -> Any:
        with SimulatorServer(world_of(clock, acme)) as server:
            yield server

    @pytest.fixture
    def settings_given(self, settings_given: dict[str, str], simulator: SimulatorServer) -> dict[str, str]:
        meta = {"APP_ID": "1", "APP_SECRET": APP_SECRET, "VERIFY_TOKEN": "verify", "GRAPH_URL": simulator.url}
        return {**settings_given, **{f"TROTH_META_{name}": value for name, value in meta.items()}}

    def test_a_test_lead_is_asked_for_by_a_button(
        self, signed_in: httpx.Client, acme: Any, services: Services, simulator: SimulatorServer
    ) -> None:
        form = add_form(services, acme, f"6{acme.page_id}")

        answer = signed_in.post(f"/admin/forms/{form}/test-lead")

        assert answer.headers["location"] == f"/admin/forms/{form}?said=test-lead"
        assert simulator.world.forms[f"6{acme.page_id}"].test_lead is not None
