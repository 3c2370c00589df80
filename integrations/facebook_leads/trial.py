"""Makes and removes a form's test lead, to see the whole way work; it knows no real lead and removes none.

Source: https://developers.facebook.com/docs/marketing-api/guides/lead-ads/testing-troubleshooting
"""

from typing import Any

from integrations.errors import Missing, OurBug, Transient
from integrations.facebook_leads.graph import Graph, require_id
from integrations.facebook_leads.lead import DASHBOARD_LEAD, parse
from integrations.facebook_leads.paging import listed
from integrations.facebook_leads.scalars import read_id
from integrations.facebook_leads.sdk import ask

_NO_FORM = "A form's id is digits."


class Trials:
    """Test leads. Meta tells of them as of any other, and allows one for each form."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def create_test_lead(self, token: str, form_id: str) -> str:
        """A new test lead's id. One that is there already makes place for it."""
        require_id(form_id, _NO_FORM)
        try:
            return self._create(token, form_id)
        except OurBug as error:
            refused = error
        # Meta's code for "there is one already" is its code for any wrong parameter, so we look.
        there = self.test_leads(token, form_id)
        if not there:
            raise refused
        for lead_id in there:
            self._delete(token, lead_id)
        return self._create(token, form_id)

    def test_leads(self, token: str, form_id: str) -> list[str]:
        """The ids of the form's test leads: none or one."""
        require_id(form_id, _NO_FORM)
        answer, _ = self._graph.get(token, f"{form_id}/test_leads", {"fields": "id"})
        return [found for one in listed(answer) if isinstance(one, dict) and (found := read_id(one.get("id")))]

    def delete_lead(self, token: str, lead_id: str) -> None:
        """Removes a test lead at Meta; OurBug for a real one, which is asked for first. What is gone is Missing."""
        require_id(lead_id, "A lead's id is digits.")
        if lead_id == DASHBOARD_LEAD:
            raise OurBug("The dashboard's example is no lead: there is nothing to remove.", code="request")
        lead, _ = self._graph.get(token, lead_id, {"fields": "id,field_data"})
        if not parse(lead).is_test:
            raise OurBug("Only test leads are removed at Facebook.", code="request")
        self._call(token, "DELETE", lead_id)

    def _create(self, token: str, form_id: str) -> str:
        lead_id = read_id(self._call(token, "POST", form_id, "test_leads").get("id"))
        if not lead_id:
            raise Transient("Facebook did not say which test lead it made.", code="shape")
        return lead_id

    def _delete(self, token: str, lead_id: str) -> None:
        try:
            self._call(token, "DELETE", lead_id)
        except Missing:
            pass  # somebody was faster; if not, the next call says so

    def _call(self, token: str, method: str, *path: str) -> dict[str, Any]:
        return ask(self._graph.api(token), method, *path)
