"""What stands between a Page and its leads, as an error with cause and fix; it judges facts and asks nobody."""

from collections.abc import Collection

from integrations.errors import NeedsUser
from integrations.facebook_leads.page_facts import PageAccess
from integrations.facebook_leads.permissions import PERMISSIONS
from integrations.facebook_leads.token_info import TokenInfo

LEADS = "leads_retrieval"
SUBSCRIBE = "pages_manage_metadata"
LIST_PAGES = "pages_show_list"

_AGAIN = "Someone with the Page's advertising task opens a new connect link and leaves"
_EVERY_BOX = f"{_AGAIN} the Page and every permission ticked."
_ASSIGN = "In Meta Business settings, under Leads access of this Page, someone with full control assigns"
_GIVE_TASK = (
    "In the Page's settings, under Page access, someone with full control gives that person the advertising task, "
    "then that person opens a new connect link."
)


def dead_token(info: TokenInfo) -> NeedsUser:
    """Why a token is not alive: as Meta's code says, or that it is so."""
    if isinstance(info.error, NeedsUser):
        return info.error
    if info.is_valid:
        return NeedsUser("The access given to this Page has expired.", code="190/463", fix=_EVERY_BOX)
    return NeedsUser("Facebook no longer accepts the access given to this Page.", code="190", fix=_EVERY_BOX)


def other_app() -> NeedsUser:
    """An imported token, most often: Meta does not show one app's tokens to another."""
    return NeedsUser("The access given to this Page was given to another Meta app.", code="other_app", fix=_EVERY_BOX)


def no_pages() -> NeedsUser:
    """The person allowed access, and gave nothing to access."""
    return NeedsUser(
        "Facebook gave no Page: none was ticked, or the person who connected manages none.",
        code="no_pages",
        fix="Open the connect link again and tick the Page, as someone who manages it and has its advertising task.",
    )


def not_shown() -> NeedsUser:
    """A living token of a Page that Meta acts as if it did not know."""
    return NeedsUser(
        "Facebook no longer shows this Page: it was removed, or the person who connected it lost access to it.",
        code="page_hidden",
        fix=_GIVE_TASK,
    )


def no_token() -> NeedsUser:
    """Nothing is there to speak to the Page with."""
    return NeedsUser("Facebook gave no access token for this Page.", code="token_missing", fix=_EVERY_BOX)


def missing_task(tasks: Collection[str] | None) -> NeedsUser | None:
    """Reading leads takes the task ADVERTISE on the Page; None for `tasks` means that Meta did not tell them."""
    if tasks is None or "ADVERTISE" in tasks:
        return None
    return NeedsUser(
        "The person who connected this Page does not have its advertising task, so its leads cannot be read.",
        code="task_missing",
        fix=_GIVE_TASK,
    )


def missing_scope(granted: Collection[str], *, only: str | None = None) -> NeedsUser | None:
    """Names every required permission that was left out; None if there is none. With `only`: if that one was."""
    left_out = [one for one in PERMISSIONS if one.required and one.scope not in granted]
    if not left_out or (only is not None and only not in {one.scope for one in left_out}):
        return None
    named = "; ".join(f"{one.scope} ({one.words[0].lower()}{one.words[1:]})" for one in left_out)
    many = "These permissions were" if len(left_out) > 1 else "This permission was"
    return NeedsUser(f"{many} not given: {named}.", code="scope_missing", fix=_EVERY_BOX)


def no_lead_access(access: PageAccess) -> NeedsUser:
    """Why leads may not be read, made from Meta's flags: its own prose is neither ours nor always safe to show."""
    app, user = access.app_has_leads_permission is False, access.user_has_leads_permission is False
    if access.enabled_lead_access_manager:
        who = " and ".join(["this app"] * app + ["the person who connected the Page"] * user) or "this app or its user"
        return _no_access(f"The Page's Leads Access Manager is on and leaves {who} out.", f"{_ASSIGN} {who}.")
    if user and access.is_page_admin is False:
        return _no_access(
            "The person who connected the Page does not manage it and may not read its leads.", _GIVE_TASK
        )
    if user:
        return _no_access("The person who connected the Page may not read its leads.", _GIVE_TASK)
    if app:
        return _no_access("This app was not allowed to read the Page's leads.", _EVERY_BOX)
    return _no_access("Facebook does not let this app read the Page's leads.", f"{_ASSIGN} this app and its user.")


def _no_access(sentence: str, fix: str) -> NeedsUser:
    return NeedsUser(sentence, code="lead_access", fix=fix)
