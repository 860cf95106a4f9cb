"""What every call begins with: who calls, over whose connection, and whether that is within the merchant's limits."""

from __future__ import annotations

import grpc

from clearing.authentication import SignedInstruction, SignedPresentment
from clearing.caller import Caller
from clearing.model import MerchantId
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.authentication import Authenticator


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
    authenticator.certificates.require_alliance(context)
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

    def presentment(self, envelope: Envelope) -> SignedPresentment:
        """The presentment in the call's next envelope. Raises ``Rejection``."""
        message = self._authenticator.presentment(envelope)
        merchant, transactions = message.presentment.merchant, len(message.presentment.transactions)
        if merchant in self._more_transactions:
            self._more_transactions[merchant] += transactions
        else:
            self._authenticator.certificates.require_merchant(self._context, merchant)
            self._authenticator.limiter.take_call(merchant, transactions)
            self._more_transactions[merchant] = 0
        return message

    def count(self) -> None:
        """Once all envelopes are authenticated, count against the limits what stood behind the first ones."""
        for merchant, transactions in self._more_transactions.items():
            if transactions:
                self._authenticator.limiter.take_more(merchant, transactions)
