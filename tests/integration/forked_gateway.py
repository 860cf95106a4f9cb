"""``clearing gateway`` in a process that is forked from one with everything imported: up in a moment, to be killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from pathlib import Path

import psutil

import back_office.cli
from tests.integration.command import logged

DEFECTS = frozenset({"call_failed", "batch_failed", "calls_failed", "writer_failed", "writer_stopped"})
"""Events of its log that only a defect leads to."""

_processes = multiprocessing.get_context("forkserver")


class ForkedGateway:
    """One process of the gateway."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        """Start it with this environment; it logs to a new file in the folder."""
        self._log = folder / f"gateway-{time.monotonic_ns()}.log"
        self._log.touch()
        _processes.set_forkserver_preload([__name__, "back_office.cli.gateway", "alembic.command"])
        self._process = _processes.Process(target=_serve, args=(self._log, settings))
        self._process.start()

    def address(self) -> str | None:
        """Where it serves; None while it starts."""
        serving = logged(self._log, "serving")
        return serving[0]["address"] if serving else None

    def has_ended(self) -> bool:
        """Whether it has ended by itself, which is right only if it found no database when it started."""
        return self._process.exitcode is not None

    def text(self) -> str:
        """What it logged."""
        return self._log.read_text()

    def defects(self) -> list[str]:
        """The lines of its log that no crash of anything else excuses."""
        return [str(line) for line in logged(self._log) if line["event"] in DEFECTS]

    def kill(self) -> None:
        """SIGKILL, wherever it is. A second time does nothing."""
        self._process.kill()
        self._process.join()

    def kill_helpers(self) -> None:
        """SIGKILL for the processes that it has started, those that commit and those that check signatures."""
        with contextlib.suppress(psutil.NoSuchProcess):  # it may be gone
            for helper in psutil.Process(self._process.pid).children():
                if any("spawn_main" in part for part in helper.cmdline()):
                    helper.kill()


def _serve(log: Path, settings: dict[str, str]) -> None:
    """The command, in this process."""
    with log.open("ab") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    for name in [name for name in os.environ if name.startswith("CLEARING_")]:
        del os.environ[name]
    os.environ.update(settings)
    sys.argv = ["clearing", "gateway", "--json", "--address", "127.0.0.1:0"]
    back_office.cli.main()
