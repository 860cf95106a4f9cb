"""Storage of the ledger and the log: PostgreSQL, embedded by default."""
