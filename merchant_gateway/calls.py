"""What every reading call begins with: who calls."""

from __future__ import annotations

import grpc

from clearing.caller import Caller
from merchant_gateway.authentication import Authenticator


def caller_of(context: grpc.ServicerContext, authenticator: Authenticator) -> Caller:
    """The caller whose token the call's metadata carries. Raises ``Rejection``."""
    metadata = dict(context.invocation_metadata())
    authorization = metadata.get("authorization")
    return authenticator.caller(str(authorization) if authorization is not None else None)
