"""What decoding a presentment and decoding an instruction have in common."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from clearing.contract.bounds import PAYLOAD_BYTES_MAX
from clearing.errors import ErrorReason, Rejection

MessageT = TypeVar("MessageT", bound=Message)


def parse_strictly(message: MessageT, payload: bytes) -> MessageT:
    """Fill ``message`` from exactly these bytes.

    Raises ``Rejection`` with PAYLOAD_TOO_LARGE, MALFORMED_PAYLOAD or UNKNOWN_FIELDS. A field that is not known is
    refused because what the signer meant by it would silently not be done.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise Rejection(
            ErrorReason.PAYLOAD_TOO_LARGE,
            f"the payload has {len(payload):,} bytes, and {PAYLOAD_BYTES_MAX:,} is the most; split it",
        )
    name = message.DESCRIPTOR.name
    try:
        message.ParseFromString(payload)
    except DecodeError:
        raise Rejection(
            ErrorReason.MALFORMED_PAYLOAD, f"the payload is not a serialised {name}, or is cut short"
        ) from None
    if has_unknown_fields(message):
        raise Rejection(
            ErrorReason.UNKNOWN_FIELDS,
            f"the {name} holds fields that this gateway does not know; check the proto's version",
        )
    return message


def has_unknown_fields(message: Message) -> bool:
    """Whether the message, or one within it, held fields that its type does not know; they are gone afterwards."""
    size_as_received = message.ByteSize()
    message.DiscardUnknownFields()
    return message.ByteSize() != size_as_received


def content_digest(message: Message) -> bytes:
    """First 16 bytes of the SHA-256 of the canonical form: fields in the order of their numbers, defaults left out."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()[:16]
