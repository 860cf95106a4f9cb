"""The worked example of docs/protocol.md, made from the document's description alone.

`python -m tests.docs.refresh` writes it into docs/protocol-example.json and docs/protocol.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any

from tests.docs.by_hand_log import (
    checkpoint_text,
    consistency_path,
    inclusion_path,
    key_hash,
    leaf_hash,
    note,
    root,
    vkey,
)
from tests.docs.by_hand_wire import (
    INSTRUCTION_TYPE,
    PRESENTMENT_TYPE,
    Key,
    card_token,
    content_digest,
    data,
    envelope,
    number,
    present_bytes,
    present_number,
    signed_bytes,
    timestamp,
    token,
    zigzag,
)

ORIGIN = "clearing.example/protocol"
MERCHANT_KEY = Key(bytes(range(0x20)))
OPERATOR_KEY = Key(bytes(range(0x20, 0x40)))
LOG_KEY = Key(bytes(range(0x40, 0x60)))
CARD_BITS = bytes.fromhex("00112233445566778899aabbccddeeff")
CARD = card_token(CARD_BITS)
CUSTOMER_SECRET = bytes(range(0x60, 0x80))
CUSTOMER = "customer-4711"

MIDNIGHT = 1_772_409_600_000_000
"""2026-03-02T00:00:00Z in microseconds since 1970."""
DAY = 86_400_000_000
ACCEPTED, INSUFFICIENT_POINTS = 1, 11


def at(time_of_day: str) -> int:
    """A time of 2026-03-02 in UTC, such as 09:15:30.250000, in microseconds since 1970."""
    hours, minutes, seconds, microseconds = map(int, re.split(r"[:.]", time_of_day))
    return MIDNIGHT + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + microseconds


@dataclass(frozen=True, slots=True)
class Entry:
    """One message on its way into the log."""

    payload_type: str
    payload: bytes
    keys: list[Key]
    digests: list[bytes]
    accepted_at: int
    results: bytes
    """The results behind accepted_at."""
    last_instruction: int
    """The index of the last instruction before it; the month's first entry is entry 0 for all of them."""

    @property
    def envelope(self) -> bytes:
        return envelope(self.payload_type, self.payload, self.keys)

    @property
    def leaf(self) -> bytes:
        return (
            present_bytes(1, self.envelope)
            + timestamp(2, self.accepted_at)
            + self.results
            + number(5, self.last_instruction)
        )


def founding(issued_at: str, accepted_at: str, reference: str, action: bytes) -> Entry:
    """The one instruction that names no log and has no end."""
    origin, rest = data(1, ORIGIN), data(3, reference) + action
    return Entry(
        payload_type=INSTRUCTION_TYPE,
        payload=origin + timestamp(2, at(issued_at)) + rest,
        keys=[OPERATOR_KEY],
        digests=[content_digest(origin + rest)],
        accepted_at=at(accepted_at),
        results=present_bytes(4, number(1, ACCEPTED)),
        last_instruction=0,
    )


def instruction(
    issued_at: str, accepted_at: str, reference: str, last_instruction: int, action: bytes, *more_keys: Key
) -> Entry:
    origin, named = data(1, ORIGIN), data(3, reference) + data(4, LOG_ID)
    expires_at = timestamp(5, at(issued_at) + DAY)
    return Entry(
        payload_type=INSTRUCTION_TYPE,
        payload=origin + timestamp(2, at(issued_at)) + named + expires_at + action,
        keys=[OPERATOR_KEY, *more_keys],
        digests=[content_digest(origin + named + action)],
        accepted_at=at(accepted_at),
        results=present_bytes(4, number(1, ACCEPTED)),
        last_instruction=last_instruction,
    )


def presentment(presented_at: str, accepted_at: str, transactions: list[bytes], results: list[bytes]) -> Entry:
    return Entry(
        payload_type=PRESENTMENT_TYPE,
        payload=data(1, ORIGIN)
        + data(2, "bakery")
        + timestamp(3, at(presented_at))
        + b"".join(present_bytes(5, each) for each in transactions)
        + data(6, LOG_ID),
        keys=[MERCHANT_KEY],
        digests=[content_digest(each) for each in transactions],
        accepted_at=at(accepted_at),
        results=b"".join(present_bytes(3, each) for each in results),
        last_instruction=3,
    )


def transaction(reference: str, occurred_at: str, kind: bytes) -> bytes:
    till = 1
    return (
        data(1, reference)
        + data(2, CARD)
        + data(3, "bakery-1")
        + timestamp(4, at(occurred_at))
        + number(5, till)
        + kind
    )


def result(outcome: int, points: int, points_available: int, original_index: int | None = None) -> bytes:
    repeated = b"" if original_index is None else present_number(5, original_index)
    return number(1, outcome) + number(2, points) + number(3, points_available) + repeated


OPERATOR_REGISTRATION = data(1, OPERATOR_KEY.public_key) + number(2, 1) + data(4, "operator-1")
ZONE_OFFSETS = (
    number(1, zigzag(60))
    + present_bytes(2, timestamp(1, 1_774_746_000_000_000) + number(2, zigzag(120)))  # 2026-03-29T01:00:00Z
    + present_bytes(2, timestamp(1, 1_792_890_000_000_000) + number(2, zigzag(60)))  # 2026-10-25T01:00:00Z
    + timestamp(3, 1_803_945_600_000_000)  # 2027-03-02T00:00:00Z
)
FOUNDING = (
    data(1, "PTS")
    + data(2, "EUR")
    + number(3, 2)
    + data(4, "Europe/Berlin")
    + number(5, 1)  # issuer pays
    + number(6, 1)  # the system's clock
    + data(7, vkey(ORIGIN, LOG_KEY.public_key))
    + present_bytes(8, OPERATOR_REGISTRATION)
    + number(10, 12)
    + number(11, 7)
    + data(12, "0.0100")
    + data(13, "0.0090")
    + number(14, 1)
    + present_bytes(15, ZONE_OFFSETS)
    + number(20, 1)
)
TILL_REGISTRATION = data(1, MERCHANT_KEY.public_key) + number(2, 4) + data(3, "bakery") + data(4, "bakery-till")
EARN = transaction("till-1-000002", "09:15:04.000000", present_bytes(11, number(1, 120) + present_number(2, 1_250)))

FOUNDING_ENTRY = founding("08:00:00.000000", "08:00:00.125000", "found", present_bytes(10, FOUNDING))
LOG_ID = leaf_hash(FOUNDING_ENTRY.leaf)[:16]
ENTRIES = {
    "founding": FOUNDING_ENTRY,
    "admit_merchant": instruction(
        "08:01:00.000000",
        "08:01:00.125000",
        "admit-bakery",
        0,
        present_bytes(11, data(1, "bakery") + data(2, "Example Bakery Ltd")),
    ),
    "open_store": instruction(
        "08:02:00.000000",
        "08:02:00.125000",
        "open-bakery-1",
        1,
        present_bytes(12, data(1, "bakery") + data(2, "bakery-1")),
    ),
    "register_key": instruction(
        "08:03:00.000000",
        "08:03:00.125000",
        "register-bakery-till",
        2,
        present_bytes(13, TILL_REGISTRATION),
        MERCHANT_KEY,
    ),
    "presentment": presentment(
        "09:15:30.250000",
        "09:15:30.412345",
        [transaction("till-1-000001", "09:15:02.500000", present_bytes(10, b"")), EARN],
        [result(ACCEPTED, 0, 0), result(ACCEPTED, 120, 120)],
    ),
    "mixed_presentment": presentment(
        "09:20:00.000000",
        "09:20:00.098765",
        [
            EARN,
            transaction("till-1-000003", "09:19:58.000000", present_bytes(12, number(1, 50))),
            transaction("till-1-000004", "09:19:59.000000", present_bytes(12, number(1, 500))),
        ],
        [result(ACCEPTED, 120, 120, original_index=4), result(ACCEPTED, 50, 70), result(INSUFFICIENT_POINTS, 0, 70)],
    ),
}
LEAVES = [leaf_hash(entry.leaf) for entry in ENTRIES.values()]


def checkpoint(size: int) -> dict[str, str]:
    text = checkpoint_text(ORIGIN, size, root(LEAVES[:size]))
    return {"root": root(LEAVES[:size]).hex(), "text": text, "note": note(ORIGIN, text, LOG_KEY)}


def receipt(index: int, size: int, *, replayed: bool = False) -> bytes:
    """A Receipt of an entry under the checkpoint of this size."""
    return (
        data(1, list(ENTRIES.values())[index].leaf)
        + number(2, index)
        + b"".join(present_bytes(3, each) for each in inclusion_path(LEAVES[:size], index))
        + data(4, checkpoint(size)["note"])
        + number(5, replayed)
    )


def entry_values(index: int, entry: Entry) -> dict[str, Any]:
    signed = signed_bytes(entry.payload_type, entry.payload)
    return {
        "index": index,
        "payload_type": entry.payload_type,
        "payload": entry.payload.hex(),
        "signed_bytes": signed.hex(),
        "signatures": [{"keyid": key.keyid, "sig": key.sign(signed).hex()} for key in entry.keys],
        "content_digests": [each.hex() for each in entry.digests],
        "envelope": entry.envelope.hex(),
        "entry": entry.leaf.hex(),
        "leaf_hash": leaf_hash(entry.leaf).hex(),
    }


def key_values(key: Key) -> dict[str, str]:
    return {"seed": key.seed.hex(), "public_key": key.public_key.hex(), "keyid": key.keyid}


def proof_file(index: int, size: int) -> str:
    path = [base64.b64encode(each).decode() for each in inclusion_path(LEAVES[:size], index)]
    return "\n".join(["c2sp.org/tlog-proof@v1", f"index {index}", *path, "", checkpoint(size)["note"]])


def bundle(leaves: list[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in leaves)


def token_values() -> dict[str, Any]:
    header = {"alg": "EdDSA", "typ": "JWT", "kid": MERCHANT_KEY.keyid}
    issued_at = at("09:30:00.000000") // 1_000_000
    claims: dict[str, str | int] = {
        "iss": MERCHANT_KEY.keyid,
        "aud": ORIGIN,
        "iat": issued_at,
        "exp": issued_at + 60,
    }
    signed = token(MERCHANT_KEY, header, claims)
    return {"header": header, "claims": claims, "signing_input": signed.rpartition(".")[0], "token": signed}


def example() -> dict[str, Any]:
    """Every value of the worked example; bytes are hexadecimal."""
    derived = hmac.digest(CUSTOMER_SECRET, CUSTOMER.encode(), hashlib.sha256)[:16]
    return {
        "origin": ORIGIN,
        "log_id": LOG_ID.hex(),
        "keys": {
            "merchant": key_values(MERCHANT_KEY),
            "operator": key_values(OPERATOR_KEY),
            "log": {
                "seed": LOG_KEY.seed.hex(),
                "public_key": LOG_KEY.public_key.hex(),
                "key_hash": key_hash(ORIGIN, LOG_KEY.public_key).hex(),
                "vkey": vkey(ORIGIN, LOG_KEY.public_key),
            },
        },
        "card": {"bits": CARD_BITS.hex(), "token": CARD},
        "derived_card": {
            "secret": CUSTOMER_SECRET.hex(),
            "customer": CUSTOMER,
            "token": card_token(derived),
        },
        "entries": {name: entry_values(index, entry) for index, (name, entry) in enumerate(ENTRIES.items())},
        "checkpoints": {"5": checkpoint(5), "6": checkpoint(6)},
        "inclusion_paths": {
            "entry_4_of_5": [each.hex() for each in inclusion_path(LEAVES[:5], 4)],
            "entry_4_of_6": [each.hex() for each in inclusion_path(LEAVES, 4)],
            "entry_5_of_6": [each.hex() for each in inclusion_path(LEAVES, 5)],
        },
        "consistency_path_5_to_6": [each.hex() for each in consistency_path(LEAVES, 5)],
        "receipts": {
            "presentment": receipt(4, 5).hex(),
            "mixed_presentment": receipt(5, 6).hex(),
            "presentment_again": receipt(4, 6, replayed=True).hex(),
        },
        "submit": {
            "request": present_bytes(1, ENTRIES["presentment"].envelope).hex(),
            "response": present_bytes(1, receipt(4, 5)).hex(),
        },
        "token": token_values(),
        "proof_file": proof_file(4, 6),
        "export": {
            "checkpoint": checkpoint(6)["note"],
            "tile/0/000.p/6": b"".join(LEAVES).hex(),
            "tile/entries/000.p/6": bundle([entry.leaf for entry in ENTRIES.values()]).hex(),
        },
    }
