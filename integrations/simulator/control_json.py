"""JSON in and JSON out for the simulator's own switches; knows none of them."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrations.simulator.google_answers import GoogleFault
from integrations.simulator.meta_answers import GraphFault

Switch = Callable[[Request], Awaitable[Any]]
Table = list[tuple[str, str, Switch]]


def routes_of(table: Table) -> list[Route]:
    """(method, path under /_sim, who answers) as routes."""
    return [Route(f"/_sim/{path}", _json(it), methods=[method]) for method, path, it in table]


async def read_object(request: Request, known: Collection[str] | None = None) -> dict[str, Any]:
    """The body; TypeError when it is no object, ValueError for a key that is not `known`: a misspelt switch does nothing."""
    data = orjson.loads(await request.body() or b"{}")
    if not isinstance(data, dict):
        raise TypeError("a JSON object is needed")
    unknown = sorted(set(data) - set(known if known is not None else data))
    if unknown:
        raise ValueError(f"there is no {unknown[0]!r} here; there is {', '.join(known or ())}")
    return data


def texts(data: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts that may be absent."""
    return [str(item) for item in data.get(name) or ()]


def _json(answer: Switch) -> Switch:
    """A wrong question is 400 with a sentence, an unknown thing 404."""

    async def endpoint(request: Request) -> Response:
        try:
            status, body = 200, await answer(request)
        except LookupError as error:
            status, body = 404, {"detail": f"not known here: {error}"}
        except (GraphFault, GoogleFault, TypeError, ValueError) as error:
            status, body = 400, {"detail": str(error)}
        return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), status, media_type="application/json")

    return endpoint
