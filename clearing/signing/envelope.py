"""DSSE 1.0 envelopes: what exactly is signed, and checking who signed (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from clearing.contract.bounds import PAYLOAD_BYTES_MAX, SIGNATURES_MAX
from clearing.contract.decoding import has_unknown_fields
from clearing.errors import ErrorReason, Rejection
from clearing.model import KeyId
from clearing.signing.keys import SIGNATURE_BYTES, PrivateKey, SignatureCheck, signature_holds
from clearing.v1.envelope_pb2 import Envelope, Signature

PublicKeyOf = Callable[[KeyId], bytes | None]
"""The public key of a keyid; None where it is not known."""
SignatureHolds = Callable[[bytes, bytes, bytes], bool]
"""Whether, of public key, signed bytes and signature, the last is the first's over the second."""


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """The signed bytes: ``"DSSEv1" SP len(type) SP type SP len(body) SP body`` (DSSE 1.0 protocol)."""
    type_bytes = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(type_bytes), type_bytes, len(payload), payload)


def sign_envelope(payload: bytes, payload_type: str, signers: Iterable[PrivateKey]) -> Envelope:
    """An envelope of this payload with each signer's signature."""
    signed = pre_authentication_encoding(payload_type, payload)
    signatures = [Signature(sig=signer.sign(signed), keyid=signer.key_id) for signer in signers]
    return Envelope(payload=payload, payload_type=payload_type, signatures=signatures)


def add_signature(envelope: Envelope, signer: PrivateKey) -> None:
    """Sign an envelope that others signed already."""
    signed = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    envelope.signatures.append(Signature(sig=signer.sign(signed), keyid=signer.key_id))


def check_shape(envelope: Envelope, payload_type: str) -> None:
    """Refuse with a ``Rejection`` an envelope that cannot be what it should be, before any signature is looked at."""
    if envelope.payload_type != payload_type:
        raise Rejection(
            ErrorReason.PAYLOAD_TYPE_MISMATCH,
            f"this call takes envelopes of the payload type {payload_type!r}",
            field="payload_type",
        )
    payload_bytes = len(envelope.payload)
    if not payload_bytes:
        raise Rejection(ErrorReason.MALFORMED_ENVELOPE, "the envelope has no payload", field="payload")
    if payload_bytes > PAYLOAD_BYTES_MAX:
        raise Rejection(
            ErrorReason.PAYLOAD_TOO_LARGE,
            f"the payload has {payload_bytes:,} bytes, and {PAYLOAD_BYTES_MAX:,} is the most; split it",
            field="payload",
        )
    signatures = len(envelope.signatures)
    if not 1 <= signatures <= SIGNATURES_MAX:
        raise Rejection(
            ErrorReason.MALFORMED_ENVELOPE, f"the envelope needs 1 to {SIGNATURES_MAX} signatures", field="signatures"
        )
    if signatures > 1 and len({signature.keyid for signature in envelope.signatures}) < signatures:
        raise Rejection(ErrorReason.MALFORMED_ENVELOPE, "a key signed the envelope twice", field="signatures")
    # Nobody signed such fields, and the log would carry them for ever.
    if has_unknown_fields(envelope):
        raise Rejection(
            ErrorReason.UNKNOWN_FIELDS,
            "the envelope holds fields that this gateway does not know; check the proto's version",
        )


def signers_among(
    envelope: Envelope, public_key_of: PublicKeyOf, holds: SignatureHolds = signature_holds
) -> tuple[tuple[KeyId, ...], tuple[Signature, ...]]:
    """The keys known to ``public_key_of`` that signed, and the signatures by keys it does not know.

    ``holds`` checks a signature, or knows already. Raises ``Rejection`` with BAD_SIGNATURE if a known key's signature
    does not hold over the exact bytes.
    """
    signed = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    known: list[KeyId] = []
    unknown: list[Signature] = []
    for signature in envelope.signatures:
        key_id = KeyId(signature.keyid)
        public_key = public_key_of(key_id)
        if public_key is None:
            unknown.append(signature)
            continue
        require_signature(public_key, signed, signature, holds)
        known.append(key_id)
    return tuple(known), tuple(unknown)


def signature_checks(envelope: Envelope, public_key_of: PublicKeyOf) -> list[SignatureCheck]:
    """What ``signers_among`` will check of this envelope."""
    signed = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    checks: list[SignatureCheck] = []
    for signature in envelope.signatures:
        public_key = public_key_of(KeyId(signature.keyid))
        if public_key is not None:
            checks.append((public_key, signed, signature.sig))
    return checks


def require_signature(
    public_key: bytes, signed: bytes, signature: Signature, holds: SignatureHolds = signature_holds
) -> None:
    """Refuse with BAD_SIGNATURE unless this is the key's signature over the bytes."""
    if len(signature.sig) != SIGNATURE_BYTES or not holds(public_key, signed, signature.sig):
        raise Rejection(
            ErrorReason.BAD_SIGNATURE,
            f"the signature of key {signature.keyid[:32]!r} is not that key's over these bytes; sign "
            '"DSSEv1", type and payload exactly as sent (docs/protocol.md)',
            field="signatures",
        )
