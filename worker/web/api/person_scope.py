"""The scope of what people ask for themselves: a person, or the whole tenant."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from models.deletion import SUBJECT
from worker.web.api.fields import Line, Wish


class PersonScope(Wish):
    """A person by `email`, `phone` or `user` of the host (or several), or the tenant. Each is kept as a keyed hash only."""

    kind: Literal["subject", "tenant"]
    email: Annotated[str, StringConstraints(max_length=320)] | None = None
    phone: Annotated[str, StringConstraints(max_length=64)] | None = None
    user: Line | None = None

    @model_validator(mode="after")
    def _fits(self) -> "PersonScope":
        if (self.kind == SUBJECT) != bool(self.person):
            raise ValueError("Send email, phone or user with the kind subject, and none of them with the kind tenant.")
        return self

    @property
    def person(self) -> dict[str, str]:
        """What was given of a person, in the clear."""
        return {name: value for name in ("email", "phone", "user") if (value := getattr(self, name)) is not None}


class KindShown(BaseModel):
    """A scope, without the person."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
