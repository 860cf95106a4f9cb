"""Writing a file whole or not at all: whoever reads it sees what was there before or what is there now."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FOR_ALL_TO_READ = 0o644
FOR_THE_OWNER = 0o600


def write_whole(
    path: Path, content: bytes, *, mode: int = FOR_ALL_TO_READ, durable: bool = False, replace: bool = True
) -> None:
    """Make the file, or put it in the place of the one that is there.

    ``mode`` is its permissions, whatever the process's mask. Where ``durable``, it is there after a crash of the
    machine once this returns. A symbolic link of this name is replaced like a file, and what it points to stays.
    Raises ``FileExistsError`` where the name is taken and not to be replaced, and ``OSError``; then all is as it was.
    """
    unfinished = path.with_name(f".unfinished-{secrets.token_hex(8)}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FOR_THE_OWNER)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(descriptor)
        if replace:
            unfinished.replace(path)
        else:
            os.link(unfinished, path)  # unlike a rename it fails where the name is taken, in one step
    finally:
        unfinished.unlink(missing_ok=True)
    if durable:
        _make_name_durable(path.parent)


def _make_name_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
