"""Which fields each kind of node has, and how a `fields` parameter is read; knows no values."""

from dataclasses import dataclass
from functools import lru_cache

from integrations.simulator.meta_answers import no_such_field

LEAD = (
    "ad_id",
    "ad_name",
    "adset_id",
    "adset_name",
    "campaign_id",
    "campaign_name",
    "created_time",
    "custom_disclaimer_responses",
    "field_data",
    "form_id",
    "home_listing",
    "id",
    "is_organic",
    "partner_name",
    "platform",
    "post",
    "post_submission_check_result",
    "retailer_item_id",
    "vehicle",
)
FORM = (
    "allow_organic_lead",
    "block_display_for_non_targeted_viewer",
    "context_card",
    "created_time",
    "creator",
    "expired_leads_count",
    "follow_up_action_text",
    "follow_up_action_url",
    "id",
    "is_optimized_for_quality",
    "leads_count",
    "legal_content",
    "locale",
    "name",
    "organic_leads_count",
    "page",
    "page_id",
    "privacy_policy_url",
    "question_page_custom_headline",
    "questions",
    "status",
    "thank_you_page",
    "tracking_parameters",
)
PAGE = (
    "access_token",
    "app_id",
    "category",
    "has_added_app",
    "has_lead_access",
    "id",
    "is_published",
    "is_webhooks_subscribed",
    "link",
    "name",
    "tasks",
)
HAS_LEAD_ACCESS = (
    "app_has_leads_permission",
    "can_access_lead",
    "enabled_lead_access_manager",
    "failure_reason",
    "failure_resolution",
    "is_page_admin",
    "page_id",
    "user_has_leads_permission",
    "user_id",
)
QUESTION = ("id", "key", "label", "type", "options")
USER = ("id", "name")
APPLICATION = ("id", "name", "link", "category", "subscribed_fields")

AD_FIELDS = ("ad_id", "ad_name", "adset_id", "adset_name", "campaign_id", "campaign_name")

# node: (its name in errors, known fields, fields without asking)
NODES: dict[str, tuple[str, frozenset[str], tuple[str, ...]]] = {
    "lead": ("UserLeadGenInfo", frozenset(LEAD), ("created_time", "id", "field_data")),
    "form": ("LeadGenData", frozenset(FORM), ("id", "locale", "name", "status")),
    "page": ("Page", frozenset(PAGE), ("name", "id")),
    "account": ("Page", frozenset(PAGE), ("access_token", "category", "name", "id", "tasks")),
    "access": ("HasLeadAccess", frozenset(HAS_LEAD_ACCESS), tuple(HAS_LEAD_ACCESS)),
    "question": ("LeadGenQuestion", frozenset(QUESTION), ("id", "key", "label", "type", "options")),
    "user": ("User", frozenset(USER), ("name", "id")),
    "app": ("Application", frozenset(APPLICATION), ("category", "link", "name", "id", "subscribed_fields")),
}
_INNER = {"has_lead_access": "access", "questions": "question"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One asked-for field and, where the field holds nodes, the fields asked of those."""

    name: str
    inner: tuple["Wanted", ...] | None = None


@lru_cache(maxsize=1024)
def wanted(node: str, fields: str | None) -> tuple[Wanted, ...]:
    """Read `a,b{c,d}` for a kind of node; GraphFault (#100) names the first unknown field. id comes unasked."""
    title, known, usual = NODES[node]
    if not fields:
        return tuple(Wanted(name) for name in usual)
    found: dict[str, Wanted] = {}
    for name, inner in _split(fields):
        if name not in known:
            raise no_such_field(name, title)
        deeper = wanted(_INNER[name], inner) if inner is not None and name in _INNER else None
        found[name] = Wanted(name, deeper)
    if "id" in known:
        found.setdefault("id", Wanted("id"))
    return tuple(found.values())


def _split(fields: str) -> list[tuple[str, str | None]]:
    """Split at the commas that are outside of braces."""
    pieces: list[str] = [""]
    depth = 0
    for sign in fields:
        depth += (sign == "{") - (sign == "}")
        if sign == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    named = []
    for piece in pieces:
        name, brace, inner = piece.strip().partition("{")
        if name:
            named.append((name.strip(), inner.removesuffix("}") if brace else None))
    return named
