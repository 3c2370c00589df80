"""What is wrong with which field, in words that never hold the value, nor a name of a field that we did not choose."""

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from worker.grants import BY_NAME
from worker.web.problems import Problem


def problem_of_input(request: Request, error: RequestValidationError) -> Problem:
    """422 with a line for each field; 415 when there was a body of another type than JSON."""
    errors = error.errors()
    if _is_other_media(request, errors):
        return Problem("not-json", "Send the body with Content-Type: application/json.")
    return Problem(
        "invalid", "Mend the fields listed under errors, and send the request again.", errors=in_words(errors)
    )


def in_words(errors: Sequence[Any]) -> list[dict[str, str]]:
    """{field, problem} for each of pydantic's errors."""
    return [{"field": _field(one), "problem": _sentence(one)} for one in errors]


def _is_other_media(request: Request, errors: Sequence[Any]) -> bool:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    is_json = media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
    return has_body and not is_json and any(tuple(one["loc"]) == ("body",) for one in errors)


_NO_SHAPE = ("union_tag_invalid", "union_tag_not_found")


def _field(error: Any) -> str:
    # A body with a shape for each integration is read under its name, which is no field.
    place = [str(part) for part in error["loc"] if part not in BY_NAME]
    if error["type"] == "json_invalid":
        return "body"
    if error["type"] == "extra_forbidden":
        place[-1] = "(unknown field)"  # the caller chose that name; it may hold anything
    if error["type"] in _NO_SHAPE:
        place.append(error["ctx"]["discriminator"].strip("'"))
    return ".".join(place)


def _sentence(error: Any) -> str:
    if error["type"] == "json_invalid":
        return "This is not JSON."
    if error["type"] == "extra_forbidden":
        return "A field of this name is not known here."
    if error["type"] == "union_tag_invalid":
        return f"Use one of {error['ctx']['expected_tags']}."  # pydantic's own words repeat the value
    if error["type"] == "union_tag_not_found":
        return "Field required"
    return str(error["msg"]).removeprefix("Value error, ")
