"""The only reader of the environment: every setting, its default, and every mistake reported at once with its fix."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from integrations.google_calendar import GOOGLE_CALENDAR
from integrations.push.addresses import origin_of
from integrations.push.vapid import private_key
from models.vault import parse_master_keys

PREFIX = "TROTH_"


class BadSettings(Exception):
    """One or more settings are wrong; the text has a line for each, with its fix, and never a secret."""


@dataclass(frozen=True, slots=True)
class Meta:
    """How to reach Meta, and who we are there. Without id, secret or verify token the integration is off."""

    app_id: str
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    graph_url: str
    dialog_url: str
    graph_version: str

    @property
    def missing(self) -> list[str]:
        """The settings without which Facebook leads are turned off."""
        named = {"META_APP_ID": self.app_id, "META_APP_SECRET": self.app_secret, "META_VERIFY_TOKEN": self.verify_token}
        return [PREFIX + name for name, value in named.items() if not value]


@dataclass(frozen=True, slots=True)
class Google:
    """How to reach Google, and who we are there. Without id and secret the integration is off.

    `user_quota` and `project_quota` are the calls a minute that Google allows one person, and all of them together; four
    fifths of them are used. 0: no limit is kept.
    """

    client_id: str
    client_secret: str = field(repr=False)
    auth_url: str
    token_url: str
    revoke_url: str
    api_url: str
    scopes: tuple[str, ...]
    user_quota: int
    project_quota: int

    @property
    def missing(self) -> list[str]:
        """The settings without which Google Calendar is turned off."""
        named = {"GOOGLE_CLIENT_ID": self.client_id, "GOOGLE_CLIENT_SECRET": self.client_secret}
        return [PREFIX + name for name, value in named.items() if not value]


@dataclass(frozen=True, slots=True)
class Push:
    """How to reach the push services, and who we are there. FCM and Web Push are each off without their key.

    `allowed` are origins to which a browser's subscription may lead although they are private, or not https. `fcm_quota` are
    the messages a minute that FCM takes of the project; four fifths are used. 0: no limit is kept."""

    fcm_url: str
    fcm_credentials: Mapping[str, str] | None = field(repr=False)
    vapid_private_key: str | None = field(repr=False)
    vapid_subject: str
    allowed: tuple[str, ...]
    fcm_quota: int

    @property
    def missing(self) -> list[str]:
        """The settings without which no bulletin is pushed at all."""
        is_on = self.fcm_credentials is not None or self.vapid_private_key
        return [] if is_on else [f"{PREFIX}FCM_CREDENTIALS", f"{PREFIX}VAPID_PRIVATE_KEY"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process was told. `redis_url` None means that nobody named a Redis."""

    data_dir: Path
    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    base_url: str
    master_keys: Mapping[str, bytes] = field(repr=False)
    platform_key: str | None = field(repr=False)
    tenant_jobs_in_flight: int
    concurrency: int
    undo: timedelta
    retention: bool
    meta: Meta
    google: Google
    push: Push


def _text(value: str) -> str:
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it must be an http(s) address such as https://integrations.example.com")
    return value.rstrip("/")


def _redis_url(value: str) -> str:
    if urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("it must be redis://host:6379/0, rediss://... or unix:///path?db=0")
    return value


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 10_000:
        raise ValueError("it must be a whole number from 0 to 10000")
    return int(value)


def _calls(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 10_000_000:
        raise ValueError("it must be a whole number of calls a minute, or 0 to keep no limit")
    return int(value)


def _undo(value: str) -> timedelta:
    if not value.isascii() or not value.isdigit() or int(value) > 72:
        raise ValueError("it must be a whole number of hours from 0 to 72")
    return timedelta(hours=int(value))


def _switch(value: str) -> bool:
    if value not in ("on", "off"):
        raise ValueError("it must be on or off")
    return value == "on"


def _words(value: str) -> tuple[str, ...]:
    return tuple(value.replace(",", " ").split())


def _fcm_credentials(value: str) -> Mapping[str, str]:
    """A service account's key: JSON, or the path of a file that holds it."""
    try:
        found = orjson.loads(value if value.startswith("{") else Path(value).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        found = None
    needed = ("project_id", "client_email", "private_key", "token_uri")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in needed):
        raise ValueError(f"it must be a service account's JSON key, or its path; it holds {', '.join(needed)}")
    return found


def _vapid_key(value: str) -> str:
    try:
        private_key(value)
    except ValueError:
        raise ValueError("it must be a private key of P-256: 32 bytes in base64url, or PEM") from None
    return value


def _vapid_subject(value: str) -> str:
    # Apple refuses tokens whose subject nobody could be reached by.
    if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+\.[^@\s]+|https://[^/\s]+\.[^\s]+", value):
        raise ValueError("it must be mailto:somebody@your.domain or an https address")
    return value


def _origins(value: str) -> tuple[str, ...]:
    return tuple(origin_of(one) for one in _words(value))


def _version(value: str) -> str:
    if not re.fullmatch(r"v\d{1,3}\.\d", value):
        raise ValueError("it must look like v26.0")
    return value


_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "DATA_DIR": (Path, ".troth"),
    "DATABASE_URL": (_text, ""),
    "REDIS_URL": (_redis_url, ""),
    "BASE_URL": (_url, "http://127.0.0.1:8000"),
    "MASTER_KEYS": (parse_master_keys, ""),
    "PLATFORM_KEY": (_text, ""),
    "TENANT_JOBS_IN_FLIGHT": (_count, "0"),
    "CONCURRENCY": (_count, "16"),
    "UNDO_HOURS": (_undo, "24"),
    "RETENTION": (_switch, "on"),
    "META_APP_ID": (_text, ""),
    "META_APP_SECRET": (_text, ""),
    "META_VERIFY_TOKEN": (_text, ""),
    "META_GRAPH_URL": (_url, "https://graph.facebook.com"),
    "META_DIALOG_URL": (_url, "https://www.facebook.com"),
    "META_GRAPH_VERSION": (_version, "v26.0"),
    "GOOGLE_CLIENT_ID": (_text, ""),
    "GOOGLE_CLIENT_SECRET": (_text, ""),
    "GOOGLE_AUTH_URL": (_url, "https://accounts.google.com/o/oauth2/v2/auth"),
    "GOOGLE_TOKEN_URL": (_url, "https://oauth2.googleapis.com/token"),
    "GOOGLE_REVOKE_URL": (_url, "https://oauth2.googleapis.com/revoke"),
    "GOOGLE_API_URL": (_url, "https://www.googleapis.com"),
    "GOOGLE_SCOPES": (_words, " ".join(GOOGLE_CALENDAR.scopes)),
    "GOOGLE_USER_QUOTA": (_calls, "600"),
    "GOOGLE_PROJECT_QUOTA": (_calls, "10000"),
    "FCM_URL": (_url, "https://fcm.googleapis.com"),
    "FCM_CREDENTIALS": (_fcm_credentials, ""),
    "FCM_QUOTA": (_calls, "600000"),
    "VAPID_PRIVATE_KEY": (_vapid_key, ""),
    "VAPID_SUBJECT": (_vapid_subject, ""),
    "WEBPUSH_ALLOWED": (_origins, ""),
}


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the process's environment over `.env`, or from the mapping given; BadSettings names every mistake."""
    given = {**_dotenv(Path(".env")), **os.environ} if environment is None else environment
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    for name, (read, default) in _READ.items():
        text = given.get(PREFIX + name, "").strip() or default
        try:
            values[name] = read(text) if text else None
        except ValueError as mistake:
            mistakes.append(f"{PREFIX}{name}: {mistake}")
    if not values.get("MASTER_KEYS") and not any(m.startswith(f"{PREFIX}MASTER_KEYS") for m in mistakes):
        mistakes.append(f"{PREFIX}MASTER_KEYS: it is not set; make one with `troth keys master` and keep it safe")
    platform_key = values.get("PLATFORM_KEY")
    if platform_key and len(platform_key) < 24:
        mistakes.append(f"{PREFIX}PLATFORM_KEY: it must have at least 24 characters, or be left out")
    if values.get("VAPID_PRIVATE_KEY") and not values.get("VAPID_SUBJECT"):
        mistakes.append(
            f"{PREFIX}VAPID_SUBJECT: set it beside the key, to mailto:somebody@your.domain or an https address"
        )
    if mistakes:
        raise BadSettings("\n".join(mistakes))
    return _settings(values)


def _settings(values: dict[str, Any]) -> Settings:
    data_dir: Path = values["DATA_DIR"]
    return Settings(
        data_dir=data_dir,
        database_url=values["DATABASE_URL"] or f"sqlite:///{data_dir.absolute()}/troth.db",
        redis_url=values["REDIS_URL"],
        base_url=values["BASE_URL"],
        master_keys=values["MASTER_KEYS"],
        platform_key=values["PLATFORM_KEY"],
        tenant_jobs_in_flight=values["TENANT_JOBS_IN_FLIGHT"],
        concurrency=max(1, values["CONCURRENCY"]),
        meta=Meta(
            app_id=values["META_APP_ID"] or "",
            app_secret=values["META_APP_SECRET"] or "",
            verify_token=values["META_VERIFY_TOKEN"] or "",
            graph_url=values["META_GRAPH_URL"],
            dialog_url=values["META_DIALOG_URL"],
            graph_version=values["META_GRAPH_VERSION"],
        ),
        undo=values["UNDO_HOURS"],
        retention=values["RETENTION"],
        google=Google(
            client_id=values["GOOGLE_CLIENT_ID"] or "",
            client_secret=values["GOOGLE_CLIENT_SECRET"] or "",
            auth_url=values["GOOGLE_AUTH_URL"],
            token_url=values["GOOGLE_TOKEN_URL"],
            revoke_url=values["GOOGLE_REVOKE_URL"],
            api_url=values["GOOGLE_API_URL"],
            scopes=values["GOOGLE_SCOPES"],
            user_quota=values["GOOGLE_USER_QUOTA"],
            project_quota=values["GOOGLE_PROJECT_QUOTA"],
        ),
        push=Push(
            fcm_url=values["FCM_URL"],
            fcm_credentials=values["FCM_CREDENTIALS"],
            vapid_private_key=values["VAPID_PRIVATE_KEY"],
            vapid_subject=values["VAPID_SUBJECT"] or "",
            allowed=values["WEBPUSH_ALLOWED"] or (),
            fcm_quota=values["FCM_QUOTA"],
        ),
    )


def with_dotenv() -> dict[str, str]:
    """This process's environment, over what `.env` in the working directory says."""
    return {**_dotenv(Path(".env")), **os.environ}


def _dotenv(path: Path) -> dict[str, str]:
    """NAME=value lines; # comments, blank lines and one pair of quotes around a value are understood."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            value = value.strip()
            found[name.strip()] = (
                value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
            )
    return found
