"""The table of Graph's calls: (kind, method) -> who answers; knows nothing else."""

from collections.abc import Mapping

from integrations.simulator import meta_edges, meta_nodes, meta_oauth, meta_subscriptions
from integrations.simulator.meta import Handler

ROUTES: Mapping[tuple[str, str], Handler] = {
    ("lead", "GET"): meta_nodes.get_lead,
    ("lead", "DELETE"): meta_nodes.delete_lead,
    ("form", "GET"): meta_nodes.get_form,
    ("page", "GET"): meta_nodes.get_page,
    ("user", "GET"): meta_nodes.get_user,
    ("app", "GET"): meta_nodes.get_app,
    ("form_leads", "GET"): meta_edges.list_leads,
    ("test_leads", "GET"): meta_edges.list_test_leads,
    ("test_leads", "POST"): meta_edges.create_test_lead,
    ("test_leads", "DELETE"): meta_edges.delete_test_leads,
    ("leadgen_forms", "GET"): meta_edges.list_forms,
    ("accounts", "GET"): meta_edges.list_accounts,
    ("subscribed_apps", "GET"): meta_subscriptions.list_apps,
    ("subscribed_apps", "POST"): meta_subscriptions.subscribe_app,
    ("subscribed_apps", "DELETE"): meta_subscriptions.unsubscribe_app,
    ("subscriptions", "GET"): meta_subscriptions.list_subscriptions,
    ("subscriptions", "DELETE"): meta_subscriptions.delete_subscriptions,
    ("oauth", "GET"): meta_oauth.exchange,
    ("oauth", "POST"): meta_oauth.exchange,
    ("debug_token", "GET"): meta_oauth.debug_token,
    ("permissions", "GET"): meta_oauth.list_permissions,
    ("permissions", "DELETE"): meta_oauth.revoke,
}
