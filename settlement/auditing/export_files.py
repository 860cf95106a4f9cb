"""Which files an export consists of: each that belongs to it must be there, and none that does not.

Only ``checkpoint``, ``tile/`` and ``statements/`` are an export's; what else lies in the folder is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from pathlib import Path

from clearing.errors import ClearingError
from clearing.log.merkle import leaf_hash, root
from clearing.log.settlement_trees import statement_leaf
from clearing.log.tiles import TILE_HEIGHT, TILE_WIDTH, tile_path
from clearing.model import MerchantId, ProposeSettlement, WindowId
from clearing.rules.directory import Directory
from settlement.reports.files import StatementFormat, statement_file_name

TILES_FOLDER = "tile"
STATEMENTS_FOLDER = "statements"
"""Beside the log's own files: ``statements/YYYY-MM/`` with the statements in JSON, as they were handed over."""


class AuditDifference(ClearingError):
    """Something in the export is not what the log itself makes of it."""


def require_no_other_tiles(directory: Path, size: int) -> None:
    """Every file under ``tile/`` must be one of a log of ``size`` entries; that none is missing, reading them shows.

    Raises ``AuditDifference`` naming the first that is not.
    """
    _require_no_others(directory, TILES_FOLDER, set(_tile_files(size)), f"is no file of a log of {size:,} entries")


def compare_statements(directory: Path, alliance: Directory) -> int:
    """Compare every proposed statement with what the log records of it; how many there are.

    The log holds the digest of the alliance's statement, which names those of the members', and a root over these.
    Raises ``AuditDifference`` naming the first file that is missing, differs or does not belong.
    """
    belonging: set[str] = set()
    for window, closed in alliance.closed_windows.items():
        if closed.proposal is not None:
            belonging |= _compare_window(directory, window, closed.merchants, closed.proposal)
    _require_no_others(directory, STATEMENTS_FOLDER, belonging, "is no statement whose digest the log records")
    return len(belonging)


def _compare_window(
    directory: Path, window: WindowId, merchants: Sequence[MerchantId], proposal: ProposeSettlement
) -> set[str]:
    """Compare one window's statements; the names of their files."""
    alliance_name = _statement_name(window, None)
    statement = _compare_file(directory / alliance_name, proposal.alliance_statement_digest)
    digests = _merchant_digests(directory / alliance_name, statement)
    hashes = [leaf_hash(statement_leaf(merchant, digest)) for merchant, digest in digests.items()]
    if tuple(digests) != tuple(merchants) or root(hashes) != proposal.statements_root:
        raise AuditDifference(
            f"{directory / alliance_name}: the digests of the members' statements in it are not those of the root "
            f"that is logged for {window}"
        )
    for merchant, digest in digests.items():
        _compare_file(directory / _statement_name(window, merchant), digest)
    return {alliance_name, *(_statement_name(window, merchant) for merchant in digests)}


def _compare_file(path: Path, digest: bytes) -> bytes:
    """The file's content, which has this digest."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise AuditDifference(
            f"{path} is missing, and the log records its digest: get the whole export, or verify the log alone "
            "with --without-statements"
        ) from None
    except OSError as error:
        raise AuditDifference(f"{path}: cannot be read: {error.strerror}") from None
    if sha256(content).digest() != digest:
        raise AuditDifference(
            f"{path}: has the digest {sha256(content).hexdigest()}, and {digest.hex()} is logged for {path.parent.name}"
        )
    return content


def _merchant_digests(path: Path, statement: bytes) -> dict[MerchantId, bytes]:
    """By member, in the order of their identifiers: the digests that the alliance's statement names."""
    try:
        named = json.loads(statement)["merchant_statement_sha256"]
        return {MerchantId(merchant): bytes.fromhex(named[merchant]) for merchant in sorted(named)}
    except (ValueError, KeyError, TypeError):
        raise AuditDifference(
            f"{path}: has the digest that is logged, and does not name the members' statements"
        ) from None


def _statement_name(window: WindowId, merchant: MerchantId | None) -> str:
    return f"{STATEMENTS_FOLDER}/{window}/{statement_file_name(merchant, StatementFormat.JSON)}"


def _tile_files(size: int) -> Iterator[str]:
    """The files of a log of so many entries, relative to its folder (C2SP tlog-tiles)."""
    level = 0
    while hashes := size >> (TILE_HEIGHT * level):
        for number in range(0, hashes, TILE_WIDTH):
            width = min(TILE_WIDTH, hashes - number)
            yield tile_path(level, number // TILE_WIDTH, width)
            if level == 0:
                yield tile_path("entries", number // TILE_WIDTH, width)
        level += 1


def _require_no_others(directory: Path, folder: str, belonging: AbstractSet[str], what: str) -> None:
    found = {path.relative_to(directory).as_posix() for path in (directory / folder).rglob("*") if not path.is_dir()}
    others = sorted(found - belonging)
    if others:
        more = f" ({len(others) - 1:,} more like it)" if len(others) > 1 else ""
        raise AuditDifference(
            f"{directory / others[0]} {what}{more}: it was put there, or an export was interrupted; make a new "
            "export in an empty folder"
        )
