"""The REST API `/v1`: one module per noun."""

from fastapi import APIRouter

from worker.web.api import connect_links, connections, deletions, events, history, jobs, keys, leads, tenants

router = APIRouter()
for _noun in (tenants, keys, connect_links, connections, leads, history, jobs, deletions, events):
    router.include_router(_noun.router)
