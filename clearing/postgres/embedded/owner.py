"""The operating system user that the embedded PostgreSQL runs as.

PostgreSQL refuses to run as root. A process of another user runs it as that user; root, as in a container,
runs it as a system user of its own, to whom the server's files belong.
"""

import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Final

from clearing.errors import ClearingError

SYSTEM_USER: Final = "clearing-postgres"


class EmbeddedPostgresError(ClearingError):
    """The embedded PostgreSQL cannot be made, started, used or stopped; the text says why and what to do."""


def server_owner() -> pwd.struct_passwd | None:
    """The user to change to before running PostgreSQL, made if it is missing; None unless we are root.

    Raises:
        EmbeddedPostgresError: the user is missing and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
    try:
        command = ["useradd", *options, SYSTEM_USER]
        complaint = subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()
    except FileNotFoundError:
        complaint = "there is no useradd command"
    try:
        # Looked up whatever useradd said: another process may have made the user at the same instant.
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be made: "
            f"{complaint}. Make that user, or run this program as an ordinary user."
        ) from None


def give(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Make `path` the server owner's property, if we are root."""
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def let_pass(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Let the server's owner reach what is in `path`, if we are root: passage, not reading, for others."""
    if owner is None:
        return
    for folder in (path, *path.parents):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def private_directory(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Make `path`, in a folder that everybody can write, a directory that only the server's owner can use.

    Raises:
        EmbeddedPostgresError: somebody else's file or folder has the name.
    """
    try:
        path.mkdir(mode=0o700)
        give(path, owner)
    except FileExistsError:
        found = path.lstat()
        expected_user = os.geteuid() if owner is None else owner.pw_uid
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected_user or found.st_mode & 0o077:
            raise EmbeddedPostgresError(
                f"{path} is needed for the embedded PostgreSQL's socket, and belongs to somebody else. "
                "Remove it, or choose a data folder with a shorter name."
            ) from None
