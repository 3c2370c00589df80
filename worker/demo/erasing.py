"""The chapter of an erasure: counted, asked for, agreed to by a second person, carried out while the clock is moved on by days,
and proven by a receipt; and whatever is tried to bring it back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from integrations.simulator.seed import GLOBEX_USER
from models.deletion import Deletion
from models.job import Job
from models.tenancy import system_session
from models.verdict import verify
from worker.demo.grants import open_link
from worker.demo.stage import NotTrue, Stage, Tenant
from worker.here import run_here
from worker.jobs import CONNECTIONS_REVOKE, deletions_run
from worker.services import Services, wall_clock


def erase_and_prove(stage: Stage) -> list[str]:
    """Globex wants all it has from Facebook deleted: days pass, a receipt proves it, and nothing comes back"""
    globex = stage.globex
    old, scope = sorted(stage.leads(globex)), {"kind": "connection", "connection_id": globex.connection_id}
    theirs = sorted(stage.leads(stage.acme))
    counted = _post(stage, globex, "/preview", {"scope": scope})["stores"]
    rows = {one["name"]: one["rows"] for one in counted}
    _check(rows["leads"] == len(old) > 0, f"the preview counts {rows['leads']} leads instead of {len(old)}")
    asked = _post(stage, globex, "", {"scope": scope, "requested_by": "ann"}, status=202)
    address = f"/{asked['id']}"
    _check(asked["status"] == "awaiting_approval", "leads were to be deleted on one person's word")
    _post(stage, globex, f"{address}/approve", {"approved_by": "ann"}, status=409)
    _post(stage, globex, f"{address}/approve", {"approved_by": "bob"})
    _check(sorted(stage.leads(globex)) == old, "leads were deleted before the undo window was over")
    stage.wait("the grant to be gone", lambda: not _open_jobs(stage, globex, CONNECTIONS_REVOKE))

    _run(stage, globex, asked["id"], timedelta(hours=25))
    now = _get(stage, globex, address)
    after = {step["name"]: (step["before"], step["deleted"], step["after"]) for step in now["steps"]}
    _check(
        now["status"] == "awaiting_host" and after["leads"] == (len(old), len(old), 0),
        f"it is {now['status']}: {after}",
    )
    _check(not stage.leads(globex), "leads of globex are still there")
    _check(sorted(stage.leads(stage.acme)) == theirs, "leads of acme are gone")
    _check(_post(stage, globex, f"{address}/acks", {"system": "crm", "deleted": len(old)})["status"] == "completed",
           "the host's word did not complete it")  # fmt: skip
    _run(stage, globex, asked["id"], timedelta(hours=50))
    paper = _get(stage, globex, f"{address}/receipt")
    keys = stage.http.get(f"{stage.local.url}/.well-known/troth-receipt-keys.json").json()
    known = {one["id"]: one["public_key"] for one in keys["keys"]}
    _check(verify(paper, known).holds, "the receipt does not hold")
    forged = {**paper, "body": {**paper["body"], "stores": []}}
    _check(not verify(forged, known).holds, "a forged receipt holds")
    _check(paper["body"]["rescan"]["left"] == 0, "the count a day later found something")
    _come_again(stage, globex, old)
    skipped = ", ".join(f"{one['day']} {one['why']}" for one in now["skipped"][:3])
    return [
        f"counted first ({rows['leads']} leads, {rows['lead_history']} lines of history), agreed to by a second person; the"
        " first was refused",
        f"due {now['promise_due_at']} by the calendar {now['calendar']} (not counted: {skipped}...); done after 25 h",
        "the clock moved on by two days: verified in a new transaction, counted again a day later, and nothing was left",
        f"receipt {paper['body']['receipt']['number']} is signed and chained; one with a changed line is refused",
        f"all {len(old)} old leads were announced by Meta again to a page connected anew: none came back",
    ]


def _come_again(stage: Stage, tenant: Tenant, old: list[str]) -> None:
    """The page is connected again, and Meta tells of every old lead once more, and of a new one."""
    _, consent = open_link(stage, tenant, "facebook_leads")
    back = stage.meta("POST", "meta/consent", json={"url": consent, "user": GLOBEX_USER, "pages": None})["location"]
    _check(stage.http.get(back).status_code == 200, "the page was not connected again")
    new: list[str] = stage.meta("POST", "leads", json={"page": tenant.page_id, "count": 1})["ids"]
    wish = {"leads": [*old, *new], "shape": {}, "callback_url": f"{stage.local.url}/webhooks/meta"}
    _check(all(one["ok"] for one in stage.meta("POST", "deliver", json=wish)), "a delivery was not acknowledged")
    stage.wait("the new lead", lambda: stage.leads(tenant))
    _check(sorted(stage.leads(tenant)) == sorted(new), "an erased lead came back")


def _run(stage: Stage, tenant: Tenant, deletion_id: str, later: timedelta) -> None:
    """Carry the deletion on as a worker would whose clock is `later` ahead."""
    services: Services = replace(stage.services, clock=lambda: wall_clock() + later)
    run_here(services, deletions_run(tenant.id, deletion_id))
    with system_session(services.database, reads_only=True) as session:
        _check(session.get_one(Deletion, deletion_id).frozen_at is not None, "the deletion did not begin")


def _open_jobs(stage: Stage, tenant: Tenant, kind: str) -> list[str]:
    query = select(Job.id).where(Job.tenant_id == tenant.id, Job.kind == kind, Job.open_key.is_not(None))
    with system_session(stage.services.database, reads_only=True) as session:
        return list(session.scalars(query))


def _post(stage: Stage, tenant: Tenant, path: str, body: dict[str, Any], *, status: int = 200) -> dict[str, Any]:
    answer = stage.api("POST", f"/v1/deletions{path}", stage.platform_key, tenant=tenant, json=body)
    _check(answer.status_code == status, f"{path or 'the request'} was answered by {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


def _get(stage: Stage, tenant: Tenant, path: str) -> dict[str, Any]:
    answer = stage.api("GET", f"/v1/deletions{path}", stage.platform_key, tenant=tenant)
    _check(answer.status_code == 200, f"{path} was answered by {answer.status_code}: {answer.text}")
    found: dict[str, Any] = answer.json()
    return found


def _check(holds: object, otherwise: str) -> None:
    if not holds:
        raise NotTrue(otherwise)
