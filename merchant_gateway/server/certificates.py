"""Whose connection it is: the identities in a client's certificate, where mutual TLS asks for one.

A certificate names them as URIs among its subject alternative names (RFC 5280 §4.2.1.6):
``urn:clearing:merchant:<identifier>`` for a merchant, several for a system that forwards for several, and
``urn:clearing:alliance`` for the alliance's own people, who sign as operator, finance or auditor. That the client holds
the certificate's key, and that the alliance's authority signed it, the handshake has shown.
"""

from __future__ import annotations

from typing import Any

import grpc

from clearing.deciding.caller import Caller
from clearing.errors import ErrorReason, Rejection
from clearing.model import MerchantId

MERCHANT_URI = "urn:clearing:merchant:"
"""And the merchant's identifier."""
ALLIANCE_URI = "urn:clearing:alliance"


class Certificates:
    """Compares who signed with whose certificate the connection has. Where clients show none, anybody passes."""

    def __init__(self, *, required: bool) -> None:
        """``required``: the server lets nobody in without a certificate."""
        self._required = required

    def require_merchant(self, context: grpc.ServicerContext, merchant: MerchantId) -> None:
        """Refuse with CERTIFICATE_MISMATCH unless the connection is this merchant's."""
        if self._required and f"{MERCHANT_URI}{merchant}".encode() not in _identities(context):
            raise Rejection(
                ErrorReason.CERTIFICATE_MISMATCH,
                f"the connection's certificate does not name {MERCHANT_URI}{merchant}, whose key signed; connect with "
                "that merchant's certificate",
            )

    def require_alliance(self, context: grpc.ServicerContext) -> None:
        """Refuse with CERTIFICATE_MISMATCH unless the connection is one of the alliance's own people."""
        if self._required and ALLIANCE_URI.encode() not in _identities(context):
            raise Rejection(
                ErrorReason.CERTIFICATE_MISMATCH,
                f"the connection's certificate does not name {ALLIANCE_URI}, as those of operators, finance and "
                "auditors do; connect with one that does",
            )

    def require_caller(self, context: grpc.ServicerContext, caller: Caller) -> None:
        """The same for whoever reads."""
        if caller.merchant is not None:
            self.require_merchant(context, caller.merchant)
        else:
            self.require_alliance(context)


def _identities(context: grpc.ServicerContext) -> frozenset[bytes]:
    """The URIs among the certificate's subject alternative names, as gRPC gives them after the handshake."""
    identities: Any = context.auth_context().get("peer_uri", ())  # a sequence of bytes, whatever the stubs say
    return frozenset(identities)
