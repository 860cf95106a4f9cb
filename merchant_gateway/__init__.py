"""What stands between merchants' systems and the clearing house: the gRPC gateway, and the client library for it.

A merchant's system imports ``merchant_gateway.client``; ``merchant_gateway.server`` is the other end. Neither knows the
other: all they share is the contract in ``proto/clearing/v1``.
"""
