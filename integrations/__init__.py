"""How to talk to the outside; knows no Celery, Redis, environment or clock. Here: the one list of integrations."""

from integrations.contract import Integration
from integrations.facebook_leads import FACEBOOK_LEADS
from integrations.google_calendar import GOOGLE_CALENDAR

INTEGRATIONS: tuple[Integration, ...] = (FACEBOOK_LEADS, GOOGLE_CALENDAR)
