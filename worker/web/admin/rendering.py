"""How a page is made: the templates, always escaped, and the few filters they use; it reads no rows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from worker.web.admin.masking import masked_email, masked_name, masked_phone
from worker.web.problems import KINDS, Problem

FOLDER: Final = Path(__file__).parent
STATIC: Final = FOLDER / "static"


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%d %b %Y, %H:%M}".lstrip("0")


def _utc(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _words(text: str) -> str:
    """What a form calls `preferred_time?` or `full_name`, as words."""
    return text.replace("_", " ").strip().capitalize()


_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(
    local=_local, utc=_utc, words=_words, masked_email=masked_email, masked_phone=masked_phone, masked_name=masked_name
)


def page(template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page. `desk` in the context is whose page it is; None for a visitor who has not signed in."""
    context.setdefault("desk", None)
    return HTMLResponse(_templates.get_template(template).render(context), status)


def problem_page(problem: Problem) -> HTMLResponse:
    """A problem as a page."""
    status, title = KINDS[problem.kind]
    response = page("problem.html", status=status, title=title, detail=problem.detail, errors=problem.errors or ())
    response.headers.update(problem.headers or {})
    return response
