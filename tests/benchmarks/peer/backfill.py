"""The peer's backfill: the SDK's cursor over a form's leads, personal fields under one Fernet key, a row and a commit each."""

import json
import sys
import time
from itertools import islice
from typing import Any

import psycopg
from cryptography.fernet import Fernet
from facebook_business.adobjects.leadgenform import LeadgenForm
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

from tests.benchmarks.peer import settings

FIELDS = ["id", "created_time", "form_id", "field_data", "custom_disclaimer_responses", "platform", "is_organic", "ad_id",
          "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name"]  # fmt: skip
PERSONAL = ("full_name", "email", "phone_number")
TABLE = """CREATE TABLE IF NOT EXISTS peer_backfill (
    id bigserial PRIMARY KEY, external_id text UNIQUE NOT NULL, form_id text, created_at timestamptz, platform text,
    ad jsonb, full_name bytea, email bytea, phone bytea, answers bytea, stored_at timestamptz DEFAULT now()
)"""
INSERT = """INSERT INTO peer_backfill
    (external_id, form_id, created_at, platform, ad, full_name, email, phone, answers)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (external_id) DO NOTHING"""


def _row(lead: dict[str, Any], key: Fernet) -> tuple[Any, ...]:
    answers = {answer["name"]: answer["values"] for answer in lead["field_data"]}
    sealed = [key.encrypt(str((answers.get(name) or [""])[0]).encode()) for name in PERSONAL]
    ad = {name: value for name, value in lead.items() if name.startswith(("ad", "campaign"))}
    return (lead["id"], lead.get("form_id"), lead["created_time"], lead.get("platform"), json.dumps(ad), *sealed,
            key.encrypt(json.dumps(answers).encode()))  # fmt: skip


def main() -> None:
    """Orders are a JSON line: `dsn`, `form`, `token`, `limit` (None: the SDK's and Graph's own), `most` leads to read."""
    orders = json.loads(sys.stdin.readline())
    key = Fernet(Fernet.generate_key())
    session = FacebookSession(app_secret=settings.APP_SECRET, access_token=orders["token"], timeout=20)
    session.GRAPH = settings.GRAPH_URL
    form = LeadgenForm(orders["form"], api=FacebookAdsApi(session, api_version=settings.GRAPH_VERSION))
    params = {} if orders["limit"] is None else {"limit": orders["limit"]}
    with psycopg.connect(orders["dsn"], autocommit=True) as connection:
        connection.execute(TABLE)
        print("ready", flush=True)
        sys.stdin.readline()
        began, before = time.monotonic(), time.process_time()
        leads = 0
        for lead in islice(form.get_leads(fields=FIELDS, params=params), orders["most"]):
            connection.execute(INSERT, _row(lead.export_all_data(), key))
            leads += 1
        print(json.dumps({"leads": leads, "seconds": time.monotonic() - began, "cpu": time.process_time() - before}))


if __name__ == "__main__":
    main()
