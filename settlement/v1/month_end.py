"""Month end: settle one closed window.

The way of a window, each step in one place:

1. range       the closed window fixes the entries; the caller sums their postings to flows
2. points      each issuer's account from opening to closing, and who redeemed whose points   ``points``
3. obligations points times price, rounded once each                                          ``obligations``
4. netting     positions, which sum to zero, and the fewest payments that settle them          ``netting``
5. statements  one for the alliance, and each member's share of it                             ``shares``
6. proposal    the statements' digests in JSON, and the payments                               ``proposal``
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from clearing.calendar import first_day, month_end, next_window
from clearing.model import POOL, MerchantId, SettlementMethod, WindowId
from clearing.rules.directory import ClosedWindow, Directory
from clearing.rules.movements import Flow
from settlement.v1.errors import InconsistentFlowsError, WindowNotClosedError
from settlement.v1.netting import bilateral_nets, fewest_payments, positions
from settlement.v1.obligations import Obligation, obligations
from settlement.v1.points import PointsByMovement, issuer_points, moved_by_issuer, redemptions
from settlement.v1.report_json import statement_digests
from settlement.v1.shares import Shares
from settlement.v1.statements import AllianceStatement, Period, Position, Settlement

_ROOT_SIZE_BYTES = 32


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
        positions=_positions(net, owed),
        payments=fewest_payments(net),
    )
    shares = Shares(alliance)
    statements = tuple(shares.statement(directory.merchants[name]) for name in closed.merchants)
    digests = statement_digests(alliance, statements)
    return Settlement(alliance, statements, digests.alliance, digests.merchants)


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
        ends_at=directory.calendar.start_of_day(first_day(next_window(window))),
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
        if flow.issued_in > last_day:
            raise InconsistentFlowsError(f"{flow} was issued after {window}")


def _positions(participants: Iterable[MerchantId], owed: Iterable[Obligation]) -> tuple[Position, ...]:
    payable_minor: Counter[MerchantId] = Counter()
    receivable_minor: Counter[MerchantId] = Counter()
    for each in owed:
        if each.debtor != each.creditor:
            payable_minor[each.debtor] += each.amount_minor
            receivable_minor[each.creditor] += each.amount_minor
    return tuple(Position(name, payable_minor[name], receivable_minor[name]) for name in participants)
