"""What a database's sessions are doing, as it tells itself."""

from __future__ import annotations

from sqlalchemy import Engine, text

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND application_name = coalesce(:application_name, application_name)"
)


def sessions_waiting(engine: Engine, application_name: str | None = None) -> int:
    """How many wait for another's lock: all, or those of one name."""
    with engine.connect() as connection:
        return int(connection.execute(text(WAITING), {"application_name": application_name}).scalar_one())
