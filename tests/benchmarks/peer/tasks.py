"""The peer's Celery app: one task per lead, which asks Graph for it and inserts a row."""

import hmac
import time
from functools import cache
from typing import Any

import httpx
from celery import Celery
from facebook_business.adobjects.lead import Lead
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from tests.benchmarks.notes import note
from tests.benchmarks.peer import settings, tables

app = Celery("peer", broker=settings.BROKER_URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 900},
)

FIELDS = ["id", "created_time", "field_data", "form_id", "platform", "is_organic"]


@cache
def engine() -> Any:
    """Made on first use, so after a fork."""
    return tables.connect(pool=max(5, settings.CONCURRENCY))


@app.task(name="peer.fetch_lead")
def fetch_lead(page_id: str, lead_id: str) -> None:
    """One lead."""
    tenant, token = settings.pages()[page_id]
    lead = _by_sdk(lead_id, token) if settings.CLIENT == "sdk" else _by_httpx(lead_id, token)
    answers = {answer["name"]: (answer["values"] or [None])[0] for answer in lead["field_data"]}
    row = {
        "tenant": tenant,
        "page_id": page_id,
        "external_id": lead["id"],
        "full_name": answers.get("full_name"),
        "email": answers.get("email"),
        "phone": answers.get("phone_number"),
        "answers": answers,
        "created_at": lead["created_time"],
        "stored_at": tables.now(),
    }
    tables.insert_once(engine(), tables.LEADS, row)


@cache
def _client() -> httpx.Client:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx.Client(base_url=f"{settings.GRAPH_URL}/{settings.GRAPH_VERSION}/", timeout=20, limits=limits)


@cache
def _proof(token: str) -> str:
    return hmac.digest(settings.APP_SECRET.encode(), token.encode(), "sha256").hex()


def _by_httpx(lead_id: str, token: str) -> dict[str, Any]:
    params = {"fields": ",".join(FIELDS), "appsecret_proof": _proof(token)}
    answer = _client().get(lead_id, params=params, headers={"authorization": f"Bearer {token}"})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


@cache
def _api(token: str) -> FacebookAdsApi:
    session = FacebookSession(app_secret=settings.APP_SECRET, access_token=token, timeout=20)
    session.GRAPH = settings.GRAPH_URL
    return FacebookAdsApi(session, api_version=settings.GRAPH_VERSION)


def _by_sdk(lead_id: str, token: str) -> dict[str, Any]:
    found: dict[str, Any] = Lead(lead_id, api=_api(token)).api_get(fields=FIELDS).export_all_data()
    return found


@app.task(name="peer.nap")
def nap(label: str) -> None:
    """Five milliseconds of waiting."""
    note(label)
    time.sleep(0.005)


@app.task(name="peer.noop")
def noop(label: str) -> None:
    """Nothing."""
    note(label)
