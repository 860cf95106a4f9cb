"""The files by which PostgreSQL keeps a second server away from a data directory, where a dead server left them."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from clearing.postgres.embedded.owner import give

NO_PROCESS: Final = 2**31 - 1
"""A process id that no kernel gives."""


def take_from_zombies(lock_files: Iterable[Path], owner: pwd.struct_passwd | None) -> None:
    """Have those files that name a zombie name no process any more; ``owner`` runs the server, None: this user.

    A server that was killed stays listed until its parent takes leave of it, which the first process of a container may
    never do. PostgreSQL asks the kernel whether the id is in use, is told that it is, and does not start. A zombie runs
    no code and holds nothing open, so only the id is taken out of the file: whether any other process of the old server
    still uses the data, PostgreSQL goes on to see by itself, from the shared memory that the same file names.
    """
    for lock_file in lock_files:
        try:
            process_id, *rest = lock_file.read_bytes().splitlines(keepends=True)
            if psutil.Process(int(process_id)).status() != psutil.STATUS_ZOMBIE:
                continue
        except (FileNotFoundError, ValueError, psutil.Error):
            continue  # a server that stopped in good order, or what PostgreSQL tells from a live one itself
        # Beside its place and renamed: whoever is killed in between leaves one of the two whole.
        descriptor, name = tempfile.mkstemp(dir=lock_file.parent, prefix=f"{lock_file.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"%d\n%b" % (NO_PROCESS, b"".join(rest)))
        give(Path(name), owner)
        Path(name).replace(lock_file)
