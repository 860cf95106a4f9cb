"""Each member's share of the alliance's statement, found by one pass over it however many members there are."""

from __future__ import annotations

from collections import defaultdict

from clearing.model import MerchantId, Payment
from clearing.rules.directory import Merchant
from settlement.v1.netting import BilateralNet
from settlement.v1.obligations import Obligation
from settlement.v1.points import Redemption
from settlement.v1.statements import AllianceStatement, MerchantStatement


class Shares:
    """The parts of one alliance statement by the members whom they concern, each in the statement's order."""

    def __init__(self, alliance: AllianceStatement) -> None:
        self._period = alliance.period
        self._points = {each.issuer: each for each in alliance.points}
        self._positions = {each.participant: each for each in alliance.positions}
        self._by_issuer: defaultdict[MerchantId, list[Redemption]] = defaultdict(list)
        self._by_redeemer: defaultdict[MerchantId, list[Redemption]] = defaultdict(list)
        self._obligations: defaultdict[MerchantId, list[Obligation]] = defaultdict(list)
        self._nets: defaultdict[MerchantId, list[BilateralNet]] = defaultdict(list)
        self._payments: defaultdict[MerchantId, list[Payment]] = defaultdict(list)
        for redemption in alliance.redemptions:
            self._by_issuer[redemption.issuer].append(redemption)
            self._by_redeemer[redemption.redeemer].append(redemption)
        for obligation in alliance.obligations:
            # Who redeems its own points is both, and sees the obligation once.
            for who in {obligation.debtor, obligation.creditor}:
                self._obligations[who].append(obligation)
        for net in alliance.bilateral:
            self._nets[net.payer].append(net)
            self._nets[net.payee].append(net)
        for payment in alliance.payments:
            self._payments[payment.payer].append(payment)
            self._payments[payment.payee].append(payment)

    def statement(self, merchant: Merchant) -> MerchantStatement:
        """The member's statement."""
        who = merchant.merchant
        return MerchantStatement(
            period=self._period,
            merchant=who,
            legal_name=merchant.legal_name,
            points=self._points[who],
            redeemed_from_me=tuple(self._by_issuer[who]),
            redeemed_at_me=tuple(self._by_redeemer[who]),
            obligations=tuple(self._obligations[who]),
            bilateral=tuple(self._nets[who]),
            position=self._positions[who],
            payments=tuple(self._payments[who]),
        )
