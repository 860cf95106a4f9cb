"""Settling closed windows from the database: what the log says of them is read, and the rest computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

import sqlalchemy

from clearing.contract.instruction import encode_payment, encode_proposal
from clearing.model import MerchantId, WindowId
from clearing.postgres.database import snapshot
from clearing.postgres.reading.flows import read_flows, read_points_moved
from clearing.postgres.reading.stored_log import tile_reader
from clearing.postgres.writing.flow_sums import sum_stretches
from clearing.rules.movements import Movement
from clearing.v1 import settlement_pb2
from clearing.writer.log_state import read_log_state
from settlement.reports.files import StatementFormat, statement_file
from settlement.v1.errors import ContradictorySumsError, WindowNotClosedError
from settlement.v1.month_end import closed_window
from settlement.v1.points import moved_by_issuer
from settlement.v1.proposal import SettlementProofs
from settlement.v1.statements import Settlement
from settlement.versions import settlement_rules, settlement_rules_of

SETTLEMENTS_KEPT: Final = 3
"""Closed windows never change, so what one settles to is computed once, as long as it is asked for now and then. One of
three thousand members takes some hundred MiB."""
PROOFS_KEPT: Final = 12
PROPOSALS_KEPT: Final = 1_200
"""They are small: those of a hundred years."""


class Settlements(Protocol):
    """What closed windows of a stored log settle to. For any thread."""

    def proposal(self, window: WindowId) -> bytes:
        """The settlement as ``clearing.v1.ProposeSettlement``, serialised.

        Raises ``WindowNotClosedError``, ``ContradictorySumsError`` and ``DatabaseUnavailableError``.
        """
        ...

    def payments(self, window: WindowId, merchant: MerchantId | None) -> bytes:
        """The merchant's payments and statement, or with None all, with their proofs.

        As ``clearing.v1.GetPaymentsResponse``, serialised; it says of no payment that it is recorded. Raises what
        ``proposal`` raises.
        """
        ...

    def statement(self, window: WindowId, merchant: MerchantId | None, form: StatementFormat) -> bytes:
        """The content of the statement's file: the merchant's, or with None the alliance's.

        Raises what ``proposal`` raises, and ``NoSuchStatementError``.
        """
        ...


class StoredSettlements:
    """Computes them in this process."""

    def __init__(
        self, engine: sqlalchemy.Engine, settle: Callable[[sqlalchemy.Engine, WindowId], Settlement] | None = None
    ) -> None:
        """Of the log in this database. ``settle`` is how a window is settled, in place of ``settle_stored``."""
        settle = settle or settle_stored
        self._settled = lru_cache(SETTLEMENTS_KEPT)(lambda window: settle(engine, window))
        self._proofs = lru_cache(PROOFS_KEPT)(self._prove)
        self._proposals = lru_cache(PROPOSALS_KEPT)(self._propose)

    def proposal(self, window: WindowId) -> bytes:
        """See ``Settlements``."""
        return self._proposals(window)

    def payments(self, window: WindowId, merchant: MerchantId | None) -> bytes:
        """See ``Settlements``."""
        proofs = self._proofs(window)
        return _payments_message(proofs if merchant is None else proofs.of(merchant)).SerializeToString()

    def statement(self, window: WindowId, merchant: MerchantId | None, form: StatementFormat) -> bytes:
        """See ``Settlements``."""
        return statement_file(self._settled(window), merchant, form).content

    def _propose(self, window: WindowId) -> bytes:
        settled = self._settled(window)
        proposal = settlement_rules(settled.period.settlement_version).proposal_of(settled)
        return encode_proposal(proposal).SerializeToString(deterministic=True)

    def _prove(self, window: WindowId) -> SettlementProofs:
        settled = self._settled(window)
        return settlement_rules(settled.period.settlement_version).proofs_of(settled)


def _payments_message(proofs: SettlementProofs) -> settlement_pb2.GetPaymentsResponse:
    return settlement_pb2.GetPaymentsResponse(
        payments=[
            settlement_pb2.ProvenPayment(
                payment=encode_payment(each.payment), index=each.index, salt=each.salt, path=each.path
            )
            for each in proofs.payments
        ],
        statements=[
            settlement_pb2.ProvenStatement(merchant=each.merchant, digest=each.digest, index=each.index, path=each.path)
            for each in proofs.statements
        ],
    )


def settle_stored(engine: sqlalchemy.Engine, window: WindowId) -> Settlement:
    """What the closed window settles to; sums of the log that are missing are made first.

    Raises ``WindowNotClosedError`` while its range is not fixed, ``ContradictorySumsError`` and
    ``DatabaseUnavailableError``.
    """
    with snapshot(engine) as connection:
        directory = read_log_state(connection).directory
    if directory is None:
        raise WindowNotClosedError(window)
    entries = closed_window(directory, window).range
    sum_stretches(engine, entries.end_index)
    with snapshot(engine) as connection:
        before = read_points_moved(connection, entries.first_index)
        during = read_flows(connection, entries.first_index, entries.end_index)
        after = read_points_moved(connection, entries.end_index)
        root = tile_reader(connection).root(entries.end_index)
    if _sum(before, moved_by_issuer(during)) != after:
        raise ContradictorySumsError(window)
    return settlement_rules_of(directory, window).settle_upon(directory, window, before, during, root)


def _sum(
    first: Mapping[MerchantId, Counter[Movement]], second: Mapping[MerchantId, Counter[Movement]]
) -> dict[MerchantId, Counter[Movement]]:
    nothing: Counter[Movement] = Counter()
    return {issuer: first.get(issuer, nothing) + second.get(issuer, nothing) for issuer in first.keys() | second.keys()}
