"""The two text encodings that notes, checkpoints and proofs share, each with exactly one spelling per value.

A lenient decoder would accept several texts for one value; two parties could then hold different bytes
of "the same" proof. Both parsers therefore accept only what the encoder writes.
"""

import base64
import binascii

LARGEST_INDEX = 2**64 - 1


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 §4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Decode standard base64 with padding (RFC 4648 §4); raise ValueError for any other spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not standard base64") from error
    if encode_base64(data) != text:
        # Unused trailing bits that are not zero: decodable, but a second spelling of the same bytes.
        raise ValueError("it is not the canonical base64 of its bytes")
    return data


def parse_decimal(text: str) -> int:
    """Read an ASCII decimal without sign or leading zeros, at most 2^64 - 1; raise ValueError otherwise."""
    # The length is bounded before int() sees it: int() is slow on, and refuses, very long digit strings.
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise ValueError("it is not a decimal number of at most 20 digits")
    if text[0] == "0" and text != "0":
        raise ValueError("it has leading zeros")
    value = int(text)
    if value > LARGEST_INDEX:
        raise ValueError("it is larger than 2^64 - 1")
    return value
