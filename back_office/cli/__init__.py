"""The command ``clearing``: where it begins and ends. What it can do is loaded after that: Ctrl-C may come first."""

from __future__ import annotations

import os
import sys
from typing import Final

from back_office.cli.extras import BACK_OFFICE, WRONG_INSTALLATION, how_to_install, is_of_an_extra

# gRPC's own messages would stand between ours; what they say reaches us as errors. Set before gRPC is first imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# PostgreSQL's commands are run by fork and exec; gRPC's own handlers of a fork may crash the child under load.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


def main() -> None:
    """Run the command that the arguments name.

    Exit codes: 0 done, 1 not done, 2 wrong usage or an extra that is not installed, 3 (`clearing status`) something
    needs attention, 130 interrupted.
    """
    try:
        from back_office.cli.streams import replace_closed_streams

        replace_closed_streams()
        try:
            from back_office.cli.application import run
        except ModuleNotFoundError as error:  # a till's installation has the client library alone
            if not is_of_an_extra(error):
                raise
            sys.stderr.write(f"{how_to_install(error, BACK_OFFICE)}\n")
            sys.exit(WRONG_INSTALLATION)

        run()
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(INTERRUPTED)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # Ctrl-C within a command, as Typer reports it
            _say_interrupted()
        raise


def _say_interrupted() -> None:
    sys.stderr.write("Interrupted; what was done stays done, and the same command may be run again.\n")
