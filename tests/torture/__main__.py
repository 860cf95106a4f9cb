"""``python -m tests.torture [--kills N] [--seed N]``: the long run of ``tests/integration/test_crashes.py``.

Kills the gateway and its PostgreSQL under load, each and both, and checks after every recovery that nothing
acknowledged is lost and nothing is there twice. Exit code 1, the seed and everything that was logged, once something
is not as it must be.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

# As the command does, before gRPC is first imported: its handlers for a fork may crash the commands of PostgreSQL.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import structlog

from tests.integration.crashes import Figures, endure
from tests.integration.house import Blow, house

KILLS_PER_HOUSE = 50
"""Then begins a new, empty one: each check reads the whole log."""
SHARES = {
    Blow.GATEWAY: 35,
    Blow.HELPERS: 10,
    Blow.POSTGRES: 15,
    Blow.BACKEND: 15,
    Blow.MACHINE: 15,
    Blow.POSTMASTER: 10,
}


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description="Kill the gateway and its PostgreSQL under load, over and over.")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))  # errors
    print(f"{options.kills} kills of seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="clearing-torture-"))
    choices = random.Random(options.seed)
    started = time.monotonic()
    try:
        for first in range(0, options.kills, KILLS_PER_HOUSE):
            kills = min(KILLS_PER_HOUSE, options.kills - first)
            _one_house(folder / f"from-{first}", kills, choices, first, started)
    except BaseException:  # whatever it was: with the seed and the logs it can be looked into
        traceback.print_exc()
        sys.exit(f"seed {options.seed}; what the gateways logged is in {folder}")
    shutil.rmtree(folder)


def _one_house(folder: Path, kills: int, choices: random.Random, kills_before: int, started: float) -> None:
    folder.mkdir()
    blows = choices.choices(list(SHARES), list(SHARES.values()), k=kills)

    def progress(figures: Figures) -> None:
        print(
            f"{kills_before + figures.blows.total():>5} kills {time.monotonic() - started:>6.0f} s"
            f"  recovered in {figures.recovery_seconds[-1]:>5.2f} s {figures.envelopes:>7,} envelopes"
            f"  of {figures.committed_unheard + figures.never_committed:>4} calls cut off"
            f" {figures.committed_unheard:>3} were committed {figures.checkpoints:>6,} checkpoints",
            flush=True,
        )

    with house(folder) as a_house:
        figures = endure(a_house, blows, choices.randrange(1 << 32), progress)
    counts = ", ".join(f"{blow.value} {count}" for blow, count in figures.blows.most_common())
    print(f"      killed: {counts}; all is there once, the books balance, the log verifies", flush=True)


if __name__ == "__main__":
    main()
