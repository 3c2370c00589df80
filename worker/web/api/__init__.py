"""The REST API `/v1`: one module per noun."""

from fastapi import APIRouter

from worker.web.api import connections, history, jobs, keys, leads, tenants

MOST_BYTES = 256 * 1024
"""A larger body than any we ask for; deliveries of providers have a limit of their own."""

router = APIRouter(max_body_size=MOST_BYTES)
for _noun in (tenants, keys, connections, leads, history, jobs):
    router.include_router(_noun.router)
