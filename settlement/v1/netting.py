"""Netting: from obligations to positions, and from positions to the fewest payments.

Bilateral: what remains between two participants when each sets off what the other owes it. Multilateral: a
participant's position is all it is owed less all it owes; the payments settle the positions, not the obligations.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clearing.errors import require_identity
from clearing.model import MerchantId, Payment
from settlement.v1.obligations import Obligation

EXACT_SEARCH_MAX = 18
"""Positions, after exactly opposite ones are paired, up to which the fewest payments are found for certain.

Each one more doubles the work; 18 take a tenth of a second.
"""


@dataclass(frozen=True, slots=True)
class BilateralNet:
    """What remains between two participants after setting off. No ``payer`` owes itself."""

    payer: MerchantId
    payee: MerchantId
    owed_minor: int
    """Minor units that the payer owes the payee."""
    owed_back_minor: int
    """Minor units that the payee owes the payer."""

    @property
    def amount_minor(self) -> int:
        """Minor units that remain for the payer to pay; never negative."""
        return self.owed_minor - self.owed_back_minor


_Position = tuple[int, MerchantId]
"""Minor units and whose they are."""


def positions(obligations: Iterable[Obligation], participants: Iterable[MerchantId] = ()) -> dict[MerchantId, int]:
    """Each participant's receivables less its payables in minor units, by name. They sum to zero.

    ``participants`` are listed even where nothing is owed.
    """
    net = dict.fromkeys(participants, 0)
    for obligation in obligations:
        net[obligation.debtor] = net.get(obligation.debtor, 0) - obligation.amount_minor
        net[obligation.creditor] = net.get(obligation.creditor, 0) + obligation.amount_minor
    require_identity(sum(net.values()) == 0, "what one is owed another owes")
    return dict(sorted(net.items()))


def bilateral_nets(obligations: Iterable[Obligation]) -> tuple[BilateralNet, ...]:
    """The net of each pair that owes anything either way, ordered by payer and payee. Nobody owes itself."""
    owed: defaultdict[tuple[MerchantId, MerchantId], int] = defaultdict(int)
    for obligation in obligations:
        if obligation.debtor != obligation.creditor:
            owed[obligation.debtor, obligation.creditor] += obligation.amount_minor
    nets = []
    for first, second in {(min(pair), max(pair)) for pair in owed}:
        there, back = owed.get((first, second), 0), owed.get((second, first), 0)
        nets.append(
            BilateralNet(first, second, there, back) if there >= back else BilateralNet(second, first, back, there)
        )
    return tuple(sorted(nets, key=lambda net: (net.payer, net.payee)))


def fewest_payments(positions: Mapping[MerchantId, int]) -> tuple[Payment, ...]:
    """Payments that settle the positions exactly, ordered by payer and payee; the same for equal positions.

    A group of participants whose positions sum to zero settles among itself with one payment fewer than it has
    members, so the fewest payments come from the most groups. Exactly opposite positions make a pair of their own in
    some best grouping, so they are paired first. The rest, up to ``EXACT_SEARCH_MAX`` positions, is searched
    completely: the result is a minimum. A larger rest is settled as one group: few payments, perhaps not the fewest,
    and always fewer than there are positions that are not zero.

    Raises ``ValueError`` if the positions do not sum to zero.
    """
    if sum(positions.values()) != 0:
        raise ValueError("positions must sum to zero")
    rest = sorted((amount, name) for name, amount in positions.items() if amount != 0)
    groups, rest = _opposite_pairs(rest)
    if len(rest) <= EXACT_SEARCH_MAX:
        groups += _most_zero_sum_groups(rest)
    elif rest:
        groups.append(rest)
    return tuple(sorted(payment for group in groups for payment in _settle_group(group)))


def _opposite_pairs(ordered: list[_Position]) -> tuple[list[list[_Position]], list[_Position]]:
    """Pairs that cancel exactly, and what is left."""
    pairs: list[list[_Position]] = []
    left: list[_Position] = []
    payers: defaultdict[int, deque[_Position]] = defaultdict(deque)
    for position in ordered:
        if position[0] < 0:
            payers[-position[0]].append(position)
    for position in ordered:
        if position[0] > 0:
            if payers[position[0]]:
                pairs.append([payers[position[0]].popleft(), position])
            else:
                left.append(position)
    unpaired = [position for waiting in payers.values() for position in waiting]
    return pairs, sorted(unpaired + left)


def _most_zero_sum_groups(members: list[_Position]) -> list[list[_Position]]:
    """The members, who sum to zero, split into the most groups that each sum to zero.

    Think of the members leaving a line one after another: a group ends whenever those who have left sum to zero.
    ``most[mask]`` is how many groups end, in the best order, while the members in ``mask`` leave. The last member
    never enters a mask, because whatever the others leave over is the group it completes.
    """
    if not members:
        return []
    *searched, last = members
    sums = [0]
    for amount, _ in searched:
        sums += [total + amount for total in sums]
    if sums.count(0) == 1:
        return [members]  # The usual case: nothing but the empty set sums to zero.

    most = [0] * len(sums)
    for mask in range(1, len(sums)):
        best = 0
        remaining = mask
        while remaining:
            bit = remaining & -remaining
            remaining ^= bit
            if most[mask ^ bit] > best:
                best = most[mask ^ bit]
        most[mask] = best + 1 if sums[mask] == 0 else best

    groups = [[last]]
    mask = len(sums) - 1
    while mask:
        ends_group = sums[mask] == 0
        if ends_group:
            groups.append([])
        wanted = most[mask] - ends_group
        place = next(place for place in range(len(searched)) if mask >> place & 1 and most[mask ^ 1 << place] == wanted)
        groups[-1].append(searched[place])
        mask ^= 1 << place
    return groups


def _settle_group(group: list[_Position]) -> list[Payment]:
    """Payments within a group that sums to zero: the largest payer pays the largest payee, until all is paid."""
    # Heaps of what remains, negative so that the largest comes first; of equally large ones the first by name.
    to_pay = [(amount, name) for amount, name in group if amount < 0]
    to_receive = [(-amount, name) for amount, name in group if amount > 0]
    heapq.heapify(to_pay)
    heapq.heapify(to_receive)
    payments = []
    while to_pay:
        (left_to_pay, payer), (left_to_receive, payee) = heapq.heappop(to_pay), heapq.heappop(to_receive)
        amount = -max(left_to_pay, left_to_receive)
        payments.append(Payment(payer, payee, amount))
        if left_to_pay + amount:
            heapq.heappush(to_pay, (left_to_pay + amount, payer))
        if left_to_receive + amount:
            heapq.heappush(to_receive, (left_to_receive + amount, payee))
    return payments
