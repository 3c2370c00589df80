"""How tests read answers."""

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The body of a problem, once it is the one expected."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith(".")
    return body


def good(answer: httpx.Response, status: int = 200) -> Any:
    """The JSON of an answer, once it is a good one."""
    assert answer.status_code == status, answer.text
    return answer.json()
