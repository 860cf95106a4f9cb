"""The gateway that is measured: ``clearing gateway`` as anybody runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.errors import BenchFailedError
from benchmarks.processes import MIB
from clearing.runtime.settings import PREFIX

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
CHECK_SECONDS: Final = 0.05
KIBIBYTE: Final = 1024
LINES_SHOWN: Final = 10


class GatewayProcess:
    """A gateway over the embedded database of a home folder, on a free port of loopback."""

    def __init__(self, home: Path, log: Path) -> None:
        """Start it, and wait until it serves; what it logs goes to the file ``log``. Raises ``BenchFailedError``."""
        self._log = log
        # Settings of somebody's own installation must not lead the bench to its database.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        command = (sys.executable, "-m", "back_office.cli", "--home", str(home), "--address", "127.0.0.1:0")
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "gateway", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the bench, which stops it when all is read
            )
        self.max_rss_mib: int | None = None
        """The most memory it has held, once it has ended."""
        try:
            self.address = self._wait_for_address()
        except BaseException:
            self.stop()
            raise

    @property
    def process_id(self) -> int:
        """Its id."""
        return self._process.pid

    def require_running(self) -> None:
        """Raise ``BenchFailedError`` if it has ended."""
        if self._ended():
            raise BenchFailedError(f"the gateway has ended by itself; it said last:\n{self._last_lines()}")

    def stop(self) -> None:
        """Stop it as an operator does, by SIGTERM; by force if that does not help."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._ended():
                return
            self._process.send_signal(number)
            deadline = time.monotonic() + STOP_SECONDS
            while not self._ended() and time.monotonic() < deadline:
                time.sleep(CHECK_SECONDS)

    def _ended(self) -> bool:
        """Whether it has ended; notes what it used, which the system tells once, and only whoever takes leave of it."""
        if self._process.returncode is None:
            process_id, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if process_id:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                unit_bytes = 1 if sys.platform == "darwin" else KIBIBYTE
                self.max_rss_mib = usage.ru_maxrss * unit_bytes // MIB
        return self._process.returncode is not None

    def _wait_for_address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self._log.read_text(encoding="utf-8").splitlines():
                if '"serving"' in line and line.endswith("}"):
                    return str(json.loads(line)["address"])
            self.require_running()
            time.sleep(CHECK_SECONDS)
        raise BenchFailedError(f"the gateway does not serve after {START_SECONDS:.0f} seconds:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LINES_SHOWN:])
