"""Addresses of gateways: host and port, and whether what is said there leaves the machine."""

from __future__ import annotations

import ipaddress

from clearing.errors import ClearingError


class AddressError(ClearingError):
    """The text is no address, or what would be sent there must not leave this machine."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``. Raises ``AddressError`` if it is not of that form."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise AddressError(f"{address!r} is no address; write host and port, such as 127.0.0.1:7070")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, whatever a name server says: ``localhost`` or an address of loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def require_plain_text_stays_here(address: str) -> None:
    """Raise ``AddressError`` unless the address is loopback, and if it is none."""
    host, _ = split_address(address)
    if not is_loopback(host):
        raise AddressError(
            f"{host} is not loopback, and without TLS whoever is on the way can read and change what is said: give "
            "certificates (docs/security.md), or say --insecure-plaintext (CLEARING_INSECURE_PLAINTEXT=true) where "
            "something else encrypts"
        )
