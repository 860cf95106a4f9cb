"""Tokens for reads: a short-lived JSON Web Token (RFC 7519) that the reader's registered Ed25519 key signs (RFC 8037).

Header ``{"alg": "EdDSA", "typ": "JWT", "kid": keyid}``; claims ``iss`` (the keyid), ``aud`` (the alliance's origin),
``iat`` and ``exp`` in whole seconds. It travels as ``authorization: Bearer <token>``. A token proves who reads; nothing
can be changed with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from clearing.errors import ErrorReason, Rejection
from clearing.model import MICROSECONDS_PER_SECOND, Instant, KeyId
from clearing.signing.keys import PrivateKey

ALGORITHM: Final = "EdDSA"
LIFETIME_SECONDS = 60
"""How long a token that we make lives: made for one call, so only as long as the call may take."""
LIFETIME_SECONDS_MAX = 300
"""Tokens that live longer are refused: whoever finds one in a log must find it worthless."""
CLOCK_TOLERANCE_SECONDS = 60
"""How far a reader's clock may run ahead."""
TOKEN_BYTES_MAX = 2_048

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
"""Three parts in base64url without padding; the last, 64 bytes, in its one spelling: four bits of it stay empty."""


def make_token(key: PrivateKey, origin: str, now: Instant, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """A token for reads of the alliance of this origin, signed by ``key``."""
    issued_at = now // MICROSECONDS_PER_SECOND
    claims = {"iss": key.key_id, "aud": origin, "iat": issued_at, "exp": issued_at + lifetime_seconds}
    signer = Ed25519PrivateKey.from_private_bytes(key.seed)
    return jwt.encode(claims, signer, algorithm=ALGORITHM, headers={"kid": key.key_id})


def read_token(token: str, origin: str, public_key_of: Callable[[KeyId], bytes | None], now: Instant) -> KeyId:
    """The keyid that signed the token. Whether that key is valid now, and may read this, the caller checks.

    Raises ``Rejection`` with UNKNOWN_KEY if ``public_key_of`` does not know the key, with TOKEN_EXPIRED, and with
    BAD_TOKEN for all else.
    """
    if len(token) > TOKEN_BYTES_MAX:
        _refuse(f"it is longer than {TOKEN_BYTES_MAX:,} bytes")
    key_id = _key_id(token)
    public_key = public_key_of(key_id)
    if public_key is None:
        raise Rejection(
            ErrorReason.UNKNOWN_KEY,
            f"the token is of key {key_id[:32]!r}, which is not registered; have the operator register it",
        )
    claims = _verified_claims(token, origin, public_key)
    if claims["iss"] != key_id:
        _refuse("its iss is not its kid; both are the keyid of the key that signs")
    _check_times(claims, now)
    return key_id


def _key_id(token: str) -> KeyId:
    """The key the token says it is of; nothing of it is verified yet."""
    if not _TOKEN.fullmatch(token):
        _refuse("it is not three parts in base64url, joined by dots, the last of them an Ed25519 signature")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        _refuse(f"it is not a JSON Web Token ({error})")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or header.get("alg") != ALGORITHM:
        _refuse(f"its header must have the alg {ALGORITHM} and the keyid as kid")
    return KeyId(key_id)


def _verified_claims(token: str, origin: str, public_key: bytes) -> dict[str, Any]:
    """The claims, once signature and audience hold. Times are left to ``_check_times``: the clock is injected."""
    try:
        return jwt.decode(
            token,
            Ed25519PublicKey.from_public_bytes(public_key),
            algorithms=[ALGORITHM],
            audience=origin,
            options={
                "require": ["iss", "aud", "iat", "exp"],
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.InvalidSignatureError:
        _refuse("its signature is not that key's")
    except jwt.InvalidAudienceError:
        _refuse(f"its aud must be this alliance's origin, {origin!r}")
    except (jwt.PyJWTError, ValueError) as error:
        # ValueError: PyJWT lets some malformed content through to the JSON and number parsers.
        _refuse(str(error))


def _check_times(claims: dict[str, Any], now: Instant) -> None:
    issued_at, expires_at, not_before = claims["iat"], claims["exp"], claims.get("nbf", 0)
    # Exactly int: True is an int too, and a fraction of a second has no place here.
    if not all(type(moment) is int for moment in (issued_at, expires_at, not_before)):
        _refuse("its iat and exp, and nbf where it has one, must be whole seconds since 1970")
    now_seconds = now // MICROSECONDS_PER_SECOND
    if not 0 < expires_at - issued_at <= LIFETIME_SECONDS_MAX:
        _refuse(f"it must live 1 to {LIFETIME_SECONDS_MAX} seconds, from iat to exp")
    if max(issued_at, not_before) > now_seconds + CLOCK_TOLERANCE_SECONDS:
        _refuse("it is from the future; set the clock of the system that made it")
    if expires_at <= now_seconds:
        raise Rejection(
            ErrorReason.TOKEN_EXPIRED, f"the token expired {now_seconds - expires_at:,} seconds ago; sign a new one"
        )


def _refuse(why: str) -> NoReturn:
    raise Rejection(ErrorReason.BAD_TOKEN, f"the token does not hold: {why} (docs/protocol.md)") from None
