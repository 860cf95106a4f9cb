"""What the replay remembers of transactions: those that can still be taken back, and nothing of all others."""

from __future__ import annotations

import datetime
import io
import pickle
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

from clearing.model import MerchantId, Outcome, Reference, TransactionKind, TransactionResult
from clearing.rules.card import LotKey, Taken
from clearing.rules.ledger import RecordedTransaction

Key = tuple[MerchantId, Reference]


def can_be_refunded(recorded: RecordedTransaction) -> bool:
    """Whether a refund of it can still be accepted: of an accepted earn or burn, for ever, until nothing is left."""
    return (
        recorded.kind in (TransactionKind.EARN, TransactionKind.BURN)
        and recorded.result.outcome is Outcome.ACCEPTED
        and recorded.points_refunded < recorded.result.points
    )


class RefundableTransactions(MutableMapping[Key, RecordedTransaction]):
    """Transactions by merchant and reference, for a ledger; of those put into it, it keeps the refundable ones.

    ``assumed`` are others that it holds besides, for the entry that is being decided.
    """

    def __init__(self) -> None:
        self.assumed: dict[Key, RecordedTransaction] = {}
        self._packed: dict[str, bytes] = {}
        """A few hundred bytes each, where the value with all its parts takes two or three times as many."""

    def remembers(self, key: Key) -> bool:
        """Whether it is kept, and not only assumed."""
        return _text(key) in self._packed

    def __getitem__(self, key: Key) -> RecordedTransaction:
        packed = self._packed.get(_text(key))
        if packed is None:
            return self.assumed[key]
        return _unpacked(packed)

    def __setitem__(self, key: Key, recorded: RecordedTransaction) -> None:
        if can_be_refunded(recorded):
            self._packed[_text(key)] = _packed(recorded)
        else:
            self._packed.pop(_text(key), None)

    def __delitem__(self, key: Key) -> None:
        del self._packed[_text(key)]

    def __iter__(self) -> Iterator[Key]:
        for text in self._packed:
            merchant, _, reference = text.partition("\0")
            yield MerchantId(merchant), Reference(reference)

    def __len__(self) -> int:
        return len(self._packed)


def _text(key: Key) -> str:
    return "\0".join(key)


_TYPES: Final[tuple[type, ...]] = (
    RecordedTransaction,
    TransactionResult,
    Taken,
    LotKey,
    TransactionKind,
    Outcome,
    datetime.date,
)
"""Written as their place in here, and not by their names: those would be most of what is kept."""
_PLACES: Final = {kept: place for place, kept in enumerate(_TYPES)}


class _Packer(pickle.Pickler):
    def persistent_id(self, value: Any) -> int | None:
        return _PLACES.get(value) if isinstance(value, type) else None


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, place: int) -> type:
        return _TYPES[place]


def _packed(recorded: RecordedTransaction) -> bytes:
    written = io.BytesIO()
    _Packer(written, pickle.HIGHEST_PROTOCOL).dump(recorded)
    return written.getvalue()


def _unpacked(packed: bytes) -> RecordedTransaction:
    recorded = _Unpacker(io.BytesIO(packed)).load()  # our own bytes
    assert isinstance(recorded, RecordedTransaction)
    return recorded
