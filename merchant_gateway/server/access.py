"""Who may connect to a gateway, how, and how much each merchant may ask for."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from merchant_gateway.server.limits import MerchantLimits


@dataclass(frozen=True, slots=True)
class Access:
    """As it stands, for loopback only: without encryption, and without clients' certificates."""

    credentials: grpc.ServerCredentials | None = None
    """The server's for TLS; None: plain text."""
    client_certificates: bool = False
    """Whether the credentials let only clients in that show a certificate, which then must name who signs."""
    insecure_plaintext: bool = False
    """Whether plain text may leave the machine."""
    limits: MerchantLimits = field(default_factory=MerchantLimits)
