"""The REST API `/v1`: one module per noun."""

from fastapi import APIRouter

from worker.web.api import (
    bulletin_pace,
    bulletins,
    calendar_events,
    calendars,
    connect_links,
    connections,
    deletion_wishes,
    deletions,
    devices,
    events,
    exports,
    feed,
    forms,
    history,
    inbox,
    jobs,
    keys,
    latency,
    lead_changes,
    lead_checks,
    lead_merging,
    leads,
    opt_outs,
    policy_notices,
    receipts,
    restrictions,
    retention,
    tenants,
)

router = APIRouter()
# `latency`, `lead_changes` and `deletion_wishes` have addresses that would be ids to `leads`.
for _noun in (tenants, keys, connect_links, connections, calendar_events, calendars, forms, latency, lead_changes, leads,
              history, lead_checks, lead_merging, inbox, jobs, deletion_wishes, deletions, receipts, retention, exports,
              restrictions, opt_outs, policy_notices, devices, bulletin_pace, bulletins, feed, events):  # fmt: skip
    router.include_router(_noun.router)
