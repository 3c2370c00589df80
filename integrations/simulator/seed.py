"""Builds a world from a JSON seed file, or the default one with two tenants' pages; knows no HTTP.

The file, every key optional but the ids:

    {"seed": 1, "latency_ms": 0,
     "apps":  [{"id": "1", "secret": "s", "verify_token": "v", "name": "N", "requires_proof": true}],
     "users": [{"id": "2", "name": "N"}],
     "pages": [{"id": "3", "name": "N", "tenant": "acme", "users": ["2"], "access_token": "EAA...", "lead_access": true,
                "subscribed": true, "scopes": ["leads_retrieval"],
                "forms": [{"id": "4", "name": "N", "locale": "en_US", "leads": 20, "empty_page": 1, "odd": false,
                           "status": "ACTIVE", "most": 1000, "expired": 3,
                           "questions": [{"key": "email", "label": "E-mail", "type": "EMAIL", "several": false,
                                          "options": [["key", "value"]]}],
                           "consents": [["key", "text", false]]}]}],
     "google": {"clients":  [{"id": "c", "secret": "s", "project": "p", "testing": false}],
                "accounts": [{"sub": "1", "email": "a@b.example", "name": "N", "tenant": "acme", "refresh_token": "1//0...",
                              "scopes": ["openid"], "rotate": false, "admin_policy": false, "testing": false}]}}

`subscribed` subscribes the page to the first app's `leadgen`; `consents` are (key, text, is required); `leads` are
made a minute before the start and backwards, so that a backfill finds them, and `expired` ones 91 days before that.
Without `google` there are the default client and accounts; a `refresh_token` is a grant to the first client that a
CRM holds already.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from integrations.simulator.google_records import GoogleAccount, GoogleClient
from integrations.simulator.google_world import CALENDAR, EMAIL, Google
from integrations.simulator.people import Question
from integrations.simulator.records import App, Form, Page, User
from integrations.simulator.world import SCOPES, World

APP_ID = "310000000000001"
APP_SECRET = "simulated-app-secret"
VERIFY_TOKEN = "simulated-verify-token"
ACME_PAGE, GLOBEX_PAGE = "510000000000001", "510000000000002"
ACME_FORM, GLOBEX_FORM = "610000000000001", "610000000000002"
ACME_TOKEN, GLOBEX_TOKEN = "EAASIMPAGEacme", "EAASIMPAGEglobex"
ACME_USER, GLOBEX_USER = "410000000000001", "410000000000002"

GOOGLE_CLIENT_ID = "320000000001-simulated.apps.googleusercontent.com"
GOOGLE_CLIENT_SECRET = "simulated-google-secret"
ACME_ACCOUNT, GLOBEX_ACCOUNT, SHARED_ACCOUNT = "110000000000000000001", "110000000000000000002", "110000000000000000003"
ACME_EMAIL, GLOBEX_EMAIL, SHARED_EMAIL = "ada@acme.example", "gus@globex.example", "sam@both.example"

DEFAULT: dict[str, Any] = {
    "seed": 1,
    "apps": [{"id": APP_ID, "secret": APP_SECRET, "verify_token": VERIFY_TOKEN}],
    "google": {
        "clients": [{"id": GOOGLE_CLIENT_ID, "secret": GOOGLE_CLIENT_SECRET}],
        "accounts": [
            {"sub": ACME_ACCOUNT, "email": ACME_EMAIL, "name": "Ada Acme", "tenant": "acme"},
            {"sub": GLOBEX_ACCOUNT, "email": GLOBEX_EMAIL, "name": "Gus Globex", "tenant": "globex"},
            {"sub": SHARED_ACCOUNT, "email": SHARED_EMAIL, "name": "Sam Shared"},
        ],
    },
    "users": [{"id": ACME_USER, "name": "Ada Acme"}, {"id": GLOBEX_USER, "name": "Gus Globex"}],
    "pages": [
        {
            "id": ACME_PAGE,
            "name": "Acme Kitchens",
            "tenant": "acme",
            "users": [ACME_USER],
            "access_token": ACME_TOKEN,
            "subscribed": True,
            "forms": [
                {
                    "id": ACME_FORM,
                    "name": "Spring offer",
                    "locale": "en_US",
                    "questions": [
                        {"key": "full_name", "label": "Full name", "type": "FULL_NAME"},
                        {"key": "email", "label": "E-mail", "type": "EMAIL"},
                        {"key": "phone_number", "label": "Phone number", "type": "PHONE"},
                        {"key": "city", "label": "City", "type": "CITY"},
                        {
                            "key": "which_rooms_do_you_want_to_renew?",
                            "label": "Which rooms do you want to renew?",
                            "type": "CUSTOM",
                            "several": True,
                            "options": [["kitchen", "Kitchen"], ["bath", "Bath"], ["hall", "Hall"]],
                        },
                        {"key": "anything_else,_in_your_own_words?", "label": "Anything else?", "type": "CUSTOM"},
                    ],
                    "consents": [
                        ["terms", "I accept the terms.", True],
                        ["newsletter", "Send me the newsletter.", False],
                    ],
                }
            ],
        },
        {
            "id": GLOBEX_PAGE,
            "name": "Globex Travel",
            "tenant": "globex",
            "users": [GLOBEX_USER],
            "access_token": GLOBEX_TOKEN,
            "subscribed": True,
            "forms": [
                {
                    "id": GLOBEX_FORM,
                    "name": "お問い合わせ",
                    "locale": "ja_JP",
                    "questions": [
                        {"key": "FIRST_NAME", "label": "名", "type": "FIRST_NAME"},
                        {"key": "LAST_NAME", "label": "姓", "type": "LAST_NAME"},
                        {"key": "EMAIL", "label": "メール", "type": "EMAIL"},
                        {"key": "PHONE", "label": "電話番号", "type": "PHONE"},
                        {"key": "ご希望の行き先は？", "label": "ご希望の行き先は？", "type": "CUSTOM"},
                    ],
                }
            ],
        },
    ],
}

FORM_KEYS = ("name", "locale", "leads", "expired", "empty_page", "odd", "questions", "consents", "status", "most")


class SeedError(ValueError):
    """A seed that cannot be used; the text says where it is wrong."""


def build_world(clock: Callable[[], datetime], seed: Mapping[str, Any] | None = None) -> World:
    """A world from a seed (see the module; None: the default). SeedError names what a seed lacks."""
    data = DEFAULT if seed is None else seed
    world = World(clock, seed=int(data.get("seed", 1)))
    world.latency = float(data.get("latency_ms", 0)) / 1000
    try:
        for app in data.get("apps", DEFAULT["apps"]):
            world.add_app(App(**app))
        for user in data.get("users", ()):
            world.users[user["id"]] = User(**user)
        for page in data.get("pages", ()):
            _add_page(world, page)
        _add_google(world.google, data.get("google", DEFAULT["google"]))
    except (KeyError, TypeError) as error:
        raise SeedError(f"the simulator's seed is wrong near {error}") from error
    return world


def read_seed(path: Path) -> dict[str, Any]:
    """A seed file; SeedError with a sentence when it cannot be read."""
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise SeedError(f"the simulator's seed file {path} cannot be read as JSON") from error
    if not isinstance(data, dict):
        raise SeedError(f"the simulator's seed file {path} must hold a JSON object")
    return data


def _add_google(google: Google, data: Mapping[str, Any]) -> None:
    for client in data.get("clients", DEFAULT["google"]["clients"]):
        google.clients[client["id"]] = GoogleClient(**client)
    for item in data.get("accounts", ()):
        account = GoogleAccount(
            **{name: value for name, value in item.items() if name not in ("refresh_token", "scopes")}
        )
        google.accounts[account.sub] = account
        if "refresh_token" in item:
            google.grant(account.sub, item.get("scopes", ("openid", EMAIL, CALENDAR)), value=item["refresh_token"])


def _add_page(world: World, data: Mapping[str, Any]) -> None:
    page = Page(data["id"], data.get("name", data["id"]), data.get("tenant", ""), data.get("lead_access", True))
    users = [world.users[user] for user in data.get("users", ())]
    world.add_page(page, *users)
    app_id = next(iter(world.apps))
    if data.get("subscribed"):
        page.subscribed[app_id] = ["leadgen"]
    world.issue(
        "page",
        app_id=app_id,
        user_id=users[0].id if users else "",
        page_id=page.id,
        scopes=data.get("scopes", SCOPES),
        value=data.get("access_token"),
    )
    for form in data.get("forms", ()):
        add_form(world, page, form)


def add_form(world: World, page: Page, data: Mapping[str, Any]) -> Form:
    """A form of a seed, with its leads."""
    now = world.clock().replace(microsecond=0)
    questions = tuple(
        Question(
            item["key"],
            item.get("label", item["key"]),
            item.get("type", "CUSTOM"),
            tuple((key, value) for key, value in item.get("options", ())),
            item.get("several", False),
        )
        for item in data.get("questions", DEFAULT["pages"][0]["forms"][0]["questions"])
    )
    form = Form(
        data["id"],
        page,
        data.get("name", data["id"]),
        data.get("locale", "en_US"),
        questions,
        now - timedelta(days=100),
        tuple((key, text, bool(required)) for key, text, required in data.get("consents", ())),
        status=data.get("status", "ACTIVE"),
        empty_page=data.get("empty_page"),
        most=int(data.get("most", 1000)),
    )
    world.add_form(form)
    odd = bool(data.get("odd", False))
    for count, end in ((int(data.get("expired", 0)), timedelta(days=91)), (int(data.get("leads", 0)), timedelta())):
        start = now - end - timedelta(minutes=1, seconds=count)
        world.add_leads(form.id, count, created_at=start, odd=odd)
    return form
