"""Graph's front: finds the node and edge of a call, checks its token and proof, presses buttons; knows no HTTP."""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

from integrations.simulator.buttons import Button, Does, Panel, Target
from integrations.simulator.calls import Calls
from integrations.simulator.meta_answers import (
    THROTTLES,
    Answer,
    GraphFault,
    app_usage,
    bad_proof,
    fault_of,
    missing,
    no_such_alias,
    no_token,
    page_usage,
    throttled,
)
from integrations.simulator.records import App, Form, Lead, Page, Token, User
from integrations.simulator.world import World

NEWEST, OLDEST, DEFAULT_VERSION = 26, 20, "v20.0"
_VERSION = re.compile(r"v(\d{1,3})\.\d{1,2}")

Node = Lead | Form | Page | User | App
N = TypeVar("N", Lead, Form, Page, User, App)

# (kind of node, edge) -> the kind of call, as counts and buttons name it
_KINDS: dict[tuple[type, str], str] = {
    (Lead, ""): "lead",
    (Form, ""): "form",
    (Form, "leads"): "form_leads",
    (Form, "test_leads"): "test_leads",
    (Page, ""): "page",
    (Page, "leadgen_forms"): "leadgen_forms",
    (Page, "subscribed_apps"): "subscribed_apps",
    (User, ""): "user",
    (User, "accounts"): "accounts",
    (User, "permissions"): "permissions",
    (App, ""): "app",
    (App, "subscriptions"): "subscriptions",
}


@dataclass(slots=True)
class Call:
    """One logical call. `path` has no version; `token` may have come as a parameter or as a Bearer header.

    `trusted` says that token and proof are the outer batch's and were checked there.
    """

    method: str
    path: tuple[str, ...]
    params: Mapping[str, str]
    token: str
    base_url: str
    version: str = "v26.0"
    trusted: bool = False


@dataclass(slots=True)
class Place:
    """Where a call goes: the kind used for counts and buttons, and the node if there is one."""

    kind: str
    node: Node | None
    page: Page | None

    def node_as(self, kind: type[N]) -> N:
        """The node, which the table of kinds says is of this type."""
        if not isinstance(self.node, kind):
            raise TypeError(f"a {self.kind} call reached a node of another type")
        return self.node


_NOBODY = Token("", "none", "", "", None, frozenset(), datetime.min.replace(tzinfo=UTC))

Handler = Callable[["Graph", Call, Place, Token], Answer]


class Graph:
    """Answers logical calls from a world. `routes` is the table (kind, method) -> handler."""

    def __init__(self, world: World, panel: Panel, calls: Calls, routes: Mapping[tuple[str, str], Handler]) -> None:
        self.world, self.panel, self.calls, self.routes = world, panel, calls, routes
        self._traces = count(1)

    def trace(self) -> str:
        """The next fbtrace_id."""
        return f"ASIM{next(self._traces):010d}"

    def locate(self, call: Call) -> Place:
        """Node, edge and kind of a path; a node nobody knows gives kind "unknown"."""
        path = call.path
        if not path:
            return Place("batch", None, self._page_of_token(call.token))
        if path[0] == "oauth":
            return Place("oauth", None, None)
        if path[0] == "debug_token":
            return Place("debug_token", None, None)
        edge = path[1] if len(path) > 1 else ""
        node = self._me(call.token) if path[0] == "me" else self._node(path[0])
        kind = _KINDS.get((type(node), edge), "unknown")
        if isinstance(node, Lead):
            return Place(kind, node, node.form.page)
        if isinstance(node, Form):
            return Place(kind, node, node.page)
        return Place(kind, node, node if isinstance(node, Page) else self._page_of_token(call.token))

    def answer(self, call: Call) -> Answer | None:
        """The answer to one logical call; None is a null item of a batch. Raises nothing."""
        kind = "unknown"
        try:
            place = self.locate(call)
            kind = place.kind
            token = self.world.tokens.get(call.token)
            self.calls.made[place.kind, token.label if token else "none", place.page.tenant if place.page else ""] += 1
            if self.panel.on:
                target = self.target(call, place)
                if self.met(target, "null_item") is not None:
                    return None
                self.fail(target, call)
            usage = self._draw(place)
            answer = self._handle(call, place, token)
            answer.headers += usage
            if self.panel.on:
                self._show_usage(self.target(call, place), answer)
            return answer
        except GraphFault as fault:
            return self.refused(kind, fault)

    def refused(self, kind: str, fault: GraphFault) -> Answer:
        """The answer that a fault is, counted."""
        self.calls.faults[f"{kind}/{fault.word}"] += 1
        return fault.answer(self.trace())

    def met(self, target: Target, *does: Does) -> Button | None:
        """The button that meets this call, counted as a fault."""
        button = self.panel.acting(target, does) if self.panel.on else None
        if button is not None:
            self.calls.faults[f"{target.kind}/{button.does}"] += 1
        return button

    def target(self, call: Call, place: Place) -> Target:
        """What the buttons look at."""
        page = place.page
        lead = place.node.id if isinstance(place.node, Lead) else ""
        return Target(place.kind, call.token, page.id if page else "", page.tenant if page else "", lead)

    def check(self, call: Call, token: Token | None) -> Token:
        """The token, alive and with its proof; GraphFault otherwise."""
        if token is None:
            raise fault_of(190) if call.token else no_token()
        if call.trusted:
            return token
        if token.dead is not None:
            raise fault_of(*token.dead)
        if token.expires_at is not None and token.expires_at <= self.world.clock():
            raise fault_of(190, 463)
        self._check_proof(token, call.params.get("appsecret_proof"))
        return token

    def app_of(self, token: Token) -> App:
        """The app whose `id|secret` this token is; GraphFault otherwise."""
        if token.kind != "app":
            raise GraphFault(15, "(#15) This method must be called with an app access_token.")
        return self.world.apps[token.app_id]

    def may_read(self, token: Token, page: Page) -> bool:
        """Whether a token reaches a page: the page's own, or one of a person who manages it and gave it."""
        if token.kind == "page":
            return token.page_id == page.id
        user = self.world.users.get(token.user_id)
        return user is not None and page.id in self.world.pages_given(token.app_id, user)

    def _handle(self, call: Call, place: Place, token: Token | None) -> Answer:
        handler = self.routes.get((place.kind, call.method))
        if handler is None:
            if place.node is None and place.kind == "unknown" and not call.path[0].isdigit():
                raise no_such_alias(call.path[0])
            self.check(call, token)
            raise missing(call.path[0] if call.path else "")
        if place.kind == "oauth":
            # The client secret speaks here, not a token.
            return handler(self, call, place, _NOBODY)
        return handler(self, call, place, self.check(call, token))

    def fail(self, target: Target, call: Call) -> None:
        """Press the buttons that answer instead of us; raises GraphFault if one is pressed."""
        button = self.panel.acting(target, ("error", "throttle", "missing"))
        if button is None:
            return
        if button.does == "missing":
            raise missing(call.path[0] if call.path else "0")
        if button.does == "throttle":
            raise throttled(button.code if button.code in THROTTLES else 80005, target.page, button.minutes)
        raise fault_of(button.code or 190, button.subcode, status=button.status, message=button.message)

    def _draw(self, place: Place) -> tuple[tuple[str, str], ...]:
        """What a call costs its page's budgets, where they are counted: the usage headers, or GraphFault."""
        quota, page = self.panel.quota, place.page
        if not quota.on or page is None:
            return ()
        leads = sum(len(form.leads) - self.world.expired(form) for form in page.forms)
        return quota.draw(page.id, place.kind, leads, self.world.clock())

    def _show_usage(self, target: Target, answer: Answer) -> None:
        button = self.met(target, "usage")
        if button is not None:
            usage = page_usage(target.page, button.percent, button.minutes)
            headers = (("X-App-Usage", app_usage(button.percent)), ("X-Business-Use-Case-Usage", usage))
            answer.headers = (*answer.headers, *headers)

    def _check_proof(self, token: Token, proof: str | None) -> None:
        if proof is not None:
            # Compared as bytes: a stranger's proof need not be ASCII.
            if not hmac.compare_digest(proof.encode(), self.world.proof_of(token).encode()):
                raise bad_proof(given=True)
        elif token.kind != "app" and self.world.apps[token.app_id].requires_proof:
            # id|secret proves the secret already.
            raise bad_proof(given=False)

    def _node(self, name: str) -> Node | None:
        world = self.world
        lead = world.leads.get(name)
        if lead is not None:
            return lead if world.is_kept(lead) else None
        return world.forms.get(name) or world.pages.get(name) or world.users.get(name) or world.apps.get(name)

    def _me(self, value: str) -> Node | None:
        token = self.world.tokens.get(value)
        if token is None:
            raise (
                fault_of(190)
                if value
                else fault_of(
                    2500, message="An active access token must be used to query information about the current user."
                )
            )
        if token.kind == "page" and token.page_id is not None:
            return self.world.pages[token.page_id]
        return self.world.users.get(token.user_id)

    def _page_of_token(self, value: str) -> Page | None:
        token = self.world.tokens.get(value)
        return self.world.pages.get(token.page_id) if token is not None and token.page_id else None


def split_path(path: str) -> tuple[str, tuple[str, ...]]:
    """(version served, path without it). An unknown version is not refused: the default one answers."""
    parts = tuple(part for part in path.split("/") if part)
    if not parts:
        return DEFAULT_VERSION, ()
    match = _VERSION.fullmatch(parts[0])
    if match is None:
        return DEFAULT_VERSION, parts
    number = int(match[1])
    return (parts[0] if OLDEST <= number <= NEWEST else DEFAULT_VERSION), parts[1:]


def truthy(value: Any) -> bool:
    """Graph's booleans: 1, true; anything else is no."""
    return str(value).lower() in ("1", "true")
