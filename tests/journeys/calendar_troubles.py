"""What befalls a worker's run over a calendar: failures of Google's, its own death, and what others do in the meantime."""

from typing import Any

from integrations.simulator.buttons import Does
from tests.journeys.histories import KILLED, LATE, LATER, WELL

FORGOTTEN, ENDED, EXPIRED = "calendar/fullSyncRequired", "google/invalid_grant", "calendar/authError"
BUTTONS: dict[str, tuple[Does, dict[str, Any]]] = {
    "calendar_batch/html_502": ("html_502", {"kind": "calendar_batch"}),
    "calendar_batch/cut": ("cut", {"kind": "calendar_batch"}),
    "calendar_batch/lost_answer": ("lost_answer", {"kind": "calendar_batch"}),
    "calendar/html_502": ("html_502", {"kind": "calendar"}),
    "calendar/lost_answer": ("lost_answer", {"kind": "calendar"}),
    "calendar/backendError": ("error", {"status": 503}),
    "calendar/userRateLimitExceeded": ("throttle", {"reason": "userRateLimitExceeded"}),
    "calendar/quotaExceeded": ("throttle", {"reason": "quotaExceeded"}),
    "calendar/rateLimitExceeded": ("throttle", {"status": 429, "seconds": 40}),
}
"""What Google's side does wrong, by the names under which the simulator counts it."""
MEANWHILE = ("wished", "wished away", "changed", "deleted", "told", "ended meanwhile")
"""What is done by somebody else while Google answers."""
READS = frozenset({FORGOTTEN, "calendar/html_502", "calendar/lost_answer"})
"""These need a run that reads; the others one that writes."""
WAYS = (WELL, LATER, LATER, KILLED, KILLED, ENDED, EXPIRED, FORGOTTEN, *sorted(READS), *BUTTONS)
"""How a run may go; what is likelier stands here more than once."""
BESIDE = (None, None, None, LATE, LATE, *MEANWHILE)
"""What may happen beside it."""
