"""Graph's batch: many calls in one request, each answered for itself; knows no handlers.

https://developers.facebook.com/docs/graph-api/batch-requests
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from integrations.simulator.meta import Call, Graph, split_path, truthy
from integrations.simulator.meta_answers import JSON, Answer, GraphFault, bad_parameter
from integrations.simulator.query import read_query

LIMIT = 50


def batch(graph: Graph, call: Call) -> Answer:
    """POST /: 200 with a list in the order asked, also when every item failed; null for an item that timed out.

    Raises GraphFault when the batch itself is wrong: no or a dead token, broken JSON, more than 50 items.
    """
    target = graph.target(call, graph.locate(call))
    if graph.panel.on:
        graph.fail(target, call)
    token = graph.world.tokens.get(call.token)
    if token is not None:
        graph.check(call, token)
    elif call.token:
        graph.check(call, None)
    items = _items(call.params.get("batch"))
    headers = b"," + _headers(call.version) if truthy(call.params.get("include_headers", "true")) else b""
    usage: dict[str, str] = {}
    replies = [_reply(graph, call, item, headers, usage) for item in items]
    return Answer(200, b"[" + b",".join(replies) + b"]", tuple(usage.items()))


def _items(text: str | None) -> list[Any]:
    try:
        items = orjson.loads(text or "")
    except orjson.JSONDecodeError as error:
        raise bad_parameter("param batch must be an array.") from error
    if not isinstance(items, list) or not items:
        raise bad_parameter("param batch must be a non-empty array.")
    if len(items) > LIMIT:
        text = f"Too many requests in batch message. Maximum batch size is {LIMIT}"
        raise GraphFault(100, text, kind="GraphBatchException")
    return items


def _reply(graph: Graph, outer: Call, item: Any, headers: bytes, usage: dict[str, str]) -> bytes:
    inner = _inner(outer, item)
    if inner is None:
        fault = GraphFault(100, "Invalid batch item: method and relative_url are required", kind="GraphBatchException")
        answer: Answer | None = fault.answer(graph.trace())
    else:
        answer = graph.answer(inner)
    if answer is None:
        return b"null"
    if answer.headers:
        # The wait after a throttle is told inside the item and on the outer reply.
        usage.update((name, value) for name, value in answer.headers if name.endswith("Usage"))
        headers = headers and _with_extra(headers, answer)
    body = orjson.dumps(answer.body.decode())
    return b'{"code":%d%b,"body":%b}' % (answer.status, headers, body)


def _inner(outer: Call, item: Any) -> Call | None:
    """An item as a call of its own; it inherits the outer token, and then needs no proof of its own."""
    if not isinstance(item, dict):
        return None
    method, url = item.get("method", "GET"), item.get("relative_url")
    if not isinstance(url, str) or not isinstance(method, str):
        return None
    path, _, query = url.partition("?")
    params = _params(query)
    body = item.get("body")
    if isinstance(body, str) and body:
        params = {**params, **_params(body)}
    own = params.get("access_token") or item.get("access_token")
    version, parts = split_path(path)
    token = own if isinstance(own, str) and own else outer.token
    return Call(method.upper(), parts, params, token, outer.base_url, version, trusted=token == outer.token)


@lru_cache(maxsize=4096)
def _params(query: str) -> Mapping[str, str]:
    """Kept, as the items of a batch mostly ask the same; never changed by those who read it."""
    return read_query(query.encode())


@lru_cache(maxsize=32)
def _headers(version: str) -> bytes:
    listed = [{"name": "Content-Type", "value": JSON}, {"name": "facebook-api-version", "value": version}]
    return b'"headers":' + orjson.dumps(listed)


def _with_extra(headers: bytes, answer: Answer) -> bytes:
    extra = [{"name": name, "value": value} for name, value in answer.headers]
    return headers[:-1] + b"," + orjson.dumps(extra)[1:]
