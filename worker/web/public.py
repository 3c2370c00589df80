"""What people without a key or a session are told: plain pages with a way on. It knows no link and no row."""

from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from worker.web.admin.rendering import page
from worker.web.problems import KINDS, Problem

PATHS: Final = ("/connect/", "/oauth/", "/deletions/", "/exports/", "/receipts/")
"""Where people come who have neither key nor session."""


@dataclass(frozen=True, slots=True)
class WayOn:
    """A link to one of our own pages."""

    address: str
    words: str


def message(title: str, *sentences: str, status: int = 200, way_on: WayOn | None = None) -> Response:
    """A page that says what happened and what to do."""
    return page("message.html", status=status, title=title, sentences=sentences, way_on=way_on)


def problem_message(problem: Problem) -> Response:
    """A problem as such a page."""
    status, title = KINDS[problem.kind]
    # The words for callers of the API speak of keys and ids, which nobody has here.
    detail = "Check that the address was copied whole." if problem.kind == "not-found" else problem.detail
    response = message(title, detail, status=status)
    response.headers.update(problem.headers or {})
    return response
