"""Copies of a person's or a tenant's data: complete, without a secret, sealed while they lie here, gone when they should be."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import delete, func, select

from models.deletion import DeletionStep
from models.export import LINK_LIVES, MOST_DOWNLOADS, Export, ExportChunk, end_export
from models.feed import Event
from models.job import Job
from models.personal import BY_NAME, SECRET, STORES, portable_stores
from models.tenancy import system_session, tenant_session
from tests.worker.outside import settle
from tests.worker.runner import Runner
from tests.worker.web.answers import good, problem
from tests.worker.web.conftest import Api
from worker import jobs
from worker.schedule import tick
from worker.services import Services
from worker.tasks import HANDLERS, exports

TENANT = {"scope": {"kind": "tenant"}}
BEA = {"full_name": "Bea Example", "email": "bea@example.com", "phone": None, "phone_raw": None}


@pytest.fixture
def api(as_tenant: Callable[..., Api], acme: Any) -> Api:
    return as_tenant(acme)


@pytest.fixture
def worker(services: Services) -> Runner:
    return Runner(services, HANDLERS)


def ask(api: Api, scope: dict[str, Any]) -> str:
    found: str = good(api("POST", "/v1/exports", json={"scope": scope, "requested_by": "Ann"}), 202)["id"]
    return found


def shown(api: Api, export_id: str) -> dict[str, Any]:
    found: dict[str, Any] = good(api("GET", f"/v1/exports/{export_id}"))
    return found


def take(api: Api, url: str) -> httpx.Response:
    """As somebody who has nothing but the address."""
    return api.http.get(re.sub(r"^http://[^/]+", "", url))


def opened(api: Api, export_id: str) -> zipfile.ZipFile:
    answer = take(api, shown(api, export_id)["url"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip"), answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def rows(archive: zipfile.ZipFile, store: str) -> list[dict[str, Any]]:
    """A store's rows, which are the same in both files."""
    found: list[dict[str, Any]] = orjson.loads(archive.read(f"{store}.json"))
    table = list(csv.reader(io.StringIO(archive.read(f"{store}.csv").decode("utf-8-sig"), newline="")))
    assert len(table) == len(found) + 1 and len({len(line) for line in table}) == 1
    return found


def tell(api: Api, lead_id: str, words: str) -> None:
    good(api("POST", f"/v1/leads/{lead_id}/history", json={"kind": "call", "text": words}), 201)


def kept(services: Services) -> dict[str, int]:
    with system_session(services.database, reads_only=True) as session:
        return {one.__tablename__: session.scalar(select(func.count()).select_from(one)) or 0
                for one in (Export, ExportChunk)}  # fmt: skip


@pytest.mark.every_database
def test_a_tenants_copy_has_every_store_and_no_secret_and_lies_here_sealed(
    api: Api,
    as_tenant: Callable[..., Api],
    acme: Any,
    globex: Any,
    add_lead: Callable[..., str],
    services: Services,
    worker: Runner,
    log_lines: list[str],
) -> None:
    evil = {
        "full_name": '=HYPERLINK("http://x")',
        "email": "ada@example.com",
        "phone": "+12025550143",
        "phone_raw": "-1",
    }
    first = add_lead(acme, "5001", contact=evil)
    add_lead(acme, "5002", contact=BEA)
    add_lead(globex, "6001")
    tell(api, first, "Called twice, Ada was out.")

    export_id = ask(api, TENANT["scope"])
    assert (shown(api, export_id)["status"], shown(api, export_id)["url"]) == ("pending", None)
    assert ask(api, TENANT["scope"]) == export_id, "one that waits already is enough"
    settle(worker, services)
    one = shown(api, export_id)
    assert (one["status"], one["scope"], one["downloads_left"]) == ("ready", {"kind": "tenant"}, MOST_DOWNLOADS)

    with tenant_session(services.database, acme.id, reads_only=True) as session:
        sealed = b"".join(session.scalars(select(ExportChunk.data)))
        stored = session.scalars(select(Export)).one()
        assert one["size"] < len(sealed) and not any(word in sealed for word in (b"PK\x03\x04", b"leads.json", b"Ada"))
        assert one["url"].encode().rpartition(b"/")[2] not in repr((stored.link, stored.digest)).encode()
    archive = opened(api, export_id)
    leads = rows(archive, "leads")
    assert {lead["external_id"] for lead in leads} == {"5001", "5002"}
    ada = next(lead for lead in leads if lead["id"] == first)
    assert ada["contact"] == evil and ada["answers"][0]["values"] == ["Dublin", "Cork"]
    assert ada["created_at"].endswith("Z") and not {"email_hash", "phone_hash", "tenant_id"} & ada.keys()
    assert "Called twice, Ada was out." in {entry["text"] for entry in rows(archive, "lead_history")}
    assert rows(archive, "connections")[0]["account"] == {"external_id": acme.page_id, "name": "Acme's page"}
    assert rows(archive, "tenants")[0]["name"] == "Acme"
    text = archive.read("leads.csv").decode("utf-8-sig")
    assert (
        "contact.full_name,contact.email" in text and "'=HYPERLINK" in text and ',"=' not in text and ",=" not in text
    )
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert (
        acme.token.encode() not in everything
        and b"bearer" not in everything.lower()
        and globex.id.encode() not in everything
    )
    counts = {part["name"]: part["rows"] for part in one["counts"]}
    assert counts == orjson.loads(archive.read("manifest.json"))["rows"] and counts["leads"] == 2
    assert set(counts) == {store.name for store in portable_stores("tenant")}

    stranger = as_tenant(globex)
    problem(stranger("GET", f"/v1/exports/{export_id}"), 404, "not-found")
    assert good(stranger("GET", "/v1/exports"))["items"] == []
    assert [item["id"] for item in good(api("GET", "/v1/exports"))["items"]] == [export_id]
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        told = session.scalars(select(Event).where(Event.type.like("export.%")).order_by(Event.position)).all()
        assert [(event.type, event.data) for event in told] == [
            ("export.ready", {"export_id": export_id, "scope": "tenant"}),
            ("export.downloaded", {"export_id": export_id, "downloads": 1}),
        ]
        said = repr([job.args for job in session.scalars(select(Job))])
    token = one["url"].rpartition("/")[2]
    assert not any(word in line for line in [*log_lines, said] for word in ("ada@", "Ada was", token))


def test_a_persons_copy_is_of_that_person_alone_and_of_a_stranger_an_empty_one(
    api: Api, acme: Any, globex: Any, add_lead: Callable[..., str], services: Services, worker: Runner
) -> None:
    ada = add_lead(acme, "5001")
    bea = add_lead(acme, "5002", contact=BEA)
    add_lead(globex, "6001")
    tell(api, ada, "Ada's own")
    tell(api, bea, "Bea's own")
    by_phone = ask(api, {"kind": "subject", "phone": "(202) 555-0143"})
    by_email = ask(api, {"kind": "subject", "email": " BEA@example.com"})
    nobody = ask(api, {"kind": "subject", "email": "nobody@example.com", "phone": "+353 1 234 5678"})
    settle(worker, services)

    for export_id, lead, words, other in ((by_phone, ada, "Ada's own", "Bea"), (by_email, bea, "Bea's own", "Ada")):
        archive = opened(api, export_id)
        assert [row["id"] for row in rows(archive, "leads")] == [lead]
        assert words in {entry["text"] for entry in rows(archive, "lead_history")}
        assert not any(other.encode() in archive.read(name) for name in archive.namelist())
        assert "connections.json" not in archive.namelist(), "accounts are the tenant's, not a person's"
    assert all(part["rows"] == 0 for part in shown(api, nobody)["counts"])
    assert rows(opened(api, nobody), "leads") == []


@pytest.mark.parametrize(
    "scope",
    [
        {"kind": "everything"},
        {"kind": "connection"},
        {"kind": "subject"},
        {"kind": "subject", "email": "not an address"},
        {"kind": "subject", "phone": "12"},
        {"kind": "tenant", "email": "ann@example.com"},
        {},
    ],
)
def test_a_scope_that_says_nothing_is_refused_and_not_repeated(api: Api, scope: dict[str, str]) -> None:
    answer = api("POST", "/v1/exports", json={"scope": scope})
    problem(answer, 422, "invalid")
    assert not any(value in answer.text for value in scope.values() if "@" in value)


def test_who_lacks_the_scope_gets_no_copy_and_what_is_unknown_is_not_found(
    as_tenant: Callable[..., Api], acme: Any
) -> None:
    problem(as_tenant(acme, "leads:read")("POST", "/v1/exports", json=TENANT), 403, "missing-scope")
    problem(as_tenant(acme)("GET", "/v1/exports/nonsense"), 404, "not-found")
    for token in ("nonsense", "x" * 5000, "%00", "%ff"):
        assert as_tenant(acme).http.get(f"/exports/{token}").status_code == 404


def test_a_link_is_over_after_two_days_or_a_few_downloads_and_then_the_copy_goes(
    api: Api, acme: Any, add_lead: Callable[..., str], services: Services, worker: Runner, clock: Any
) -> None:
    add_lead(acme, "5001")
    often, late = ask(api, {"kind": "subject", "email": "ada@example.com"}), ask(api, TENANT["scope"])
    settle(worker, services)
    url = shown(api, often)["url"]
    assert [take(api, url).status_code for _ in range(MOST_DOWNLOADS + 1)] == [200] * MOST_DOWNLOADS + [404]
    assert (shown(api, often)["url"], shown(api, often)["downloads_left"]) == (None, 0)
    url = shown(api, late)["url"]
    assert url.startswith("http://127.0.0.1:8000/exports/") and not re.search(r"ada|acme|example", url)

    clock.tick(LINK_LIVES.total_seconds())
    assert take(api, url).status_code == 404
    assert (shown(api, late)["status"], shown(api, late)["url"]) == ("expired", None)
    assert kept(services)["export_chunks"] > 0, "nobody has swept yet"
    tick(services, jobs.EXPORTS_SWEEP)
    settle(worker, services)
    assert kept(services) == {"exports": 2, "export_chunks": 0}
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        for row in session.scalars(select(Export)):
            assert (row.status, row.key, row.link, row.digest, row.email) == ("expired", None, None, None, None)


@pytest.mark.every_database
def test_an_erasure_takes_the_copies_too_and_one_that_is_being_made(
    api: Api,
    acme: Any,
    globex: Any,
    as_tenant: Callable[..., Api],
    add_lead: Callable[..., str],
    services: Services,
    worker: Runner,
    clock: Any,
) -> None:
    add_lead(acme, "5001")
    add_lead(globex, "6001")
    theirs = ask(as_tenant(globex), TENANT["scope"])
    ready = ask(api, TENANT["scope"])
    settle(worker, services)
    url = shown(api, ready)["url"]
    half = ask(api, {"kind": "subject", "email": "ada@example.com"})
    person = {"scope": {"kind": "subject", "email": "ada@example.com"}, "urgent": True}
    deletion = good(api("POST", "/v1/deletions", json=person), 202)["id"]
    with tenant_session(services.database, acme.id) as session:  # the copy waits while the erasure runs
        wait = session.scalars(select(Job).where(Job.kind == jobs.EXPORTS_RUN, Job.open_key.is_not(None))).one()
        wait.state, wait.due_at, wait.wake_at = "waiting", clock() + timedelta(hours=1), clock() + timedelta(hours=1)
        # The request is one of before there were copies.
        session.execute(delete(DeletionStep).where(DeletionStep.name.in_(("exports", "export_chunks"))))
    settle(worker, services)
    for export_id in (ready, half):
        one = shown(api, export_id)
        assert (one["status"], one["url"]) == ("expired", None) and "erased" in one["sentence"]
    assert take(api, url).status_code == 404
    steps = {step["name"]: step for step in good(api("GET", f"/v1/deletions/{deletion}"))["steps"]}
    assert (steps["exports"]["before"], steps["exports"]["deleted"], steps["exports"]["after"]) == (2, 2, 0)
    assert shown(as_tenant(globex), theirs)["status"] == "ready"

    # What is asked for afterwards is another copy, and the second look takes neither it nor a kept answer for a residue.
    clock.tick(5)
    again = {"idempotency-key": "another copy"}
    later = good(api("POST", "/v1/exports", json=TENANT, headers=again), 202)["id"]
    clock.tick(timedelta(hours=25).total_seconds())
    settle(worker, services)
    assert rows(opened(api, later), "leads") == []
    tick(services, jobs.DELETIONS_SWEEP)
    settle(worker, services)
    rescan = {step["name"]: step for step in good(api("GET", f"/v1/deletions/{deletion}"))["steps"]}["rescan"]
    assert rescan["status"] == "done" and shown(api, later)["status"] == "ready"


def test_who_is_killed_is_followed_by_one_who_begins_anew_and_a_late_one_writes_nothing(
    api: Api,
    acme: Any,
    add_lead: Callable[..., str],
    services: Services,
    worker: Runner,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(5):
        add_lead(acme, f"500{number}")
    monkeypatch.setattr(exports, "CHUNK", 100)
    monkeypatch.setattr(exports, "READ_AT_ONCE", 2)
    export_id = ask(api, TENANT["scope"])
    late: list[exports.Pieces] = []
    close = exports.Pieces.close

    class Killed(BaseException):
        """SIGKILL: nothing of ours catches it."""

    def dying(self: exports.Pieces, work: Any) -> Export:
        late.append(self)
        raise Killed

    monkeypatch.setattr(exports.Pieces, "close", dying)
    with pytest.raises(Killed):
        settle(worker, services)
    assert kept(services)["export_chunks"] > 10
    monkeypatch.setattr(exports.Pieces, "close", close)
    clock.tick(60)
    settle(worker, services)
    assert len(rows(opened(api, export_id), "leads")) == 5
    with pytest.raises(exports.NoLongerOurs):
        late[0].write(b"x" * 200)
    assert len(rows(opened(api, export_id), "leads")) == 5


def test_one_that_is_ended_while_it_is_made_is_left_alone(
    api: Api,
    acme: Any,
    add_lead: Callable[..., str],
    services: Services,
    worker: Runner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(5):
        add_lead(acme, f"500{number}")
    monkeypatch.setattr(exports, "CHUNK", 100)
    export_id = ask(api, TENANT["scope"])
    write, left = exports.Pieces.write, [30]

    def write_until(self: exports.Pieces, data: bytes) -> int:
        left[0] -= 1
        if left[0] == 0:
            with tenant_session(services.database, acme.id) as session:
                end_export(session, session.get_one(Export, export_id), "It was erased.")
        return write(self, data)

    monkeypatch.setattr(exports.Pieces, "write", write_until)
    settle(worker, services)
    assert left[0] <= 0 and kept(services) == {"exports": 1, "export_chunks": 0}
    assert (shown(api, export_id)["status"], shown(api, export_id)["url"]) == ("failed", None)
    with tenant_session(services.database, acme.id, reads_only=True) as session:
        job = session.scalars(select(Job).where(Job.kind == jobs.EXPORTS_RUN)).one()
        assert (job.state, job.attempts) == ("done", 1)


def test_one_that_nobody_makes_any_more_has_failed(
    api: Api, acme: Any, services: Services, worker: Runner, clock: Any
) -> None:
    export_id = ask(api, TENANT["scope"])
    with tenant_session(services.database, acme.id) as session:
        job = session.scalars(select(Job).where(Job.kind == jobs.EXPORTS_RUN)).one()
        job.state, job.open_key, job.wake_at = "dead", None, None
    clock.tick(timedelta(hours=2).total_seconds())
    tick(services, jobs.EXPORTS_SWEEP)
    settle(worker, services)
    assert (shown(api, export_id)["status"], "ask for a new one" in shown(api, export_id)["sentence"]) == (
        "failed",
        True,
    )


def test_every_store_is_portable_or_says_why_not_and_no_secret_column_is_shown() -> None:
    for store in STORES:
        portable = store in portable_stores("tenant")
        assert portable != bool(store.kept or store.withheld), store.name
        secret = {name for name, kind in store.columns.items() if kind in SECRET}
        assert not secret & {column.name for column in store.shown}, store.name
        if portable:
            assert "id" in store.table.c and not secret & store.sealed.keys(), store.name
    assert {store.name for store in portable_stores("subject")} == {
        "events",
        "inbox_events",
        "leads",
        "lead_history",
        "restrictions",
        "pushes",
        "feed_reads",
        "devices",
        "device_tags",
    }
    assert "tokens" not in {column.name for column in BY_NAME["connections"].shown}
