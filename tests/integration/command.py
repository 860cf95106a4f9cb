"""The test alliance's gateway as an operator runs it: ``clearing gateway`` in a process, its log in a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from back_office.client.home import Home
from clearing.signing.key_files import write_private_key
from clearing.signing.keys import PrivateKey
from tests.integration.alliance import Alliance
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Served:
    """A gateway's process and what it logs."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text()

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """The log's lines so far: all, or those of an event."""
        return logged(self.log, event)

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first line of this event, once there is one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.lines(event):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.02)
        return self.lines(event)[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def logged(log: Path, event: str = "") -> list[dict[str, Any]]:
    """The lines of a gateway's log so far: all, or those of an event."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if event in ("", line["event"])]


def settings_of(alliance: Alliance, home_folder: Path) -> dict[str, str]:
    """The environment of a gateway of this alliance, and the home folder that it names."""
    home = Home(home_folder)
    home.make_folders()
    if not home.log_key_file.exists():
        home.write_alliance(alliance.identity)
        write_private_key(home.log_key_file, PrivateKey(alliance.log_key.seed))
    url = alliance.engine.url.render_as_string(hide_password=False)
    return {"CLEARING_HOME": str(home.directory), "CLEARING_DATABASE_URL": url}


@contextmanager
def started(settings: Mapping[str, str], folder: Path, *options: str) -> Iterator[Served]:
    """A gateway process with this environment, which may not serve yet; its log is in the folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARING_")}
    log = folder / f"gateway-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "back_office.cli", "gateway", "--json", "--address", "127.0.0.1:0", *options],
            env={**environment, **settings, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Served(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def served(alliance: Alliance, folder: Path, *options: str) -> Iterator[Served]:
    """The alliance's log taken over by a gateway process, which the alliance's stubs call within the block."""
    alliance.close()
    with started(settings_of(alliance, folder / "home"), folder, *options) as gateway:
        try:
            alliance.call(gateway.wait_for("serving")["address"])
            yield gateway
        finally:
            alliance.channel.close()
