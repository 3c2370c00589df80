"""What is asked of a Google account, and why; it knows no account and what none of them granted.

The narrowest scope that does the work: an app with `calendar.app.created` makes calendars and sees those alone.
Source: https://developers.google.com/workspace/calendar/api/auth
"""

from integrations.contract import Permission

OPENID = "openid"
EMAIL = "https://www.googleapis.com/auth/userinfo.email"
CALENDAR = "https://www.googleapis.com/auth/calendar.app.created"

# Google grants `email` and answers with the long name, or the other way round: one scope, two spellings.
_ALIASES = {"email": EMAIL}

PERMISSIONS: tuple[Permission, ...] = (
    Permission(
        OPENID,
        "Know which Google account this is, so that connecting it again continues where it stopped",
        required=False,
    ),
    Permission(EMAIL, "See the e-mail address of the account, to show you which account is connected", required=False),
    Permission(
        CALENDAR,
        "Make a calendar of its own in the account, and see, add, change and delete events on it, so that appointments"
        " of the CRM appear there; calendars that the account already has cannot be seen or changed",
    ),
)


def granted(scope: str | None) -> tuple[str, ...]:
    """The scopes of a token answer's `scope`, each once and in its full spelling; none where the answer told none."""
    return tuple(dict.fromkeys(_ALIASES.get(one, one) for one in (scope or "").split()))
