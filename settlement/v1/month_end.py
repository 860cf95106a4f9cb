"""Month end: settle one closed window.

The way of a window, each step in one place:

1. range       the closed window fixes the entries; the caller sums their postings to flows
2. points      each issuer's account from opening to closing, and who redeemed whose points   ``points``
3. obligations points times price, rounded once each                                          ``obligations``
4. netting     positions, which sum to zero, and the fewest payments that settle them          ``netting``
5. statements  one for the alliance and one for each member                                    ``statements``
6. proposal    the statements' digests in JSON, and the payments                               ``proposal``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clearing.calendar import first_day, month_end
from clearing.model import POOL, MerchantId, SettlementMethod, WindowId
from clearing.rules.directory import ClosedWindow, Directory
from clearing.rules.movements import Flow
from settlement.v1.errors import InconsistentFlowsError, NoSuchStatementError, WindowNotClosedError
from settlement.v1.netting import bilateral_nets, fewest_payments, positions
from settlement.v1.obligations import Obligation, obligations
from settlement.v1.points import PointsByMovement, issuer_points, moved_by_issuer, redemptions
from settlement.v1.statements import AllianceStatement, MerchantStatement, Period, Position

_ROOT_SIZE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a closed window settles to."""

    alliance: AllianceStatement
    merchants: tuple[MerchantStatement, ...]
    """One for each member when the window closed, by identifier."""

    @property
    def period(self) -> Period:
        """The window and the log it was computed from."""
        return self.alliance.period

    def statement_of(self, merchant: MerchantId) -> MerchantStatement:
        """The merchant's statement. Raises ``NoSuchStatementError`` if it was not a member when the window closed."""
        for statement in self.merchants:
            if statement.merchant == merchant:
                return statement
        raise NoSuchStatementError(merchant, self.period.window)


def settle(
    directory: Directory, window: WindowId, before: Iterable[Flow], during: Iterable[Flow], log_root: bytes
) -> Settlement:
    """Settle ``window`` from the flows of all entries before its range and of those in it.

    ``log_root`` is the log's RFC 6962 root at the end of the range. The result depends on nothing that happens after
    the window was closed: prices of past days never change.

    Raises ``WindowNotClosedError`` if the range is not fixed yet, and ``InconsistentFlowsError`` if the flows cannot be
    those of a log.
    """
    closed = closed_window(directory, window)
    before = tuple(before)
    _check_flows(before, closed, window)
    return settle_upon(directory, window, moved_by_issuer(before), during, log_root)


def settle_upon(
    directory: Directory,
    window: WindowId,
    before: Mapping[MerchantId, PointsByMovement],
    during: Iterable[Flow],
    log_root: bytes,
) -> Settlement:
    """What ``settle`` does, where of all entries before the window the points moved are known for each issuer."""
    closed = closed_window(directory, window)
    period = _period(directory, window, closed, log_root)
    during = tuple(during)
    _check_flows(during, closed, window)
    if strangers := before.keys() - set(closed.merchants):
        raise InconsistentFlowsError(f"{min(strangers)} moved points and was not a member when {window} closed")

    moved = moved_by_issuer(during)
    points = tuple(issuer_points(name, before.get(name, {}), moved.get(name, {})) for name in closed.merchants)
    redeemed = redemptions(during)
    owed = obligations(directory, during)
    participants = closed.merchants if period.method is not SettlementMethod.POOL else (*closed.merchants, POOL)
    net = positions(owed, participants)
    alliance = AllianceStatement(
        period=period,
        points=points,
        redemptions=redeemed,
        obligations=owed,
        bilateral=bilateral_nets(owed),
        positions=tuple(_position(name, owed) for name in net),
        payments=fewest_payments(net),
    )
    return Settlement(alliance, tuple(_merchant_statement(directory, alliance, name) for name in closed.merchants))


def closed_window(directory: Directory, window: WindowId) -> ClosedWindow:
    """The window, once it is closed. Raises ``WindowNotClosedError``."""
    closed = directory.closed_windows.get(window)
    if closed is None:
        raise WindowNotClosedError(window)
    return closed


def _period(directory: Directory, window: WindowId, closed: ClosedWindow, log_root: bytes) -> Period:
    if len(log_root) != _ROOT_SIZE_BYTES:
        raise ValueError(f"the log's root has {_ROOT_SIZE_BYTES} bytes, not {len(log_root)}")
    constitution = directory.constitution
    first = first_day(window)
    return Period(
        origin=directory.origin,
        window=window,
        first_day=first,
        last_day=month_end(first),
        time_zone=constitution.time_zone,
        first_index=closed.range.first_index,
        end_index=closed.range.end_index,
        log_root=log_root,
        unit=constitution.unit,
        currency=constitution.currency,
        currency_decimals=constitution.currency_decimals,
        method=constitution.settlement_method,
        settlement_version=directory.versions_in(window).settlement,
    )


def _check_flows(flows: Sequence[Flow], closed: ClosedWindow, window: WindowId) -> None:
    members, last_day = set(closed.merchants), month_end(first_day(window))
    for flow in flows:
        if not {flow.issuer, flow.redeemer or flow.issuer} <= members:
            raise InconsistentFlowsError(f"{flow} names a merchant that was not a member when {window} closed")
        if flow.points < 0:
            raise InconsistentFlowsError(f"{flow} moves fewer than no points")
        if flow.priced_on > last_day:
            raise InconsistentFlowsError(f"{flow} is priced on a day after {window}")


def _position(participant: MerchantId, owed: Sequence[Obligation]) -> Position:
    others = [each for each in owed if each.debtor != each.creditor]
    return Position(
        participant=participant,
        payable_minor=sum(each.amount_minor for each in others if each.debtor == participant),
        receivable_minor=sum(each.amount_minor for each in others if each.creditor == participant),
    )


def _merchant_statement(directory: Directory, alliance: AllianceStatement, merchant: MerchantId) -> MerchantStatement:
    """The alliance's statement as far as it concerns this merchant."""
    return MerchantStatement(
        period=alliance.period,
        merchant=merchant,
        legal_name=directory.merchants[merchant].legal_name,
        points=next(each for each in alliance.points if each.issuer == merchant),
        redeemed_from_me=tuple(each for each in alliance.redemptions if each.issuer == merchant),
        redeemed_at_me=tuple(each for each in alliance.redemptions if each.redeemer == merchant),
        obligations=tuple(each for each in alliance.obligations if merchant in (each.debtor, each.creditor)),
        bilateral=tuple(each for each in alliance.bilateral if merchant in (each.payer, each.payee)),
        position=next(each for each in alliance.positions if each.participant == merchant),
        payments=tuple(each for each in alliance.payments if merchant in (each.payer, each.payee)),
    )
