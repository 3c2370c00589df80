"""Facebook Lead Ads: webhook in, leads out. This page only describes it; clients and parsers are imported by users."""

from integrations.contract import Integration
from integrations.facebook_leads.errors import ERRORS
from integrations.facebook_leads.permissions import PERMISSIONS
from integrations.facebook_leads.webhook import read, verify

FACEBOOK_LEADS = Integration(
    name="facebook_leads", title="Facebook Lead Ads", permissions=PERMISSIONS, verify=verify, read=read, errors=ERRORS
)
