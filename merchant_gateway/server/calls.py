"""What every call begins with: who calls, over whose connection, and whether that is within the merchant's limits."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from clearing.deciding.authentication import SignedInstruction, SignedPresentment
from clearing.deciding.caller import Caller
from clearing.errors import Rejection
from clearing.model import MerchantId
from clearing.signing.envelope import signature_checks
from clearing.signing.keys import SignatureCheck, signature_holds
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.server.authentication import Authenticator

CHECKED_TOGETHER_MIN = 8
"""Envelopes in a call from which on their signatures are checked together, but for the first one's. Handing them over
has a cost of its own."""


def caller_of(context: grpc.ServicerContext, authenticator: Authenticator) -> Caller:
    """The caller whose token the call's metadata carries. Raises ``Rejection``."""
    metadata = dict(context.invocation_metadata())
    authorization = metadata.get("authorization")
    caller = authenticator.caller(str(authorization) if authorization is not None else None)
    authenticator.certificates.require_caller(context, caller)
    if caller.merchant is not None:
        authenticator.limiter.take_call(caller.merchant)
    return caller


def instruction_of(
    envelope: Envelope, context: grpc.ServicerContext, authenticator: Authenticator
) -> SignedInstruction:
    """The instruction that the call carries. Raises ``Rejection``."""
    message = authenticator.instruction(envelope)
    merchant = message.instruction.merchant
    if merchant is None:
        authenticator.certificates.require_alliance(context)
    else:
        authenticator.certificates.require_merchant(context, merchant)
        authenticator.limiter.take_call(merchant)
    return message


class PresentmentCall:
    """A call that presents envelopes: of one merchant, or of several whom a system forwards for.

    A merchant is let in with its first envelope, before the others are verified: refusing is cheap.
    """

    def __init__(self, context: grpc.ServicerContext, authenticator: Authenticator) -> None:
        self._context = context
        self._authenticator = authenticator
        self._more_transactions: dict[MerchantId, int] = {}
        """Of each merchant that is let in: those behind its first envelope."""
        self._checked: set[SignatureCheck] = set()
        """Signatures that are known to hold."""

    def presentments(self, envelopes: Sequence[Envelope]) -> list[SignedPresentment]:
        """The presentments in the call's envelopes. Raises ``Rejection``, naming the envelope's place."""
        messages: list[SignedPresentment] = []
        for index, envelope in enumerate(envelopes):
            if index == 1 and len(envelopes) >= CHECKED_TOGETHER_MIN:
                self._check_together(envelopes[1:])
            try:
                messages.append(self._presentment(envelope))
            except Rejection as rejection:
                raise rejection.of_envelope(index) from None
        self._count()
        return messages

    def _check_together(self, envelopes: Sequence[Envelope]) -> None:
        """Check the signatures of these ahead, up to the first that does not hold, and remember those that do."""
        public_key_of = self._authenticator.directory().public_key
        checks = [check for envelope in envelopes for check in signature_checks(envelope, public_key_of)]
        self._checked.update(checks[: self._authenticator.leading_that_hold(checks)])

    def _holds(self, public_key: bytes, signed: bytes, signature: bytes) -> bool:
        return (public_key, signed, signature) in self._checked or signature_holds(public_key, signed, signature)

    def _presentment(self, envelope: Envelope) -> SignedPresentment:
        message = self._authenticator.presentment(envelope, self._holds)
        merchant, transactions = message.presentment.merchant, len(message.presentment.transactions)
        if merchant in self._more_transactions:
            self._more_transactions[merchant] += transactions
        else:
            self._authenticator.certificates.require_merchant(self._context, merchant)
            self._authenticator.limiter.take_call(merchant, transactions)
            self._more_transactions[merchant] = 0
        return message

    def _count(self) -> None:
        """Once all envelopes are authenticated, count against the limits what stood behind the first ones."""
        for merchant, transactions in self._more_transactions.items():
            if transactions:
                self._authenticator.limiter.take_more(merchant, transactions)
