"""Lists a Page's lead forms and reads what they ask; it knows no leads and no mapping.

Source: https://developers.facebook.com/docs/graph-api/reference/page/leadgen_forms
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrations.errors import IntegrationError, Missing, Transient
from integrations.facebook_leads.graph import Graph, require_id, require_page_id
from integrations.facebook_leads.paging import PageTooLarge, listed, next_cursor, refused_part, smaller
from integrations.facebook_leads.scalars import read_id, read_text, read_time

# Names of the SDK's LeadgenForm and LeadGenQuestion. One that Graph does not know would fail the whole call.
_FIELDS = (
    "id,name,status,locale,created_time,page_id,leads_count,expired_leads_count,"
    "questions{key,label,type,options},legal_content"
)
_LIMIT = 100
_GONE = "Facebook does not show this form: it was deleted, or the person who connected the Page may not see it."
_HIDDEN = "Facebook does not show this Page's forms: the person who connected it may have lost access."
_FIX = "If it still exists: someone who manages the Page opens a new connect link and leaves the Page ticked."


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `key` is what answers are told by; `label` may be translated or edited. `options`: (key, value)."""

    key: str
    label: str
    type: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class FormInfo:
    """A form as Meta describes it; None where Meta did not say. `created_at` is UTC, `legal` is as it came.

    `status` is Meta's word: ACTIVE, ARCHIVED, DELETED, DRAFT. `expired_leads_count` can no longer be read.
    """

    external_id: str
    name: str
    status: str | None
    locale: str | None
    created_at: datetime | None
    leads_count: int | None
    expired_leads_count: int | None
    questions: tuple[Question, ...]
    legal: dict[str, Any] | None = field(default=None, repr=False)
    page_external_id: str | None = None


class Forms:
    """The forms of Pages, archived ones too."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def listed(self, token: str, page_id: str, limit: int = _LIMIT) -> list[FormInfo]:
        """Every form once, in Meta's order. Missing is about the Page; a part that is too large is asked for in less."""
        require_page_id(page_id)
        found: dict[str, FormInfo] = {}
        seen: set[str] = set()
        after: str | None = None
        while True:
            try:
                answer = self._part(token, page_id, after, limit)
            except PageTooLarge:
                limit = smaller(limit) or limit
                continue
            for form in _forms(answer):
                found.setdefault(form.external_id, form)
            after = next_cursor(answer, after)
            if after is None or after in seen:
                return list(found.values())
            seen.add(after)

    def one(self, token: str, form_id: str) -> FormInfo:
        """One form; Missing where Facebook does not show it."""
        require_id(form_id, "A form's id is digits.")
        try:
            answer, _ = self._graph.get(token, form_id, {"fields": _FIELDS})
        except Missing as error:
            failure: IntegrationError = _again(error, _GONE)
        else:
            form = read_form(answer)
            if form is not None and form.external_id == form_id:
                return form
            failure = Transient("Facebook answered with something else than the form asked for.", code="shape")
        raise failure

    def _part(self, token: str, page_id: str, after: str | None, limit: int) -> dict[str, Any]:
        params = {"fields": _FIELDS, "limit": str(limit)} | ({"after": after} if after is not None else {})
        try:
            return self._graph.get(token, f"{page_id}/leadgen_forms", params)[0]
        except IntegrationError as error:
            known = _again(error, _HIDDEN) if type(error) is Missing else error
            failure = refused_part(known, limit=limit, after=after)
        raise failure


def read_form(form: object) -> FormInfo | None:
    """A form in any shape; None for what has no id. A count, a question or an option that is none is left out."""
    form_id = read_id(form.get("id")) if isinstance(form, Mapping) else None
    if not isinstance(form, Mapping) or not form_id:
        return None
    legal = form.get("legal_content")
    return FormInfo(
        external_id=form_id,
        name=_text(form.get("name")) or form_id,
        status=_text(form.get("status")),
        locale=_text(form.get("locale")),
        created_at=read_time(form.get("created_time")),
        leads_count=_count(form.get("leads_count")),
        expired_leads_count=_count(form.get("expired_leads_count")),
        questions=tuple(_questions(form.get("questions"))),
        legal=dict(legal) if isinstance(legal, Mapping) and legal else None,
        page_external_id=read_id(form.get("page_id")) or None,
    )


def _forms(answer: Mapping[str, Any]) -> Iterator[FormInfo]:
    return (form for one in listed(answer) if (form := read_form(one)) is not None)


def _questions(questions: object) -> Iterator[Question]:
    for one in questions if isinstance(questions, list) else ():
        key = _text(one.get("key")) if isinstance(one, Mapping) else None
        if key is not None:
            options = tuple(_options(one.get("options")))
            yield Question(key, _text(one.get("label")) or key, _text(one.get("type")) or "CUSTOM", options)


def _options(options: object) -> Iterator[tuple[str, str]]:
    for one in options if isinstance(options, list) else ():
        key, value = (_text(one.get("key")), _text(one.get("value"))) if isinstance(one, Mapping) else (None, None)
        if key is not None or value is not None:
            yield key or value or "", value or key or ""


def _count(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if type(value) is int and 0 <= value < 2**63 else None


def _text(value: object) -> str | None:
    """PostgreSQL's text holds no NUL."""
    text = None if isinstance(value, bool) else read_text(value)
    return text.replace("\0", "\ufffd") if text is not None else None


def _again(error: IntegrationError, sentence: str) -> Missing:
    """The table of errors speaks of one lead."""
    return Missing(sentence, code=error.code, fix=_FIX, trace=error.trace)
