"""The database that the settings name, for the two commands that touch it: ``init`` and ``gateway``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy

from back_office.client.home import home_of
from clearing.postgres.database import open_engine
from clearing.postgres.embedded import server as embedded
from clearing.postgres.embedded.watch import kept_running
from clearing.postgres.migration import migrate
from clearing.runtime.settings import Settings

EMBEDDED_DATABASE = "clearing"


@contextmanager
def migrated_database(settings: Settings, application_name: str) -> Iterator[sqlalchemy.Engine]:
    """The database, its tables brought up to date; an embedded server is given back at the end.

    Raises what ``opened_database`` and ``migrate`` raise.
    """
    with opened_database(settings, application_name) as engine:
        migrate(engine)
        yield engine


@contextmanager
def opened_database(
    settings: Settings, application_name: str, *, keep_running: bool = False
) -> Iterator[sqlalchemy.Engine]:
    """The database with the tables that it has, perhaps of an older version, or none.

    An embedded server is given back at the end; with ``keep_running`` one that crashes within the block is started
    again. Raises what ``embedded.start`` and ``open_engine`` raise.
    """
    with ExitStack() as until_done:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        else:
            server = until_done.enter_context(embedded.start(home_of(settings).postgres))
            if keep_running:
                until_done.enter_context(kept_running(server))
            url = server.create_database(EMBEDDED_DATABASE)
        engine = open_engine(url, application_name=application_name)
        until_done.callback(engine.dispose)
        yield engine
