"""Ctrl-C: one line that says so, exit code 130, and no traceback, however early it comes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation
from tests.waiting import PATIENCE_SECONDS

SAID = "Interrupted; what was done stays done, and the same command may be run again.\n"


def test_a_command_that_is_interrupted_says_so(home: Path, database_url: str) -> None:
    installation = Installation(home, settings={"CLEARING_DATABASE_URL": database_url})
    installation.done("init", ORIGIN)
    with socket.create_server(("127.0.0.1", 0)) as silent_gateway:
        silent_gateway.settimeout(PATIENCE_SECONDS)
        installation.address = f"127.0.0.1:{silent_gateway.getsockname()[1]}"
        with subprocess.Popen(
            [sys.executable, "-m", "back_office.cli", "merchant", "list"],
            env=installation.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            connection, _ = silent_gateway.accept()
            with connection:
                command.send_signal(signal.SIGINT)
                output, messages = command.communicate(timeout=PATIENCE_SECONDS)

    assert (command.returncode, output, messages) == (130, "", SAID)


def test_an_interruption_while_the_program_is_being_loaded_is_told_the_same_way(
    installation: Installation, tmp_path: Path
) -> None:
    # The signal comes while the first library is imported: a module of its name, found before it, sends it.
    (tmp_path / "typer.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    environment = installation.environment()
    environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), environment["PYTHONPATH"]))

    done = subprocess.run(
        [sys.executable, "-m", "back_office.cli", "merchant", "list"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", SAID)
