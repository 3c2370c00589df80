"""Setting retention rules and counting for them, as the API and the pages both do it: in the caller's transaction."""

from datetime import datetime

from models.decision import NotNow, SamePerson
from models.idleness import Found, survey
from models.retention import RetentionRule, Terms, rule_named, set_rule
from models.tenant import Tenant
from worker.web.problems import Problem, not_found
from worker.work import Work


def put_rule(
    work: Work, tenant_id: str, name: str, terms: Terms, *, is_armed: bool, who: bytes, now: datetime
) -> RetentionRule:
    """As `models.retention.set_rule`. A problem when its state does not allow it, or when who set it would arm it."""
    tenant = work.session.get_one(Tenant, tenant_id)
    try:
        return set_rule(work.session, tenant, name, terms, is_armed=is_armed, who=who, now=now)
    except SamePerson as error:
        raise Problem("second-person-needed", str(error)) from None
    except NotNow as error:
        raise Problem("wrong-state", str(error)) from None


def dry_run(work: Work, name: str, now: datetime) -> Found:
    """Count what a rule would take, and note the number on it; nothing else is changed."""
    row = rule_named(work.session, name)
    if row is None:
        raise not_found()
    found = survey(work.session, row, now)
    row.counted, row.counted_at = found.leads, now
    work.session.flush()
    return found
