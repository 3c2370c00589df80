"""Facebook Lead Ads: webhook in, leads out. This page only describes it; clients and parsers are imported by users."""

from integrations.contract import Integration
from integrations.facebook_leads.errors import ERRORS
from integrations.facebook_leads.webhook import read, verify

FACEBOOK_LEADS = Integration(
    name="facebook_leads",
    title="Facebook Lead Ads",
    # https://developers.facebook.com/documentation/ads-commerce/marketing-api/guides/lead-ads/retrieving
    # business_management: without it Pages owned through a Business Manager are not listed.
    scopes=(
        "leads_retrieval",
        "pages_show_list",
        "pages_read_engagement",
        "pages_manage_metadata",
        "pages_manage_ads",
        "ads_management",
        "business_management",
    ),
    verify=verify,
    read=read,
    errors=ERRORS,
)
