"""The numbers a process counts by itself; what the ledger knows is counted from its rows when somebody asks."""

from prometheus_client import Counter

WEBHOOK_DELIVERIES = Counter("troth_webhook_deliveries", "Deliveries by what became of them", ["source", "outcome"])
WEBHOOK_CHANGES = Counter(
    "troth_webhook_changes", "Changes in accepted deliveries by what became of them", ["source", "outcome"]
)
