"""What befalls a worker's run over a page's leads: failures of Meta's, its own death, and what others do in the meantime."""

from typing import Any

from integrations.simulator.buttons import Does
from tests.journeys.histories import KILLED, LATE, LATER, WELL

BUTTONS: dict[str, tuple[Does, dict[str, Any]]] = {
    "batch/html_502": ("html_502", {"kind": "batch"}),
    "batch/cut": ("cut", {"kind": "batch"}),
    "batch/lost_answer": ("lost_answer", {"kind": "batch"}),
    "batch/2": ("error", {"kind": "batch", "code": 2}),
    "batch/80005": ("throttle", {"kind": "batch", "code": 80005, "minutes": 7}),
    "lead/2": ("error", {"kind": "lead", "code": 2}),
    "lead/4": ("throttle", {"kind": "lead", "code": 4, "minutes": 2}),
    "lead/null_item": ("null_item", {"kind": "lead"}),
    "lead/100/33": ("missing", {"kind": "lead"}),
    "leadgen_forms/html_502": ("html_502", {"kind": "leadgen_forms"}),
    "form_leads/html_502": ("html_502", {"kind": "form_leads"}),
    "form_leads/cut": ("cut", {"kind": "form_leads"}),
    "form_leads/1": ("error", {"kind": "form_leads", "code": 1}),
    "form_leads/80005": ("throttle", {"kind": "form_leads", "code": 80005, "minutes": 7}),
    "form_leads/usage": ("usage", {"kind": "form_leads", "percent": 85, "minutes": 11}),
    "form_leads/no_cursors": ("no_cursors", {"kind": "form_leads"}),
    "form_leads/100/33": ("missing", {"kind": "form_leads"}),
}
"""What Meta's side does wrong, by the names under which the simulator counts it."""
ENDS = {"190/460": (190, 460), "190/458": (190, 458), "190": (190, None), "10": (10, None)}
"""How Meta refuses a token for good."""
WITHHELD, LOST_MESSAGE = "leads withheld", "message lost"
NOT_SHOWN = frozenset({"lead/100/33", "form_leads/100/33"})
"""What Meta says then, and of what it only does not show yet."""
MEANWHILE = ("told", "made", "connected again", "ended meanwhile", "form deleted")
"""What is done by somebody else while Meta answers."""
READS = frozenset(way for way in BUTTONS if way.startswith(("form_leads", "leadgen_forms")))
"""These need a run that reads forms; the others one that fetches what was told."""
WAYS = (WELL, LATER, LATER, KILLED, KILLED, LOST_MESSAGE, WITHHELD, WITHHELD, *ENDS, *BUTTONS)
"""How a run may go; what is likelier stands here more than once."""
BESIDE = (None, None, None, LATE, *MEANWHILE)
"""What may happen beside it."""
