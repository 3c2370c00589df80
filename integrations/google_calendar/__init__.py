"""Google Calendar: a calendar of the CRM's own in a user's account. This page only describes it; users import the client."""

from integrations.contract import Integration
from integrations.google_calendar.errors import ERRORS
from integrations.google_calendar.scopes import PERMISSIONS

GOOGLE_CALENDAR = Integration(
    name="google_calendar", title="Google Calendar", permissions=PERMISSIONS, errors=ERRORS, is_person=True
)
