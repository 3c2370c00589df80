"""The types of ids of ours that callers send; an id of nobody is no mistake here, it just fits nothing."""

from typing import Annotated

from pydantic import AfterValidator, Field

from models.base import is_id


def _our_id(value: str) -> str:
    if not is_id(value):
        raise ValueError("Use an id as this API gives it.")
    return value


OurId = Annotated[str, Field(max_length=36), AfterValidator(_our_id)]
Ids = Annotated[list[OurId], Field(min_length=1, max_length=500)]
