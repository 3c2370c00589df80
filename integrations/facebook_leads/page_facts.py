"""What Meta says of one Page: who may read its leads, and whether it tells us of them; read here, not judged.

Sources: https://developers.facebook.com/docs/graph-api/reference/has-lead-access and
https://developers.facebook.com/docs/graph-api/reference/page/subscribed_apps
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facebook_business.adobjects.hasleadaccess import HasLeadAccess  # type: ignore[import-untyped]
from facebook_business.adobjects.page import Page  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, Transient
from integrations.facebook_leads.scalars import read_flag, read_text
from integrations.facebook_leads.token_info import TokenInfo


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Whether leads of a Page may be read, and if not, Meta's own reason. None: Meta did not say."""

    can_access_lead: bool | None
    app_has_leads_permission: bool | None
    user_has_leads_permission: bool | None
    enabled_lead_access_manager: bool | None
    is_page_admin: bool | None
    failure_reason: str | None
    failure_resolution: str | None


@dataclass(frozen=True, slots=True)
class PageFacts:
    """The answers of one look at a Page, each of which may have failed alone. `fields`: what it tells our app of."""

    token: TokenInfo | IntegrationError
    access: PageAccess | IntegrationError
    fields: tuple[str, ...] | IntegrationError


def read_page_access(page: Mapping[str, Any] | None) -> PageAccess | IntegrationError:
    """From a Page that was asked for `has_lead_access`; Transient where it is not in it."""
    access = page.get(Page.Field.has_lead_access) if page is not None else None
    if not isinstance(access, Mapping):
        return Transient("Facebook did not say who may read this Page's leads.", code="shape")
    names = HasLeadAccess.Field
    return PageAccess(
        can_access_lead=read_flag(access.get(names.can_access_lead)),
        app_has_leads_permission=read_flag(access.get(names.app_has_leads_permission)),
        user_has_leads_permission=read_flag(access.get(names.user_has_leads_permission)),
        enabled_lead_access_manager=read_flag(access.get(names.enabled_lead_access_manager)),
        is_page_admin=read_flag(access.get(names.is_page_admin)),
        failure_reason=read_text(access.get(names.failure_reason)),
        failure_resolution=read_text(access.get(names.failure_resolution)),
    )


def read_subscription(answer: Mapping[str, Any], app_id: str) -> tuple[str, ...] | IntegrationError:
    """The fields of our app among a Page's apps: () where it is not one of them."""
    apps = answer.get("data")
    if not isinstance(apps, list):
        return Transient("Facebook did not say which apps this Page tells of its leads.", code="shape")
    ours = (app for app in apps if isinstance(app, dict) and read_text(app.get("id")) == app_id)
    fields = next((app.get("subscribed_fields") for app in ours), None)
    return tuple(one for one in fields if isinstance(one, str)) if isinstance(fields, list) else ()
