"""Step 5 of a transaction's way: what the rules need to know for a batch, from memory as far as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy

from clearing.deciding.authentication import SignedMessage, SignedPresentment
from clearing.deciding.batch_record import BatchRecord
from clearing.model import CardToken
from clearing.postgres.held_connection import HeldConnection
from clearing.postgres.reading.load import load_ledger
from clearing.postgres.reading.used_references import ReferenceReader
from clearing.rules.card import Card
from clearing.rules.ledger import Ledger
from clearing.writer.card_cache import CardCache


class Loader:
    """Loads for the writer's thread, which alone changes what is remembered here: nothing can be out of date."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        """The writer's lock must be held."""
        self._engine = engine
        self._connection = HeldConnection(engine)
        self._cards = CardCache()
        self._references = ReferenceReader(engine)

    def load(self, messages: Sequence[SignedMessage], ahead: BatchRecord | None) -> Ledger:
        """What these messages can touch, as ``ahead``, which may not be committed yet, will have left it.

        Raises ``DatabaseUnavailableError``.
        """
        with self._connection.transaction() as connection:
            return load_ledger(
                connection,
                presentments=[each.presentment for each in messages if isinstance(each, SignedPresentment)],
                instructions=[each.instruction for each in messages if not isinstance(each, SignedPresentment)],
                known_cards=self._cards.known,
                known_transactions=ahead.transactions if ahead is not None else {},
                known_instructions=ahead.instructions if ahead is not None else {},
                may_be_used=self._references.used.may_be_used,
            )

    def keep(self, cards: Mapping[CardToken, Card], record: BatchRecord | None) -> None:
        """Remember what the batch that was decided last has left of the cards, and the references it used."""
        self._cards.keep(cards)
        if record is not None:
            self._references.used.add(record.transactions)

    def forget(self) -> None:
        """Remember nothing: what was decided last may not have come to be, or another writer may have written."""
        self._cards.clear()
        self._references.stop()
        self._references = ReferenceReader(self._engine)

    def pause(self) -> None:
        """Hold no connection while there is nothing to do."""
        self._connection.release()

    def close(self) -> None:
        """Hold nothing any more."""
        self._connection.release()
        self._references.close()
