"""What a peer's process was told, by its environment."""

import os
from functools import cache

import orjson

DATABASE_URL = os.environ.get("PEER_DATABASE_URL", "sqlite://")
BROKER_URL = os.environ.get("PEER_BROKER_URL", "redis://")
GRAPH_URL = os.environ.get("PEER_GRAPH_URL", "http://127.0.0.1:1")
GRAPH_VERSION = os.environ.get("PEER_GRAPH_VERSION", "v26.0")
APP_SECRET = os.environ.get("PEER_APP_SECRET", "")
CLIENT = os.environ.get("PEER_CLIENT", "httpx")
CONCURRENCY = int(os.environ.get("PEER_CONCURRENCY", "2"))


@cache
def pages() -> dict[str, tuple[str, str]]:
    """page id -> (tenant, page token). A real one asks the database each time; being told is cheaper for the peer."""
    found: dict[str, tuple[str, str]] = {}
    path = os.environ.get("PEER_PAGES")
    if path:
        with open(path, "rb") as file:
            found = {page: (tenant, token) for page, tenant, token in orjson.loads(file.read())}
    return found
