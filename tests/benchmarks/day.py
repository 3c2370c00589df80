"""`day`: what looking after 5,000 idle pages costs in 24 hours: checks, subscriptions, lists of forms, catch-ups, counts.

A true sample is lived through minute by minute, and its CPU multiplied. What the house does by itself, whatever the number
of pages (ticks, a sweep that finds nothing, a look of the reconciler), is measured before, and is not multiplied. The
leads themselves are told, not counted: they came through webhooks, and `burst` measures them.
"""

from collections.abc import Iterator

from tests.benchmarks.dialogue import Dialogue
from tests.benchmarks.figures import Figure, progress, told, within
from tests.benchmarks.processes import Meter
from tests.benchmarks.stage import stage
from worker import jobs

PAGES, SAMPLE = 5_000, 125
"""Of a thousand tenants with 20,000 forms; the sample has 25 tenants and 500 forms."""
SCALE = PAGES // SAMPLE
MOST_SECONDS = 0.02 * 24 * 3600
"""Two percent of one core."""
LOOKS_A_DAY = 24 * 3600 // 2
FLOOR = 200
"""Calls that a page without leads may make in a day."""
ONCE = {"tick", jobs.CANARY}
"""Whatever the number of pages."""
BY_ITSELF = {"look", jobs.CONNECTIONS_SWEEP}
"""These also run when nothing is due, and then cost what they cost in the quiet time."""
NOT_COUNTED = {jobs.LEADS_FETCH}


def run() -> Iterator[Figure]:
    """One day, on PostgreSQL."""
    with stage() as here:
        orders = {"database_url": here.database_url("postgresql", "day"), "redis_url": here.valkey.url, "pages": SAMPLE}
        house = Dialogue(here.processes, "day", "tests.benchmarks.day_house", orders)
        progress(f"{SAMPLE} pages are connected and their forms known; the day begins")
        meter = Meter(here.servers("postgresql"))
        house.go()
        result = house.result()
        servers = SCALE * sum(meter.read().values())
    if result["failed"]:
        raise RuntimeError(f"jobs failed: {sorted(set(result['failed']))}")
    quiet = {kind: seconds / times for kind, (times, seconds) in result["quiet"].items()}
    total = 0.0
    for kind, (times, seconds) in sorted(result["day"].items()):
        by_itself = seconds if kind in ONCE else times * quiet[kind] if kind in BY_ITSELF else 0.0
        scaled = SCALE * max(seconds - by_itself, 0.0) + by_itself
        total += 0.0 if kind in NOT_COUNTED else scaled
        progress(f"{kind}: {times} times, {1000 * seconds / times:.2f} ms each, {scaled:.0f} s for {PAGES} pages")
    progress(f"requests to Meta: {result['calls']}")
    name = f"of_{PAGES}_pages_by_{SAMPLE}_times_{SCALE}"
    yield within("day", f"cpu_seconds_{name}", total, MOST_SECONDS)
    yield told("day", f"cpu_seconds_of_database_and_redis_{name}", servers)
    looks = LOOKS_A_DAY * quiet["look"]
    yield told("day", "cpu_seconds_of_the_reconcilers_looks_when_nothing_is_due", looks)
    yield within("day", "most_percent_of_a_pages_leadgen_budget", result["percent"], 100)
    yield within("day", "most_calls_of_a_page_without_leads", result["idle_calls"], FLOOR)
    yield within("day", "calls_refused_for_their_number", result["refused"], 0)
