"""The database that the settings name, for the two commands that touch it: ``init`` and ``gateway``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import sqlalchemy

from clearing.cli.home import home_of
from clearing.settings import Settings
from clearing.store import embedded
from clearing.store.database import open_engine
from clearing.store.migration import migrate

EMBEDDED_DATABASE = "clearing"


@contextmanager
def migrated_database(settings: Settings, application_name: str) -> Iterator[sqlalchemy.Engine]:
    """The database, its tables brought up to date; an embedded server is given back at the end.

    Raises what ``embedded.start``, ``open_engine`` and ``migrate`` raise.
    """
    with ExitStack() as until_done:
        if settings.database_url is not None:
            url = settings.database_url.get_secret_value()
        else:
            server = until_done.enter_context(embedded.start(home_of(settings).postgres))
            url = server.create_database(EMBEDDED_DATABASE)
        engine = open_engine(url, application_name=application_name)
        until_done.callback(engine.dispose)
        migrate(engine)
        yield engine
