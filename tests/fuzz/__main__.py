"""``python -m tests.fuzz [--inputs N] [--seed N]``: the long run, on an embedded PostgreSQL of its own.

Prints what the inputs came to, and how much memory the process had on the way. Exit code 1 and the input, once one is
not answered as the contract says, something is logged as an error, or memory grows.
"""

from __future__ import annotations

import argparse
import gc
import secrets
import sys
import tempfile
import time
from pathlib import Path

import psutil
import structlog

from clearing.postgres.embedded import server as embedded
from clearing.signing.keys import PrivateKey
from tests.fuzz.generator import Generator
from tests.fuzz.harness import Finding, Harness, actors_of
from tests.integration.alliance import founded
from tests.integration.observation import complaints

PARTS = 20
WARM_UP_PARTS = 4
GROWTH_MIB_MAX = 48
"""Of resident memory after the warm-up: the directory grows with the instructions that are accepted."""
MIB = 1024 * 1024


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description="Send mutated and random bytes to the gateway's handlers.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    structlog.configure(processors=[_drop])
    print(f"{options.inputs:,} inputs of seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="clearing-fuzz-") as folder,
        embedded.start(Path(folder), durable=False) as server,
        founded(server.create_database("fuzz"), clock="CLOCK_SYSTEM") as alliance,
    ):
        alliance.admit("bakery", "cinema")
        harness = Harness(alliance)
        try:
            _run(harness, Generator(actors_of(alliance, PrivateKey.generate()), options.seed), options.inputs)
        except Finding as finding:
            sys.exit(str(finding))
        wrong = complaints(alliance.engine)
        if wrong:
            sys.exit(f"the books do not balance: {wrong[0]}")
        print(f"the log has {alliance.log_size():,} entries; the books balance")
    for (method, what), count in sorted(harness.outcomes.items()):
        print(f"{count:>9,}  {method.rpartition('/')[2]:<17}{what}")


def _run(harness: Harness, generator: Generator, inputs: int) -> None:
    process, started, warm_mib = psutil.Process(), time.monotonic(), 0.0
    for part in range(PARTS):
        harness.run(generator, inputs * part // PARTS, inputs * (part + 1) // PARTS)
        gc.collect()
        resident_mib = process.memory_info().rss / MIB
        done, seconds = inputs * (part + 1) // PARTS, time.monotonic() - started
        print(f"{done:>9,} inputs  {seconds:>6,.0f} s  {resident_mib:>6.1f} MiB resident", flush=True)
        if part + 1 == WARM_UP_PARTS:
            warm_mib = resident_mib
        elif part + 1 > WARM_UP_PARTS and resident_mib > warm_mib + GROWTH_MIB_MAX:
            raise Finding(f"memory grew from {warm_mib:.1f} MiB to {resident_mib:.1f} MiB")


def _drop(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    raise structlog.DropEvent


if __name__ == "__main__":
    main()
