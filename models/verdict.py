"""Whether a receipt is true, and whether a chain of them is whole, in words; pure, and it trusts nothing that it is shown."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from models.ed25519 import ALGORITHM, is_signed
from models.receipt_body import NONE_BEFORE, VERSION, canonical

_SIGNATURE = {"key", "public_key", "algorithm", "digest", "value"}
_NO_RECEIPT = "This is not a receipt: a receipt is a JSON object with `body` and `signature`, as Troth gave it out."
_BROKEN = "The chain is broken: "

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it holds, and why not, in a sentence. `bodies` are what was found true; there are none when it does not hold."""

    holds: bool
    sentence: str
    bodies: Sequence[Body] = ()


class _DoesNotHold(Exception):
    """The text is the verdict's sentence, and repeats nothing that was shown."""


def verify(document: object, known_keys: Mapping[str, str], *, previous: object = None) -> Verdict:
    """Judge one receipt by the known public keys (id -> key), and its link to the one before when that is given too."""
    try:
        body = _true_body(document, known_keys)
        if previous is None:
            return Verdict(True, "The receipt is true: it is as it was signed.", [body])
        _check_link(_true_previous(previous, known_keys), body)
    except _DoesNotHold as no:
        return Verdict(False, str(no))
    return Verdict(True, "The receipt is true, and follows the one before it.", [body])


def verify_chain(documents: Sequence[object], known_keys: Mapping[str, str]) -> Verdict:
    """Judge receipts of one tenant that follow one another, in the order of their chain; it may begin at any number."""
    bodies: list[Body] = []
    try:
        for position, document in enumerate(documents, start=1):
            try:
                body = _true_body(document, known_keys)
            except _DoesNotHold as no:
                raise _DoesNotHold(f"Receipt {position} of {len(documents)} does not hold. {no}") from None
            if bodies:
                _check_link(bodies[-1], body)
            bodies.append(body)
    except _DoesNotHold as no:
        return Verdict(False, str(no))
    if not bodies:
        return Verdict(False, "There is no receipt in this list.")
    first, last = (body["receipt"]["number"] for body in (bodies[0], bodies[-1]))
    return Verdict(True, f"The chain is whole from receipt {first} to {last}, and each is as it was signed.", bodies)


def judge(raw: bytes, known_keys: Mapping[str, str], *, previous: bytes | None = None) -> Verdict:
    """Judge a file: a receipt, a list of them, or a page of `GET /v1/receipts`."""
    try:
        shown, before = _read(raw), None if previous is None else _read(previous)
    except _DoesNotHold as no:
        return Verdict(False, str(no))
    listed = shown.get("items") if isinstance(shown, dict) else shown
    if not isinstance(listed, list):
        return verify(shown, known_keys, previous=before)
    return verify_chain(listed if before is None else [before, *listed], known_keys)


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw, object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        raise _DoesNotHold(_NO_RECEIPT) from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands twice is read one way by us and maybe another way by who looks at the file."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return fields


def _true_previous(document: object, known_keys: Mapping[str, str]) -> Body:
    try:
        return _true_body(document, known_keys)
    except _DoesNotHold as no:
        raise _DoesNotHold(f"The receipt before it does not hold. {no}") from None


def _true_body(document: object, known_keys: Mapping[str, str]) -> Body:
    """The body, when it is as it was signed by a known key."""
    body, signature = _parts(document)
    if signature["algorithm"] != ALGORITHM:
        raise _DoesNotHold(f"The signature is by another algorithm than {ALGORITHM}.")
    public_key = known_keys.get(signature["key"])
    if public_key is None:
        raise _DoesNotHold("The key of the signature is not known: it is none of those that it was compared with.")
    if signature["public_key"] != public_key:
        raise _DoesNotHold("The public key that is written in the receipt is not the known one of that id.")
    try:
        text = canonical(body)
    except (TypeError, ValueError):
        raise _DoesNotHold(_NO_RECEIPT) from None
    if hashlib.sha256(text).hexdigest() != signature["digest"]:
        raise _DoesNotHold("The body was changed after it was signed: its digest is another one.")
    if not is_signed(text, signature["value"], public_key):
        raise _DoesNotHold("The signature is wrong: it is not that of the known key over this body.")
    _check_own(body, signature["key"])
    return body


def _parts(document: object) -> tuple[Body, Mapping[str, str]]:
    match document:
        case {"body": dict(body), "signature": dict(signature), **more} if not more and set(signature) == _SIGNATURE:
            if all(isinstance(value, str) for value in signature.values()):
                return body, signature
    raise _DoesNotHold(_NO_RECEIPT)


def _check_own(body: Body, key: str) -> None:
    """What was signed is a receipt that this version can read, and the beginning of a chain is one."""
    if body.get("version") != VERSION:
        raise _DoesNotHold("The receipt was made by another version of Troth; verify it with that one.")
    match body.get("receipt"):
        case {"tenant": str(), "number": int(number), "previous": str(previous), "key": named}:
            if named != key:
                raise _DoesNotHold("The receipt names another key than the one that signed it.")
            if (number == 1) != (previous == NONE_BEFORE):
                _broken("only the first receipt has none before it.")
        case _:
            raise _DoesNotHold(_NO_RECEIPT)


def _check_link(before: Body, body: Body) -> None:
    mine, other = body["receipt"], before["receipt"]
    if mine["tenant"] != other["tenant"]:
        _broken("the receipt before it is another tenant's.")
    if mine["number"] != other["number"] + 1:
        _broken(f"receipt {mine['number']} cannot follow receipt {other['number']}.")
    if mine["previous"] != hashlib.sha256(canonical(before)).hexdigest():
        _broken("it was made to follow another receipt than the one before it.")


def _broken(why: str) -> NoReturn:
    raise _DoesNotHold(_BROKEN + why)
