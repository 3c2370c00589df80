"""The plain peer: what a good engineer writes in an afternoon. One task and one Graph call per lead, autocommit, no ledger."""
