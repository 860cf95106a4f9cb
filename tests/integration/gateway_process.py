"""A gateway in a process of its own, to be killed: ``python -m tests.integration.gateway_process URL SEED_HEX``.

Prints its address once it serves. The log's name is the test alliance's.
"""

from __future__ import annotations

import sys
import time

from clearing.cli.assembly import Gateway
from clearing.log.note import Signer
from clearing.store.database import open_engine
from clearing.store.writer_lock import WriterLockHeldError
from tests.integration.alliance import ORIGIN


def main() -> None:
    """Serve until killed."""
    url, seed = sys.argv[1:]
    engine = open_engine(url)
    deadline = time.monotonic() + 10
    while True:
        try:
            with Gateway(engine, Signer(ORIGIN, bytes.fromhex(seed)), "127.0.0.1:0") as gateway:
                print(gateway.server.address, flush=True)
                time.sleep(600)
                return
        except WriterLockHeldError:
            # The database has not noticed yet that the one before is gone.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


if __name__ == "__main__":
    main()
