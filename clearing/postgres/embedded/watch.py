"""Starts an embedded server again that has crashed or was killed under the process that uses it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from clearing.postgres.embedded.server import EmbeddedPostgres, EmbeddedPostgresError
from clearing.runtime.telling import telling

logger = structlog.get_logger()

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the server is there."""

RETRY_SECONDS: Final = 5.0
"""How long after a vain attempt the next one is made."""


@contextmanager
def kept_running(server: EmbeddedPostgres) -> Iterator[None]:
    """Within the block the server is started again, by a thread, whenever it is gone.

    Of several processes that use the server, one starts it; for the others it is there again.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(server, ended), name="embedded database", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(server: EmbeddedPostgres, ended: threading.Event) -> None:
    while not ended.wait(LOOK_SECONDS):
        try:
            if not server.is_listening() and server.start_again():
                with telling("the embedded database"):
                    logger.warning("embedded_database_restarted", log=str(server.log_path))
        except (EmbeddedPostgresError, OSError) as error:  # OSError: no room for another open file, for a while
            with telling("the embedded database"):
                logger.error("embedded_database_not_restarted", error=str(error))
            ended.wait(RETRY_SECONDS)
