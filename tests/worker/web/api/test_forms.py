"""A tenant's forms: exactly its own; a mapping is tried before it is kept, a backfill stops at Meta's wall."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from integrations.simulator.server import SimulatorServer
from models.base import new_id
from models.connection import Connection, needs_person
from models.form import BACKFILL_RUNNING, Form
from models.tenancy import tenant_session
from tests.worker.meta import world_of
from tests.worker.outside import APP_SECRET
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from tests.worker.web.forms import add_form, every_job, form_row, jobs_of
from worker.services import Services


def test_globex_sees_nothing_of_acmes_forms_and_cannot_touch_them(
    as_tenant: Callable[..., Api], platform: Callable[..., Api], acme: Any, globex: Any, services: Services
) -> None:
    form, own = add_form(services, acme), add_form(services, globex, "888")

    for api in (as_tenant(globex), platform("globex")):
        assert [one["id"] for one in good(api("GET", "/v1/forms"))["items"]] == [own]
        assert good(api("GET", "/v1/forms", params={"connection_id": acme.connection_id}))["items"] == []
        for method, more, body in (
            ("GET", "", None),
            ("PUT", "/mapping", {"mapping": None}),
            ("POST", "/backfill", {"since": "2026-02-25T00:00:00Z"}),
            ("POST", "/test-lead", None),
        ):
            theirs = api(method, f"/v1/forms/{form}{more}", json=body)
            problem(theirs, 404, "not-found")
            assert theirs.text == api(method, f"/v1/forms/{new_id()}{more}", json=body).text
    assert every_job(services) == 0
    assert form_row(services, form).backfill_state is None


def test_a_key_without_the_scope_changes_nothing(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    form, api = add_form(services, acme), as_tenant(acme, "leads:read")

    problem(api("PUT", f"/v1/forms/{form}/mapping", json={"mapping": None}), 403, "missing-scope")
    problem(api("POST", f"/v1/forms/{form}/backfill", json={"since": "2026-02-25T00:00:00Z"}), 403, "missing-scope")
    problem(api("POST", f"/v1/forms/{form}/test-lead"), 403, "missing-scope")
    problem(as_tenant(acme, "jobs:read")("GET", "/v1/forms"), 403, "missing-scope")


@pytest.mark.every_database
def test_a_form_has_exactly_the_promised_fields(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    now = services.clock()
    form = add_form(services, acme, last_lead_at=now, proven_until=now, backfill_state=BACKFILL_RUNNING,
                    backfill_since=now - timedelta(days=3), backfill_read=7)  # fmt: skip

    one = good(as_tenant(acme, "leads:read")("GET", f"/v1/forms/{form}"))

    assert good(as_tenant(acme)("GET", "/v1/forms")) == {"items": [one], "next": None}
    assert one == {
        "id": form, "external_id": "777", "connection_id": acme.connection_id, "page_id": acme.page_id,
        "name": "Form 777", "status": "ACTIVE", "locale": "en_US",
        "questions": [
            {"key": "full_name", "label": "Full name", "type": "FULL_NAME", "options": []},
            {"key": "email", "label": "E-mail", "type": "EMAIL", "options": []},
            {"key": "best_mail", "label": "Where do we write to?", "type": "CUSTOM", "options": []},
            {"key": "size", "label": "How big?", "type": "CUSTOM", "options": [{"key": "s", "value": "Small"}]},
        ],
        "mapping": None, "suggested_mapping": {"full_name": "full_name", "email": "email"}, "leads_count": 12,
        "last_lead_at": "2026-03-02T09:00:00Z", "proven_until": "2026-03-02T09:00:00Z", "silent_since": None,
        "gone_at": None, "gone_sentence": None,
        "backfill": {"state": "running", "since": "2026-02-27T09:00:00Z", "read": 7, "sentence": None},
    }  # fmt: skip


@pytest.mark.every_database
def test_pages_hold_every_form_once(as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
    ids = [add_form(services, acme, str(number)) for number in range(3)]
    api = as_tenant(acme)

    first = good(api("GET", "/v1/forms", params={"limit": 2}))
    second = good(api("GET", "/v1/forms", params={"limit": 2, "cursor": first["next"]}))

    assert sorted(one["id"] for page in (first, second) for one in page["items"]) == sorted(ids)
    assert second["next"] is None


@pytest.mark.parametrize(
    "wish, told",
    [
        ({"mapping": {"email": "no_such_question"}}, "no question with the key"),
        ({"mapping": {"email": "email", "phone": "email"}}, "can fill one field"),
        ({"mapping": {"full_name": "full_name", "first_name": "size"}}, "A name is mapped twice"),
        ({"mapping": {}}, "Map one field at least"),
        ({"mapping": {"shoe_size": "size"}}, "not known here"),
        ({"mapping": {"email": 7}}, "string"),
        ({"mapping": "email"}, "dictionary"),
        ({"dry_run": True}, "required"),
        ({"mapping": None, "dry_run": "yes"}, "boolean"),
    ],
    ids=["unknown question", "twice", "halves", "empty", "unknown field", "number", "text", "absent", "not a boolean"],
)
def test_a_wrong_mapping_is_refused_with_a_sentence_and_not_kept(
    wish: dict[str, Any], told: str, as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    form = add_form(services, acme, mapping={"email": "best_mail"})

    body = problem(as_tenant(acme)("PUT", f"/v1/forms/{form}/mapping", json=wish), 422, "invalid")

    assert told in " ".join(one["problem"] for one in body["errors"])
    assert form_row(services, form).mapping == {"email": "best_mail"}


def test_a_mapping_is_tried_on_past_leads_before_it_is_kept(
    as_tenant: Callable[..., Api], acme: Any, services: Services, add_lead: Callable[..., str], clock: Any
) -> None:
    form, api = add_form(services, acme), as_tenant(acme)
    answers = [
        {"key": "FULL_NAME", "label": None, "values": ["Ada Example"]},
        {"key": "email", "label": None, "values": ["old@example.com"]},
        {"key": "best_mail", "label": None, "values": ["ada@example.org"]},
        {"key": "size", "label": None, "values": ["s"]},
    ]
    leads = [add_lead(acme, str(6000 + n), answers=answers, created_at=clock() - timedelta(hours=n)) for n in range(6)]
    add_lead(acme, "7000", is_test=True)
    add_lead(acme, "7001", form_external_id="other")
    mapping = {"full_name": "full_name", "email": "best_mail"}

    tried = good(api("PUT", f"/v1/forms/{form}/mapping", json={"mapping": mapping, "dry_run": True}))

    assert (tried["saved"], form_row(services, form).mapping) == (False, None)
    assert [one["lead_id"] for one in tried["tried"]] == leads[:5]
    assert tried["tried"][0]["contact"] == {
        "full_name": "A*** E***", "email": "a***@example.org", "phone": None, "phone_raw": None
    }  # fmt: skip
    assert tried["tried"][0]["unmapped"] == ["email", "size"]
    kept = good(api("PUT", f"/v1/forms/{form}/mapping", json={"mapping": mapping}))
    assert kept == {**tried, "saved": True}
    assert good(api("GET", f"/v1/forms/{form}"))["mapping"] == mapping
    without = good(api("PUT", f"/v1/forms/{form}/mapping", json={"mapping": None}))
    assert without["tried"][0]["contact"]["email"] == "o***@example.com"
    assert without["tried"][0]["unmapped"] == ["best_mail", "size"]
    assert form_row(services, form).mapping is None


@pytest.mark.every_database
def test_a_form_that_has_only_test_leads_is_tried_on_them(
    as_tenant: Callable[..., Api], acme: Any, services: Services, add_lead: Callable[..., str]
) -> None:
    form, lead = add_form(services, acme), add_lead(acme, "7000", is_test=True)

    tried = good(as_tenant(acme)("PUT", f"/v1/forms/{form}/mapping", json={"mapping": None}))["tried"]

    assert [one["lead_id"] for one in tried] == [lead]


def test_a_backfill_stops_at_metas_wall_and_does_not_begin_in_the_future(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    form, api = add_form(services, acme), as_tenant(acme)
    for since, told in (("2025-12-02T08:59:59Z", "90 days"), ("2026-03-02T09:00:01Z", "still to come"),
                        ("2026-02-01", "RFC 3339")):  # fmt: skip
        body = problem(api("POST", f"/v1/forms/{form}/backfill", json={"since": since}), 422, "invalid")
        assert told in body["errors"][0]["problem"]
    problem(api("POST", f"/v1/forms/{form}/backfill", json={}), 422, "invalid")
    assert jobs_of(services, acme) == []


def test_a_form_that_cannot_be_read_is_not_backfilled(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    gone, form = add_form(services, acme, "1"), add_form(services, acme, "2")
    api, body = as_tenant(acme), {"since": "2026-02-25T00:00:00Z"}
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Form, gone).gone_at = services.clock()
    problem(api("POST", f"/v1/forms/{gone}/backfill", json=body), 409, "wrong-state")

    with tenant_session(services.database, acme.id) as session:
        session.get_one(Connection, acme.connection_id).status = "revoked"
    problem(api("POST", f"/v1/forms/{form}/backfill", json=body), 409, "wrong-state")

    assert jobs_of(services, acme) == []


@pytest.mark.every_database
def test_a_backfill_is_begun_once_and_goes_on_when_it_is_asked_for_again(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    form, api = add_form(services, acme), as_tenant(acme)
    body, path = {"since": "2025-12-02T09:00:00Z"}, f"/v1/forms/{form}/backfill"

    begun = good(api("POST", path, json=body, headers={"idempotency-key": "k"}), 202)

    assert begun["backfill"] == {"state": "running", "since": "2025-12-02T09:00:00Z", "read": 0, "sentence": None}
    assert good(api("POST", path, json=body, headers={"idempotency-key": "k"}), 202) == begun
    with tenant_session(services.database, acme.id) as session:
        session.get_one(Form, form).backfill_read = 41
    again = good(api("POST", path, json={"since": "2026-01-02T09:00:00Z"}), 202)
    assert again["backfill"] == {"state": "running", "since": "2025-12-02T09:00:00Z", "read": 41, "sentence": None}
    assert jobs_of(services, acme) == ["leads.backfill"]
    services.clock.tick(-3600)  # type: ignore[attr-defined]
    problem(api("POST", path, json={"since": "2025-12-02T08:30:00Z"}), 409, "wrong-state")


def test_without_metas_settings_no_test_lead_is_made(
    as_tenant: Callable[..., Api], acme: Any, services: Services
) -> None:
    form = add_form(services, acme)
    body = problem(as_tenant(acme)("POST", f"/v1/forms/{form}/test-lead"), 503, "turned-off")
    assert "META_APP_SECRET" in body["detail"]


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

    def test_a_test_lead_is_made_and_made_anew(
        self, as_tenant: Callable[..., Api], acme: Any, services: Services, simulator: SimulatorServer
    ) -> None:
        form = add_form(services, acme, f"6{acme.page_id}")
        first, second = (good(as_tenant(acme)("POST", f"/v1/forms/{form}/test-lead"), 201) for _ in range(2))

        assert first["external_id"] != second["external_id"]
        there = simulator.world.forms[f"6{acme.page_id}"].test_lead
        assert there is not None
        assert there.id == second["external_id"]

    def test_what_meta_says_against_it_is_told(
        self, as_tenant: Callable[..., Api], acme: Any, services: Services
    ) -> None:
        form = add_form(services, acme, "999999")

        body = problem(as_tenant(acme)("POST", f"/v1/forms/{form}/test-lead"), 502, "provider-refused")

        assert acme.token not in body["detail"]

    @pytest.mark.every_database
    def test_while_meta_is_away_it_is_told_when_to_ask_again(
        self, as_tenant: Callable[..., Api], acme: Any, services: Services, simulator: SimulatorServer
    ) -> None:
        form = add_form(services, acme, f"6{acme.page_id}")
        simulator.stop()

        answer = as_tenant(acme)("POST", f"/v1/forms/{form}/test-lead")

        problem(answer, 503, "provider-busy")
        assert int(answer.headers["retry-after"]) > 0

    def test_a_broken_connection_makes_none(self, as_tenant: Callable[..., Api], acme: Any, services: Services) -> None:
        form = add_form(services, acme)
        with tenant_session(services.database, acme.id) as session:
            row = session.get_one(Connection, acme.connection_id)
            needs_person(session, row, code="190", sentence="No.", fix="Do.", now=services.clock())

        problem(as_tenant(acme)("POST", f"/v1/forms/{form}/test-lead"), 409, "wrong-state")
