"""Puts a task an event into the peer's queue; the file named has the calendar and the events."""

import json
import sys
from pathlib import Path

from tests.benchmarks.peer.calendar import put_event

if __name__ == "__main__":
    orders = json.loads(Path(sys.argv[1]).read_text())
    for event in orders["events"]:
        put_event.apply_async((orders["calendar"], event))
