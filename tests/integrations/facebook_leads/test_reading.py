"""A form's leads are read to the last one, whatever the parts look like and whatever goes wrong between them."""

import json
import pickle
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.errors import IntegrationError, Missing, NeedsUser, OurBug, Throttled, Transient
from integrations.facebook_leads.graph import Graph
from integrations.facebook_leads.paging import FLOOR, START, CursorGone, PageTooLarge, smaller
from integrations.facebook_leads.reading import LeadPages, Read
from integrations.facebook_leads.sdk import API_VERSION, LEAD_FIELDS
from integrations.http import Http
from integrations.simulator.seed import ACME_FORM, ACME_PAGE, ACME_TOKEN, APP_ID, APP_SECRET, GLOBEX_TOKEN
from tests.integrations.facebook_leads.conftest import HTML, NO_AUTHORITIES, NOON, PROOF, TOKEN, Meta, Simulated

FORM = "202"


@pytest.fixture
def pages(graph: Graph) -> LeadPages:
    return LeadPages(graph)


def error(code: int, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "Canary", "fbtrace_id": "Tr1", **more}}


def whole(simulated: Simulated, token: str = ACME_TOKEN, **how: Any) -> list[Read]:
    """All parts, as a caller reads them: with less after PageTooLarge, and a known cursor is the end."""
    parts: list[Read] = []
    limit = how.pop("limit", START)
    after: str | None = None
    while not parts or after is not None:
        try:
            part = LeadPages(simulated.graph).read(token, ACME_FORM, after=after, limit=limit, **how)
        except PageTooLarge:
            less = smaller(limit)
            assert less is not None
            limit = less
            continue
        parts.append(part)
        after = part.after
    return parts


def ids(parts: list[Read]) -> list[str]:
    return [lead["id"] for part in parts for lead in part.leads]


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, error(1)), (400, error(1)), (400, error(1, error_subcode=99)), (500, {"error": {}}), (500, HTML)],
)
def test_a_part_that_was_too_large_says_so_until_there_is_no_less(
    pages: LeadPages, meta: Meta, status: int, body: Any
) -> None:
    meta.says(status, body)
    with pytest.raises(PageTooLarge):
        pages.read(TOKEN, FORM, limit=START)
    with pytest.raises(Transient) as caught:
        pages.read(TOKEN, FORM, limit=FLOOR)
    assert type(caught.value) is Transient


def test_a_part_that_took_too_long_is_asked_for_in_less(simulated: Simulated) -> None:
    simulated.server.panel.press("hang", kind="form_leads")
    with closing(Http(read_timeout=timedelta(milliseconds=100), verify=NO_AUTHORITIES)) as impatient:
        graph = Graph(impatient, base_url=simulated.server.url, app_id=APP_ID, app_secret=APP_SECRET)
        with pytest.raises(PageTooLarge) as caught:
            LeadPages(graph).read(ACME_TOKEN, ACME_FORM)
    assert caught.value.code == "timeout"


def test_limits_shrink_by_halves_to_a_floor() -> None:
    limits: list[int | None] = [START]
    while (last := limits[-1]) is not None:
        limits.append(smaller(last))
    assert limits == [250, 125, 62, 31, 15, 7, 5, None]


def test_too_large_is_an_ordinary_again_for_who_does_not_know_it_and_crosses_a_process() -> None:
    again = pickle.loads(pickle.dumps(PageTooLarge("So.", code="1")))  # noqa: S301 - our own
    assert isinstance(again, Transient) and type(again) is PageTooLarge and again.kind == "transient"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, error(190, error_subcode=463), NeedsUser),
        (403, error(200), NeedsUser),
        (400, error(80005), Throttled),
        (500, error(80005), Throttled),
        (400, error(100, error_subcode=33), Missing),
        (400, error(100), OurBug),
        (400, error(2), Transient),
        (502, HTML, Transient),
        (200, [], Transient),
        (200, {"data": None}, Transient),
        (200, {"data": [], "paging": {"next": "https://elsewhere.example/"}}, Transient),
    ],
)
def test_every_other_failure_keeps_its_class(
    pages: LeadPages, meta: Meta, status: int, body: Any, expected: type[IntegrationError]
) -> None:
    meta.says(status, body)
    for read in (pages.read, pages.lead_ids):
        with pytest.raises(IntegrationError) as caught:
            read(TOKEN, FORM)
        assert type(caught.value) is expected


def test_what_is_missing_is_the_form_and_not_a_lead(pages: LeadPages, meta: Meta) -> None:
    meta.says(400, error(100, error_subcode=33))
    with pytest.raises(Missing, match="this form's leads") as caught:
        pages.read(TOKEN, FORM)
    assert (caught.value.code, caught.value.trace) == ("100/33", "Tr1")


def test_a_cursor_that_meta_forgot_is_told_from_a_wrong_request(pages: LeadPages, meta: Meta) -> None:
    meta.says(400, error(100))
    with pytest.raises(CursorGone):
        pages.read(TOKEN, FORM, after="stale")
    with pytest.raises(OurBug):
        pages.read(TOKEN, FORM)


def test_one_part_is_one_call_and_its_address_holds_no_token(pages: LeadPages, meta: Meta) -> None:
    meta.says(200, {"data": []})
    since = datetime(2026, 1, 2, 3, 4, 5, 900_000, tzinfo=UTC)
    pages.read(TOKEN, FORM, since=since, until=since + timedelta(hours=1), after="c=", limit=7)
    pages.lead_ids(TOKEN, FORM, since=since)
    first, second = meta.calls
    assert first.path == f"/{API_VERSION}/{FORM}/leads"
    filtering = json.loads(first.query.pop("filtering"))
    assert first.query == {"fields": ",".join(LEAD_FIELDS), "limit": "7", "after": "c=", "appsecret_proof": PROOF}
    # Seconds are rounded outwards: a lead too many is known here already, one too few is lost.
    assert filtering == [
        {"field": "time_created", "operator": "GREATER_THAN_OR_EQUAL", "value": 1767323045},
        {"field": "time_created", "operator": "LESS_THAN", "value": 1767326646},
    ]
    assert second.query["fields"] == "id,created_time"
    assert all(call.headers["authorization"] == f"Bearer {TOKEN}" for call in meta.calls)


@pytest.mark.parametrize("form_id", ["", "0", "101/../me", "101?x=1", "-1", "\u0661", "me"])
def test_what_is_no_form_is_not_asked_for(pages: LeadPages, meta: Meta, form_id: str) -> None:
    with pytest.raises(OurBug):
        pages.read(TOKEN, form_id)
    assert meta.calls == []


def test_a_naive_instant_and_an_empty_part_are_not_asked_for(pages: LeadPages, meta: Meta) -> None:
    with pytest.raises(OurBug):
        pages.read(TOKEN, FORM, since=datetime(2026, 1, 2))  # noqa: DTZ001 - the mistake in question
    with pytest.raises(OurBug):
        pages.read(TOKEN, FORM, limit=0)
    assert meta.calls == []


def test_leads_without_an_id_or_of_another_form_are_dropped_and_counted(pages: LeadPages, meta: Meta) -> None:
    good = [{"id": 1, "form_id": FORM}, {"id": "2", "form_id": int(FORM)}, {"id": "3"}, {"id": "4", "form_id": {}}]
    odd: list[Any] = [None, 7, "x", [], {}, {"id": "x"}, {"id": 0}, {"id": "5", "form_id": "203"}]
    meta.says(200, {"data": [*odd, *good, {"id": "1", "form_id": FORM}]})
    part = pages.read(TOKEN, FORM)
    assert ([lead["id"] for lead in part.leads], part.dropped, part.after) == (["1", "2", "3", "4"], 8, None)


def test_a_cursor_that_leads_to_itself_is_the_end(pages: LeadPages, meta: Meta) -> None:
    meta.says(200, {"data": [{"id": "1"}], "paging": {"next": "https://x.example/", "cursors": {"after": "a"}}})
    assert pages.read(TOKEN, FORM).after == "a"
    assert pages.read(TOKEN, FORM, after="a").after is None


def test_a_cursor_on_the_last_part_is_no_more(pages: LeadPages, meta: Meta) -> None:
    meta.says(200, {"data": [{"id": "1"}], "paging": {"cursors": {"after": "a"}}})
    assert pages.read(TOKEN, FORM).after is None


def test_usage_comes_with_each_part(pages: LeadPages, meta: Meta) -> None:
    usage = {"101": [{"type": "leadgen", "call_count": 81}], "102": [{"type": "leadgen", "call_count": 99}]}
    meta.says(200, {"data": []}, X_Business_Use_Case_Usage=json.dumps(usage))
    assert pages.read(TOKEN, FORM, page_id="101").usage.percent == 81
    assert pages.read(TOKEN, FORM).usage.percent == 99


def test_every_lead_is_read_once_through_empty_parts_and_new_ones_arriving(simulated: Simulated) -> None:
    leads = simulated.world.add_leads(ACME_FORM, 40, created_at=NOON - timedelta(days=2))
    simulated.world.forms[ACME_FORM].empty_page = 2
    parts = whole(simulated, limit=7)
    assert ids(parts) == [lead.id for lead in reversed(leads)]
    assert parts[2].leads == [] and all(part.dropped == 0 for part in parts)
    assert simulated.server.calls.requests["form_leads"] == len(parts) == 7
    first = LeadPages(simulated.graph).read(ACME_TOKEN, ACME_FORM, limit=7)
    simulated.world.add_leads(ACME_FORM, 5, created_at=NOON)
    second = LeadPages(simulated.graph).read(ACME_TOKEN, ACME_FORM, limit=7, after=first.after)
    assert not set(ids([first])) & set(ids([second]))


def test_a_lead_read_in_bulk_is_the_lead_that_is_read_alone(simulated: Simulated) -> None:
    simulated.world.add_leads(ACME_FORM, 30, odd=True)
    bulk = {lead["id"]: lead for part in whole(simulated) for lead in part.leads}
    alone = {one.lead_id: one.lead for one in simulated.graph.fetch_leads(ACME_TOKEN, list(bulk))}
    assert bulk == alone


def test_since_and_until_meet_without_a_gap_or_a_double(simulated: Simulated) -> None:
    simulated.world.add_leads(ACME_FORM, 10, created_at=NOON - timedelta(seconds=10))
    between = NOON - timedelta(seconds=4)
    late, early = ids(whole(simulated, since=between)), ids(whole(simulated, until=between))
    assert (len(late), len(early), len(set(late + early))) == (4, 6, 10)
    only = LeadPages(simulated.graph).lead_ids(ACME_TOKEN, ACME_FORM, since=between)
    assert ids([only]) == late and set(only.leads[0]) == {"id", "created_time"}


def test_a_form_that_is_too_much_at_once_is_read_in_smaller_parts(simulated: Simulated) -> None:
    leads = simulated.world.add_leads(ACME_FORM, 40)
    simulated.world.forms[ACME_FORM].most = 16
    parts = whole(simulated)
    assert [len(part.leads) for part in parts] == [15, 15, 10]
    assert set(ids(parts)) == {lead.id for lead in leads}


def test_a_page_of_another_tenant_is_not_read(simulated: Simulated) -> None:
    simulated.world.add_leads(ACME_FORM)
    with pytest.raises(Missing):
        whole(simulated, token=GLOBEX_TOKEN)


def test_a_budget_that_is_used_up_is_seen_coming_and_then_waited_for(simulated: Simulated) -> None:
    simulated.world.add_leads(ACME_FORM, 2)
    simulated.server.panel.quota.set(on=True, per_lead=5)
    pages = LeadPages(simulated.graph)
    percents = [pages.read(ACME_TOKEN, ACME_FORM, page_id=ACME_PAGE).usage.percent for _ in range(10)]
    assert percents == list(range(10, 101, 10))
    with pytest.raises(Throttled) as caught:
        pages.read(ACME_TOKEN, ACME_FORM)
    assert caught.value.code == "80005"
    assert caught.value.retry_after is not None and caught.value.retry_after > timedelta(hours=23)
