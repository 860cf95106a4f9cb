"""The command as a user has it: a process of its own, with a home folder, its exit code and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@dataclass
class Installation:
    """A home folder, the gateway's address, and running commands with them."""

    home: Path
    address: str = "127.0.0.1:1"
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLEARING_")}
        mine = {"CLEARING_HOME": str(self.home), "CLEARING_ADDRESS": self.address, "PYTHONPATH": str(ROOT)}
        return {**inherited, **mine, **self.settings}

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The command, whatever comes of it. A traceback never does."""
        done = subprocess.run(
            _command(arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        assert "failed in a way it should not" not in done.stderr, done.stderr
        return done

    def done(self, *arguments: object) -> str:
        """What a command that succeeds prints."""
        result = self.run(*arguments)
        assert result.returncode == 0, f"{arguments}: {result.stderr}"
        return result.stdout

    def json(self, *arguments: object) -> Any:
        """What a command that succeeds prints for programs."""
        return json.loads(self.done(*arguments, "--json"))

    def refused(self, *arguments: object, code: int = 1) -> str:
        """What a command that fails complains: one line, but for usage errors."""
        result = self.run(*arguments)
        assert result.returncode == code, f"{arguments}: {result.returncode} {result.stdout} {result.stderr}"
        if code == 1:
            assert result.stderr.startswith("Error: ")
            assert result.stderr.count("\n") == 1
        return result.stderr

    @contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """A gateway on a free port, which the other commands find; stopped by SIGTERM."""
        process = subprocess.Popen(
            _command(("gateway", "--address", "127.0.0.1:0", *options)),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            if not line.startswith("Serving"):
                raise AssertionError(f"the gateway does not serve: {process.stderr.read()}")
            self.address = line.split(" at ")[1].split(",")[0]
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    """Ask the process to end, and wait until it has; its exit code."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
    for stream in (process.stdout, process.stderr):
        if stream is not None and not stream.closed:
            stream.close()
    return process.wait()


def _command(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "back_office.cli", *map(str, arguments)]
