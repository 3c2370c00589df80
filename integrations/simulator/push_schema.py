"""FCM's message as Google describes it in the discovery document that google-api-python-client brings; it sends nothing."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "any": (object,),
}  # fmt: skip


@cache
def _schemas() -> Mapping[str, Any]:
    path = files("googleapiclient").joinpath("discovery_cache", "documents", "fcm.v1.json")
    found: Mapping[str, Any] = orjson.loads(path.read_bytes())["schemas"]
    return found


def fault(value: Any, name: str = "SendMessageRequest") -> tuple[str, str] | None:
    """(field, what is wrong with it) of the first thing that the schema does not allow; None: there is none."""
    return _fault(value, {"$ref": name}, "")


def _fault(value: Any, schema: Mapping[str, Any], place: str) -> tuple[str, str] | None:
    if "$ref" in schema:
        schema = _schemas()[schema["$ref"]]
    kind = schema["type"]
    if kind == "object":
        return _object_fault(value, schema, place)
    if kind == "array":
        if not isinstance(value, list):
            return place, "a list is expected"
        return next(filter(None, (_fault(one, schema["items"], place) for one in value)), None)
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and kind != "any" and isinstance(value, bool)):
        return place, f"TYPE_{kind.upper()} is expected"
    if "enum" in schema and value not in schema["enum"]:
        return place, "the value is none of the enumeration"
    return None


def _object_fault(value: Any, schema: Mapping[str, Any], place: str) -> tuple[str, str] | None:
    if not isinstance(value, dict):
        return place, "an object is expected"
    known, rest = schema.get("properties", {}), schema.get("additionalProperties")
    for name, inner in value.items():
        field = f"{place}.{name}" if place else name
        if name not in known and rest is None:
            return field, f'Unknown name "{name}": Cannot find field.'
        found = _fault(inner, known.get(name, rest), field)
        if found is not None:
            return found
    return None
