"""``alliance.json``: what everybody who signs or reads has of the alliance, as the operator gives it. Nothing secret.

The gateway itself is never asked for it: whoever answers there could name another log, and have messages signed for it.
"""

from __future__ import annotations

import json
from pathlib import Path

from clearing.contract.bounds import LOG_ID_BYTES
from clearing.contract.log_identity import LogIdentity
from clearing.errors import ClearingError
from clearing.log.note import NoteError, parse_verifier


class AllianceFileError(ClearingError):
    """An ``alliance.json`` is missing, or not what it should be."""


def read_alliance(path: Path) -> LogIdentity:
    """What an ``alliance.json`` says. Raises ``AllianceFileError``."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        origin, vkey, log_id = content["origin"], content["log_verifier"], bytes.fromhex(content["log_id"])
        verifier = parse_verifier(vkey)
    except FileNotFoundError:
        raise AllianceFileError(
            f"there is no {path}; found an alliance first (clearing init ORIGIN), copy the file from the "
            "operator's home, or name the right folder with --home"
        ) from None
    except OSError as error:
        raise AllianceFileError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, NoteError):
        raise AllianceFileError(f"{path} is damaged; copy it again from the operator's home") from None
    if verifier.name != origin or len(log_id) != LOG_ID_BYTES:
        raise AllianceFileError(f"{path} contradicts itself: its parts are not of one alliance; copy it again")
    return LogIdentity(verifier, log_id)


def alliance_file_text(log: LogIdentity) -> str:
    """The content of its ``alliance.json``."""
    content = {"origin": log.origin, "log_verifier": log.verifier.vkey, "log_id": log.log_id.hex()}
    return json.dumps(content, indent=2) + "\n"
