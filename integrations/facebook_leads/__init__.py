"""Facebook Lead Ads: webhook in, leads out. This page only describes it; clients and parsers are imported by users."""

from integrations.contract import Integration, Permission
from integrations.facebook_leads.errors import ERRORS
from integrations.facebook_leads.webhook import read, verify

FACEBOOK_LEADS = Integration(
    name="facebook_leads",
    title="Facebook Lead Ads",
    # https://developers.facebook.com/documentation/ads-commerce/marketing-api/guides/lead-ads/retrieving
    # business_management: without it Pages owned through a Business Manager are not listed.
    permissions=(
        Permission("leads_retrieval", "leads_retrieval"),
        Permission("pages_show_list", "pages_show_list"),
        Permission("pages_read_engagement", "pages_read_engagement"),
        Permission("pages_manage_metadata", "pages_manage_metadata"),
        Permission("pages_manage_ads", "pages_manage_ads"),
        Permission("ads_management", "ads_management"),
        Permission("business_management", "business_management"),
    ),
    verify=verify,
    read=read,
    errors=ERRORS,
)
