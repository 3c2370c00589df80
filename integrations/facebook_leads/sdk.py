"""Meta's own SDK on our connections: field names, versions and object calls; it keeps no token and no default api.

The SDK touches `session.GRAPH`, `session.timeout` and `session.requests.request()`, so a session of ours stands in
for its own. That mends what it gets wrong: no time-out, an HTML error page taken for success, a crash on a body of
`true`, tokens in URLs. Never call FacebookAdsApi.init(): it sets one api for the whole process (the last tenant wins)
and replaces sys.excepthook to report crashes to Meta.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from facebook_business.adobjects.lead import Lead  # type: ignore[import-untyped]
from facebook_business.api import FacebookAdsApi  # type: ignore[import-untyped]
from facebook_business.exceptions import FacebookError  # type: ignore[import-untyped]

from integrations.errors import IntegrationError, OurBug, Transient
from integrations.facebook_leads.errors import classify
from integrations.http import Http, Reply

API_VERSION: str = FacebookAdsApi.API_VERSION

# The code of a Transient for an answer of {"success": false}: understood, and not done.
NOT_DONE = "not_done"

# Asked for by name: Meta's default is three fields, and consent answers come only when named. Ad fields are absent,
# without an error, where the connected person has no rights on the ad account.
LEAD_FIELDS: tuple[str, ...] = (
    Lead.Field.id,
    Lead.Field.created_time,
    Lead.Field.form_id,
    Lead.Field.field_data,
    Lead.Field.custom_disclaimer_responses,
    Lead.Field.platform,
    Lead.Field.is_organic,
    Lead.Field.ad_id,
    Lead.Field.ad_name,
    Lead.Field.adset_id,
    Lead.Field.adset_name,
    Lead.Field.campaign_id,
    Lead.Field.campaign_name,
    Lead.Field.partner_name,
    Lead.Field.retailer_item_id,
)


def ads_api(http: Http, *, base_url: str, version: str, token: str, proof: str) -> FacebookAdsApi:
    """An SDK api for one token. Make one for each tenant and task: it costs nothing and shares our connections.

    Its calls raise IntegrationError. Batches are not for it (see `batch`): an answer that is a list is Transient.
    """
    return FacebookAdsApi(_Session(base_url, _Requests(http, base_url, token, proof)), api_version=version)


def ask(api: FacebookAdsApi, method: str, *path: str, **params: Any) -> dict[str, Any]:
    """One call through the SDK, for edges that it has no object for; raises IntegrationError and nothing of its own."""
    with suppress(FacebookError):
        answer = api.call(method, path, params=params).json()
        if isinstance(answer, dict):
            return answer
    raise Transient("Facebook answered without saying what we asked.", code="shape")


class _Session:
    """What FacebookAdsApi takes for a FacebookSession."""

    timeout = None  # Http has its own

    def __init__(self, base_url: str, requests: "_Requests") -> None:
        self.GRAPH = base_url
        self.requests = requests


@dataclass(frozen=True, slots=True)
class _Answer:
    """What FacebookAdsApi takes for a response of requests."""

    status_code: int
    headers: Mapping[str, str]
    text: str


class _Requests:
    """What FacebookAdsApi takes for a session of requests."""

    def __init__(self, http: Http, base_url: str, token: str, proof: str) -> None:
        self._http = http
        self._base = base_url + "/"
        self._token = token
        self._proof = proof

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        timeout: object = None,
    ) -> _Answer:
        if files:
            raise OurBug("Files are not sent through the SDK.", code="request")
        if not url.startswith(self._base):
            # The SDK accepts a full address for a path, and the token would go there.
            raise OurBug("The SDK was pointed away from the Graph.", code="request")
        sent = {name: str(value) for name, value in (data or params or {}).items()}
        sent["appsecret_proof"] = self._proof
        in_url = method in ("GET", "DELETE")
        reply = self._http.request(
            method,
            url,
            params=sent if in_url else None,
            form=None if in_url else sent,
            headers=headers,
            bearer=self._token,
        )
        return _Answer(reply.status, reply.headers, _checked(reply))


def _checked(reply: Reply) -> str:
    """The text to hand to the SDK; raises what the SDK would miss, or would report with the parameters in its text."""
    body = body_of(reply)
    if body is True:  # the whole answer to a revoked permission
        return '{"success":true}'
    if not isinstance(body, dict):
        raise Transient("Facebook answered without saying what we asked.", code=f"http_{reply.status}")
    if body.get("success") is False:
        raise Transient("Facebook did not do what we asked, and did not say why.", code=NOT_DONE)
    return reply.content.decode()


def body_of(reply: Reply) -> Any:
    """The JSON of a good answer; raises the classified error of any other."""
    failure: IntegrationError | None = None
    body: Any = None
    try:
        body = reply.json()
    except Transient:
        failure = classify(reply.status, None, reply.headers)
    error = body.get("error") if isinstance(body, dict) else None
    if error is not None or not 200 <= reply.status < 300:
        failure = classify(reply.status, error if isinstance(error, dict) else None, reply.headers)
    if failure is not None:
        raise failure
    return body
