"""The Calendar API as Google describes it: its methods, their parameters and bodies, from the discovery document that ships
with google-api-python-client. It knows what may be said, and nothing of what it does.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

import orjson

from integrations.simulator.google_answers import GoogleFault, api_fault

Check = Callable[[Any, str], None]
_TIMES = {
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII),
}
_PLAIN: Mapping[str, tuple[type, ...]] = {"string": (str,), "boolean": (bool,), "number": (int, float)}


@dataclass(frozen=True, slots=True)
class Method:
    """One method. `id` is as "calendar.events.insert"; `query` its parameters in the address's query."""

    id: str
    http: str
    path: tuple[str, ...]
    query: Mapping[str, Mapping[str, Any]]
    request: Check | None
    response: Check | None
    scopes: frozenset[str]


class Unfit(Exception):
    """Something does not fit its schema; the text says what, in Google's words."""


@cache
def api() -> "Api":
    """The API, read once in a process."""
    path = files("googleapiclient").joinpath("discovery_cache", "documents", "calendar.v3.json")
    return Api(orjson.loads(path.read_bytes()))


class Api:
    """All methods of the document, and its schemas as checks."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas, self._checks = document["schemas"], dict[str, Check]()
        self._common = document["parameters"]
        self.methods: dict[str, Method] = {}
        self._by_shape: dict[tuple[str, int], list[Method]] = {}
        for resource in document["resources"].values():
            for described in resource.get("methods", {}).values():
                self._add(described)

    def _add(self, described: Mapping[str, Any]) -> None:
        query = {name: it for name, it in described.get("parameters", {}).items() if it["location"] == "query"}
        method = Method(
            described["id"], described["httpMethod"], tuple(described["path"].split("/")), {**self._common, **query},
            self._ref(described.get("request")), self._ref(described.get("response")), frozenset(described["scopes"]),
        )  # fmt: skip
        self.methods[method.id] = method
        self._by_shape.setdefault((method.http, len(method.path)), []).append(method)

    def find(self, http: str, path: str) -> tuple[Method, dict[str, str]]:
        """The method of an address below /calendar/v3/ and its path's parameters; raises a 404."""
        parts = path.split("/")
        for method in self._by_shape.get((http, len(parts)), ()):
            if all(name == part or name[0] == "{" for name, part in zip(method.path, parts, strict=True)):
                return method, {name[1:-1]: unquote(part) for name, part in zip(method.path, parts, strict=True)
                                if name[0] == "{"}  # fmt: skip
        raise api_fault(404, "notFound", "Not Found")

    def params(self, method: Method, given: Mapping[str, str]) -> dict[str, Any]:
        """The query's parameters in their types, instants as datetimes; raises a 400 for what the method does not have."""
        found: dict[str, Any] = {}
        for name, value in given.items():
            known = method.query.get(name)
            if known is None:
                raise bad_request(f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.')
            found[name] = _param(name, value, known)
        return found

    def check(self, check: Check | None, value: Any) -> None:
        """Raises a 400 for a body that does not fit."""
        if check is None:
            return
        try:
            check(value, "")
        except Unfit as unfit:
            raise bad_request(str(unfit)) from None

    def _ref(self, described: Mapping[str, str] | None) -> Check | None:
        return None if described is None else self._schema(described["$ref"])

    def _schema(self, name: str) -> Check:
        if name not in self._checks:
            self._checks[name] = lambda value, place: self._checks[name](
                value, place
            )  # for schemas that hold themselves
            self._checks[name] = self._compile(self._schemas[name])
        return self._checks[name]

    def _compile(self, schema: Mapping[str, Any]) -> Check:
        if "$ref" in schema:
            return self._schema(schema["$ref"])
        kind = schema["type"]
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return _array(self._compile(schema["items"]))
        if kind == "any":
            return lambda value, place: None
        return _leaf(kind, schema.get("format", ""))

    def _object(self, schema: Mapping[str, Any]) -> Check:
        fields = {name: self._compile(it) for name, it in schema.get("properties", {}).items()}
        rest = self._compile(schema["additionalProperties"]) if "additionalProperties" in schema else None

        def check(value: Any, place: str) -> None:
            if type(value) is not dict:
                raise Unfit(f"Invalid value at '{place}', an object is expected")
            for name, inner in value.items():
                one = fields.get(name, rest)
                if one is None:
                    raise Unfit(
                        f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."
                    )
                if inner is not None:
                    one(inner, name)

        return check


def without_nulls(value: Any) -> Any:
    """The same JSON, a field that is null as one that is not there."""
    if isinstance(value, dict):
        return {name: without_nulls(it) for name, it in value.items() if it is not None}
    return [without_nulls(it) for it in value] if isinstance(value, list) else value


def bad_request(message: str) -> GoogleFault:
    """A 400 as Google words it: the call has not the shape that the document describes."""
    return api_fault(400, "badRequest", message)


def invalid(message: str) -> GoogleFault:
    """A 400: the shape is right, and a value makes no sense."""
    return api_fault(400, "invalid", message)


def _array(inner: Check) -> Check:
    def check(value: Any, place: str) -> None:
        if type(value) is not list:
            raise Unfit(f"Invalid value at '{place}', a list is expected")
        for one in value:
            inner(one, place)

    return check


def _leaf(kind: str, form: str) -> Check:
    pattern = _TIMES.get(form)
    if kind == "integer" or form in ("int64", "int32", "uint32"):
        # An int64 travels as text, and numbers are taken too.
        def whole(value: Any, place: str) -> None:
            is_text = kind == "string" and type(value) is str and re.fullmatch(r"-?\d{1,19}", value, re.ASCII)
            if not is_text and type(value) is not int:
                raise Unfit(f"Invalid value at '{place}' (TYPE_INT), {value!r}")

        return whole
    types = _PLAIN[kind]

    def check(value: Any, place: str) -> None:
        if type(value) not in types:
            raise Unfit(f"Invalid value at '{place}' (TYPE_{kind.upper()}), {value!r}")
        if pattern is not None and not pattern.fullmatch(value):
            raise Unfit(f"Invalid value at '{place}' ({form}), {value!r}")

    return check


def _param(name: str, value: str, known: Mapping[str, Any]) -> Any:
    kind, form = known["type"], known.get("format", "")
    if kind == "integer" and re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        if not int(known.get("minimum", -(10**9))) <= int(value) <= int(known.get("maximum", 10**9)):
            raise invalid(f"Invalid value '{value}'. Values must be within the range of '{name}'.")
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if form == "date-time":
        return _instant(name, value)
    if kind == "string" and value in known.get("enum", (value,)):
        return value
    raise bad_request(f"Invalid value at '{name}' (TYPE_{kind.upper()}), \"{value}\"")


def _instant(name: str, value: str) -> datetime:
    """Google wants an offset here."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise bad_request(f"Invalid value at '{name}' (date-time), \"{value}\"")
    return at
