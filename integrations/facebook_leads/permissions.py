"""What is asked of the person who connects a Page, in words for that person; it knows no dialog and no token."""

from integrations.contract import Permission

# https://developers.facebook.com/documentation/ads-commerce/marketing-api/guides/lead-ads/retrieving
PERMISSIONS = (
    Permission("leads_retrieval", "Read the leads that people send through your Pages' forms"),
    Permission("pages_show_list", "See the list of your Pages, so that you can choose which ones to connect"),
    Permission("pages_read_engagement", "See your Pages' lead forms and their questions, so that answers can be named"),
    Permission(
        "pages_manage_metadata", "Be told at once when a lead arrives, so that it need not wait for the next look"
    ),
    Permission("pages_manage_ads", "Reach the lead forms of your ads; Troth changes no ad and spends nothing"),
    # Left out, the names of ad and campaign are absent from a lead; the lead itself comes all the same.
    Permission("ads_management", "See which ad and campaign a lead came from; Troth changes no ad", required=False),
    # Left out, Pages owned through a Business Manager are not listed.
    Permission("business_management", "See the Pages that your business owns, not only your own", required=False),
)
