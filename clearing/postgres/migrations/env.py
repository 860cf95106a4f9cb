"""How Alembic runs the migrations: on the connection that ``clearing.postgres.migration`` opened and locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script

from clearing.postgres.tables import metadata


def report(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    """Tell the caller about a migration that has been run; the names of the parameters are Alembic's."""
    progress = context.config.attributes["progress"]
    if progress is not None and isinstance(step.up_revision, Script):
        progress(f"The database's tables are of version {step.up_revision.revision} now: {step.up_revision.doc}")


context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, on_version_apply=report)
context.run_migrations()
