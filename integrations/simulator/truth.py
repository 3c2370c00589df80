"""What a correct reader must have stored of a simulated lead; knows how the lead was made, not how it is read."""

from typing import Any

from integrations.simulator.people import UNREADABLE_PHONE
from integrations.simulator.records import Lead


def truth_of(lead: Lead) -> dict[str, Any]:
    """Normalised content: names as in our REST contract; instants aware, telephone E.164 or None."""
    labels = {question.key: question.label for question in lead.form.questions}
    return {
        "external_id": lead.id,
        "page_id": lead.form.page.id,
        "form_id": lead.form.id,
        "tenant": lead.form.page.tenant,
        "created_at": lead.created_at,
        "platform": lead.platform,
        "is_organic": lead.is_organic,
        "is_test": lead.is_test,
        "contact": _contact(lead),
        "answers": [
            {"key": item["name"], "label": labels.get(item["name"]), "values": list(item["values"])}
            for item in lead.field_data
        ],
        "consents": [
            {"key": item["checkbox_key"], "is_checked": item["is_checked"] == "1"} for item in lead.disclaimers
        ],
        "ad": dict(lead.ad),
    }


def _contact(lead: Lead) -> dict[str, str | None]:
    """Only what the form asked for; a form may ask for the name in two halves."""
    meanings = {question.key: question.meaning() for question in lead.form.questions}
    said = {meanings.get(item["name"], item["name"]): item["values"][0] for item in lead.field_data if item["values"]}
    name = said.get("full_name")
    if name is None and ("first_name" in said or "last_name" in said):
        name = " ".join(said[half] for half in ("first_name", "last_name") if half in said)
    raw = said.get("phone")
    return {"full_name": name, "email": said.get("email"), "phone": _phone(lead, raw), "phone_raw": raw}


def _phone(lead: Lead, raw: str | None) -> str | None:
    if raw is None or raw == UNREADABLE_PHONE or lead.person is None:
        return None
    return lead.person.phone
