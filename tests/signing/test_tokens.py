"""Tokens for reads: what is accepted, and the one reason for each that is not."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import ErrorReason, Rejection
from clearing.model import Instant, KeyId
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token, read_token

ORIGIN = "clearing.example/alliance"
KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(32))
NOW_SECONDS = 1_767_700_000
NOW = Instant(NOW_SECONDS * 1_000_000 + 999_999)


def registered(key_id: KeyId) -> bytes | None:
    """The register of the alliance: one key."""
    return {KEY.key_id: KEY.public_key}.get(key_id)


def after(seconds: int) -> Instant:
    """So much later."""
    return Instant(NOW + seconds * 1_000_000)


def signed(key: PrivateKey = KEY, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token that is good but for these claims and header fields; ``None`` leaves a claim out."""
    good = {"iss": KEY.key_id, "aud": ORIGIN, "iat": NOW_SECONDS, "exp": NOW_SECONDS + 60}
    chosen = {name: value for name, value in (good | claims).items() if value is not None}
    signer = Ed25519PrivateKey.from_private_bytes(key.seed)
    return jwt.encode(chosen, signer, algorithm="EdDSA", headers={"kid": KEY.key_id} | (header or {}))


def reason(token: str, now: Instant = NOW) -> ErrorReason:
    """Why the token is refused."""
    with pytest.raises(Rejection) as raised:
        read_token(token, ORIGIN, registered, now)
    return raised.value.reason


def test_a_token_tells_whose_key_signed_it() -> None:
    assert read_token(make_token(KEY, ORIGIN, NOW), ORIGIN, registered, NOW) == KEY.key_id


def test_a_token_has_the_header_and_claims_of_the_contract() -> None:
    token = make_token(KEY, ORIGIN, NOW)
    header, claims = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
    )
    assert header == {"alg": "EdDSA", "typ": "JWT", "kid": KEY.key_id}
    assert claims == {"iss": KEY.key_id, "aud": ORIGIN, "iat": NOW_SECONDS, "exp": NOW_SECONDS + 60}


def test_a_token_holds_until_it_expires() -> None:
    token = make_token(KEY, ORIGIN, NOW)
    assert read_token(token, ORIGIN, registered, after(59)) == KEY.key_id
    assert reason(token, after(60)) is ErrorReason.TOKEN_EXPIRED


def test_a_clock_may_run_a_minute_ahead() -> None:
    assert read_token(make_token(KEY, ORIGIN, after(60)), ORIGIN, registered, NOW) == KEY.key_id
    assert reason(make_token(KEY, ORIGIN, after(61))) is ErrorReason.BAD_TOKEN


def test_a_token_may_live_five_minutes_and_no_longer() -> None:
    assert read_token(make_token(KEY, ORIGIN, NOW, 300), ORIGIN, registered, NOW) == KEY.key_id
    assert reason(make_token(KEY, ORIGIN, NOW, 301)) is ErrorReason.BAD_TOKEN


def test_a_key_that_is_not_registered_is_named() -> None:
    assert reason(make_token(OTHER, ORIGIN, NOW)) is ErrorReason.UNKNOWN_KEY


def test_a_token_of_another_alliance_is_refused() -> None:
    assert reason(make_token(KEY, "clearing.example/other", NOW)) is ErrorReason.BAD_TOKEN


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(signed(OTHER), id="another key's signature"),
        pytest.param(signed(iss=OTHER.key_id), id="iss is not kid"),
        pytest.param(signed(iss=None), id="no iss"),
        pytest.param(signed(aud=None), id="no aud"),
        pytest.param(signed(aud=[ORIGIN, "elsewhere"]), id="several aud"),
        pytest.param(signed(iat=None), id="no iat"),
        pytest.param(signed(exp=None), id="no exp"),
        pytest.param(signed(exp=NOW_SECONDS), id="no lifetime"),
        pytest.param(signed(exp=NOW_SECONDS - 1), id="ends before it begins"),
        pytest.param(signed(exp=10**30), id="lives for ever"),
        pytest.param(signed(exp=str(NOW_SECONDS + 60)), id="exp is text"),
        pytest.param(signed(exp=NOW_SECONDS + 0.5), id="exp is a fraction"),
        pytest.param(signed(iat=True, exp=30), id="iat is true"),
        pytest.param(signed(nbf=NOW_SECONDS + 120), id="not valid yet"),
        pytest.param(signed(nbf="soon"), id="nbf is text"),
        pytest.param(signed(header={"crit": ["b64"], "b64": False}), id="critical header"),
        pytest.param(signed()[:-2], id="signature cut short"),
        pytest.param(signed() + "A", id="signature too long"),
        pytest.param(signed() + "=", id="padding"),
        pytest.param(signed()[:-1] + chr(ord(signed()[-1]) + 1), id="signature in another spelling"),
        pytest.param(".".join(signed().split(".")[:2]) + ".", id="no signature"),
        pytest.param("", id="empty"),
        pytest.param("..", id="dots"),
        pytest.param("Bearer x", id="text"),
        pytest.param("é" * 40, id="not ASCII"),
        pytest.param("a" * 1_000_000, id="huge"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(token: str) -> None:
    assert reason(token) is ErrorReason.BAD_TOKEN


def test_an_error_does_not_repeat_the_token() -> None:
    token = signed(OTHER)
    with pytest.raises(Rejection) as raised:
        read_token(token, ORIGIN, registered, NOW)
    assert token.split(".")[2] not in raised.value.message


def test_other_algorithms_are_refused_even_with_the_public_key_as_secret() -> None:
    claims = {"iss": KEY.key_id, "aud": ORIGIN, "iat": NOW_SECONDS, "exp": NOW_SECONDS + 60}
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": KEY.key_id})
    symmetric = jwt.encode(claims, KEY.public_key, algorithm="HS256", headers={"kid": KEY.key_id})
    assert reason(unsigned) is ErrorReason.BAD_TOKEN
    assert reason(symmetric) is ErrorReason.BAD_TOKEN


@given(st.data())
def test_a_changed_token_is_refused_by_name(data: st.DataObject) -> None:
    token = make_token(KEY, ORIGIN, NOW)
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from("AQgw-_.=é\0").filter(lambda chosen: chosen != token[place]))
    assert reason(token[:place] + character + token[place + 1 :]) in (ErrorReason.BAD_TOKEN, ErrorReason.UNKNOWN_KEY)


@given(st.text())
def test_any_text_is_refused_by_name(text: str) -> None:
    assert reason(text + "!") is ErrorReason.BAD_TOKEN
