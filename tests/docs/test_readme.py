"""The README's commands by role, run one after the other as a newcomer would."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_ROLE = README[README.index("## By role") : README.index("## Further")]
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", BY_ROLE, re.DOTALL)
SERVE = "clearing gateway &\n"
DEFAULT_ADDRESS = "127.0.0.1:7070"


class Newcomer:
    """An empty folder, and a shell in which ``clearing`` is installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        commands = folder / "bin"
        commands.mkdir()
        clearing = commands / "clearing"
        clearing.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m back_office.cli "$@"\n')
        clearing.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CLEARING_ADDRESS": self.address,
        }
        self.gateway: subprocess.Popen[str] | None = None

    def run(self, language: str, block: str) -> str:
        """What the block prints; it must succeed."""
        if block == SERVE:
            return self.serve()
        if language == "python":
            command = [sys.executable, "-c", block.replace(DEFAULT_ADDRESS, self.address)]
        else:
            command = ["bash", "-euc", block]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=5 * PATIENCE_SECONDS,  # there are many commands in a block
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def serve(self) -> str:
        """Start the gateway and wait until it says that it serves."""
        command = [sys.executable, "-m", "back_office.cli", "gateway"]
        self.gateway = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert self.gateway.stdout is not None
        return self.gateway.stdout.readline()

    def leave(self) -> int | None:
        """Stop the gateway as an operator would; its exit code."""
        if self.gateway is None:
            return None
        self.gateway.send_signal(signal.SIGTERM)
        code = self.gateway.wait(PATIENCE_SECONDS)
        assert self.gateway.stdout is not None
        self.gateway.stdout.close()
        return code


@pytest.fixture
def newcomer() -> Iterator[Newcomer]:
    # Root runs the embedded PostgreSQL as another user, to whom pytest's own folders are closed.
    with tempfile.TemporaryDirectory(prefix="clearing-readme-") as folder:
        someone = Newcomer(Path(folder))
        try:
            yield someone
        finally:
            if someone.gateway is not None and someone.gateway.poll() is None:
                someone.leave()


def test_every_command_of_the_readme_works_in_its_order(newcomer: Newcomer) -> None:
    assert BLOCKS
    printed = [newcomer.run(language, block) for language, block in BLOCKS]
    everything = "\n".join(printed)
    assert "Serving cards.example/log" in everything
    assert "ACCEPTED 120" in everything
    assert "2026-01 │ settled" in everything
    assert "cards.example/log is in order" in everything
    assert (newcomer.folder / "statements/2026-01/merchant-cinema.xlsx").is_file()
    assert (newcomer.folder / "proof/entry-11.tlog-proof").is_file()
    assert newcomer.leave() == 0


def test_the_targets_the_readme_opens_with_are_the_makefiles() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
