"""The worked example of docs/protocol.md, made by the project's own code."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from clearing.calendar import instant_of
from clearing.card_token import derived_token, token_of_bytes
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.entry import timestamp_of
from clearing.contract.log_identity import log_id_of
from clearing.contract.receipt import Receipt
from clearing.deciding.authentication import authenticate_founding, authenticate_instruction, authenticate_presentment
from clearing.deciding.decision import decide_founding_message
from clearing.log.checkpoint import open_checkpoint
from clearing.log.merkle import consistency_path, inclusion_path, leaf_hash
from clearing.log.note import Signer
from clearing.log.proof import format_proof
from clearing.log.tiles import entry_bundle, tile_path
from clearing.log.tree import RightEdge
from clearing.model import MICROSECONDS_PER_DAY, EntryIndex, Instant
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided
from clearing.signing.envelope import pre_authentication_encoding, sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import instruction_pb2, merchant_gateway_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from clearing.writer.batch import LogState, decide_batch
from merchant_gateway.client import transactions

ORIGIN = "clearing.example/protocol"
MERCHANT_KEY = PrivateKey(bytes(range(0x20)))
OPERATOR_KEY = PrivateKey(bytes(range(0x20, 0x40)))
LOG_SIGNER = Signer(ORIGIN, bytes(range(0x40, 0x60)))
CARD_BITS = bytes.fromhex("00112233445566778899aabbccddeeff")
CARD = token_of_bytes(CARD_BITS)
CUSTOMER_SECRET = bytes(range(0x60, 0x80))
CUSTOMER = "customer-4711"
STORE = "bakery-1"
TOKEN_TIME = "09:30:00"


def moment(time_of_day: str) -> datetime.datetime:
    """A time of the example's day."""
    return datetime.datetime.fromisoformat(f"2026-03-02T{time_of_day}+00:00")


def day(text: str) -> Instant:
    """The instant of a UTC time, such as 2026-03-29T01:00."""
    return instant_of(datetime.datetime.fromisoformat(f"{text}:00+00:00"))


def instant(time_of_day: str) -> Instant:
    """The same as an instant."""
    return instant_of(moment(time_of_day))


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the example, and the writer's time when it comes."""

    name: str
    envelope: Envelope
    accepted_at: Instant

    @property
    def content_digests(self) -> list[bytes]:
        """One of an instruction, one for each transaction of a presentment."""
        payload = self.envelope.payload
        if self.envelope.payload_type == instruction_contract.PAYLOAD_TYPE:
            return [instruction_contract.decode_instruction(payload).content_digest]
        presentment = presentment_contract.decode_presentment(payload)
        return [transaction.content_digest for transaction in presentment.transactions]


def messages() -> list[Message]:
    """The example's messages in the order of the log."""
    earn = transactions.earn("till-1-000002", CARD, STORE, 120, moment("09:15:04"), purchase_amount_minor=1_250)
    return [
        _instruction("founding", "08:00:00", "found", create_alliance=_founding()),
        _instruction(
            "admit_merchant",
            "08:01:00",
            "admit-bakery",
            admit_merchant=instruction_pb2.AdmitMerchant(merchant="bakery", legal_name="Example Bakery Ltd"),
        ),
        _instruction(
            "open_store",
            "08:02:00",
            "open-bakery-1",
            open_store=instruction_pb2.OpenStore(merchant="bakery", store=STORE),
        ),
        _instruction(
            "register_key",
            "08:03:00",
            "register-bakery-till",
            MERCHANT_KEY,
            register_key=instruction_pb2.RegisterKey(
                public_key=MERCHANT_KEY.public_key,
                role=instruction_pb2.ROLE_MERCHANT,
                merchant="bakery",
                holder="bakery-till",
            ),
        ),
        _presentment(
            "presentment",
            "09:15:30.250000",
            "09:15:30.412345",
            [transactions.open_card("till-1-000001", CARD, STORE, moment("09:15:02.500000")), earn],
        ),
        _presentment(
            "mixed_presentment",
            "09:20:00",
            "09:20:00.098765",
            [
                earn,
                transactions.burn("till-1-000003", CARD, STORE, 50, moment("09:19:58")),
                transactions.burn("till-1-000004", CARD, STORE, 500, moment("09:19:59")),
            ],
        ),
    ]


@cache
def log_id() -> bytes:
    """Of the example's log: its first entry follows from the founding alone."""
    message = _instruction("founding", "08:00:00", "found", create_alliance=_founding())
    signed = authenticate_founding(message.envelope)
    return log_id_of(decide_founding_message(signed, message.accepted_at).leaf)


def _founding() -> instruction_pb2.CreateAlliance:
    operator = instruction_pb2.RegisterKey(
        public_key=OPERATOR_KEY.public_key, role=instruction_pb2.ROLE_OPERATOR, holder="operator-1"
    )
    return instruction_pb2.CreateAlliance(
        unit="PTS",
        currency="EUR",
        currency_decimals=2,
        time_zone="Europe/Berlin",
        zone_offsets=instruction_pb2.ZoneOffsets(
            offset_minutes=60,
            changes=[
                instruction_pb2.OffsetChange(at=timestamp_of(day("2026-03-29T01:00")), offset_minutes=120),
                instruction_pb2.OffsetChange(at=timestamp_of(day("2026-10-25T01:00")), offset_minutes=60),
            ],
            known_until=timestamp_of(day("2027-03-02T00:00")),
        ),
        settlement_method=instruction_pb2.SETTLEMENT_METHOD_ISSUER_PAYS,
        clock=instruction_pb2.CLOCK_SYSTEM,
        log_verifier=LOG_SIGNER.vkey,
        operator_keys=[operator],
        lot_lifetime_months=12,
        late_presentment_days=7,
        issuance_price="0.0100",
        redemption_price="0.0090",
        rules_version=1,
        notice_days=0,
        settlement_version=1,
    )


def _instruction(name: str, issued_at: str, reference: str, *more_keys: PrivateKey, **action: Any) -> Message:
    at = instant(issued_at)
    message = instruction_pb2.Instruction(origin=ORIGIN, issued_at=timestamp_of(at), reference=reference, **action)
    if name != "founding":
        message.log_id = log_id()
        message.expires_at.CopyFrom(timestamp_of(Instant(at + MICROSECONDS_PER_DAY)))
    payload = message.SerializeToString(deterministic=True)
    envelope = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [OPERATOR_KEY, *more_keys])
    return Message(name, envelope, instant(f"{issued_at}.125000"))


def _presentment(
    name: str, presented_at: str, accepted_at: str, contents: Sequence[presentment_pb2.Transaction]
) -> Message:
    payload = presentment_pb2.Presentment(
        origin=ORIGIN,
        log_id=log_id(),
        merchant="bakery",
        presented_at=timestamp_of(instant(presented_at)),
        transactions=contents,
    ).SerializeToString(deterministic=True)
    envelope = sign_envelope(payload, presentment_contract.PAYLOAD_TYPE, [MERCHANT_KEY])
    return Message(name, envelope, instant(accepted_at))


class ExampleLog:
    """The example's messages decided one after another, as the writer does, each as a batch of its own."""

    def __init__(self) -> None:
        self._state = LogState(None, RightEdge.empty(), None)
        self._ledger = Ledger()
        self.leaves: list[bytes] = []
        self.checkpoints: dict[int, str] = {}
        for message in messages():
            self._decide(message)

    @property
    def leaf_hashes(self) -> list[bytes]:
        """Hashes of all entries."""
        return [leaf_hash(leaf) for leaf in self.leaves]

    def receipt(self, index: int, size: int, *, replayed: bool = False) -> Receipt:
        """The receipt of an entry under the checkpoint of this size."""
        path = tuple(inclusion_path(self.leaf_hashes, index, size))
        return Receipt(self.leaves[index], EntryIndex(index), path, self.checkpoints[size], replayed)

    def answer_again(self, name: str) -> EntryIndex:
        """The entry that answers a message that is sent once more."""
        message = next(each for each in messages() if each.name == name)
        assert self._state.directory is not None
        signed = authenticate_presentment(message.envelope, self._state.directory)
        (answer,) = decide_batch(self._state, self._ledger, [signed], message.accepted_at, LOG_SIGNER).answers
        assert isinstance(answer, AlreadyDecided)
        return answer.entry_index

    def _decide(self, message: Message) -> None:
        directory = self._state.directory
        if directory is None:
            signed: Any = authenticate_founding(message.envelope)
        elif message.envelope.payload_type == instruction_contract.PAYLOAD_TYPE:
            signed = authenticate_instruction(message.envelope, directory)
        else:
            signed = authenticate_presentment(message.envelope, directory)
        decided = decide_batch(self._state, self._ledger, [signed], message.accepted_at, LOG_SIGNER)
        self._state = decided.state
        self.leaves.extend(entry.leaf for entry in decided.entries)
        assert decided.state.head is not None
        self.checkpoints[len(self.leaves)] = decided.state.head.checkpoint


def example() -> dict[str, Any]:
    """Every value of the worked example but the token, whose JSON has no canonical form; bytes are hexadecimal."""
    log = ExampleLog()
    first, again, mixed = log.receipt(4, 5), log.receipt(4, 6, replayed=True), log.receipt(5, 6)
    derived = derived_token(CUSTOMER_SECRET, CUSTOMER)
    return {
        "origin": ORIGIN,
        "log_id": log_id().hex(),
        "keys": {
            "merchant": _key(MERCHANT_KEY),
            "operator": _key(OPERATOR_KEY),
            "log": {
                "seed": LOG_SIGNER.seed.hex(),
                "public_key": LOG_SIGNER.verifier.public_key.hex(),
                "key_hash": LOG_SIGNER.verifier.key_id.hex(),
                "vkey": LOG_SIGNER.vkey,
            },
        },
        "card": {"bits": CARD_BITS.hex(), "token": CARD},
        "derived_card": {"secret": CUSTOMER_SECRET.hex(), "customer": CUSTOMER, "token": derived},
        "entries": {
            message.name: _entry(index, message, leaf)
            for index, (message, leaf) in enumerate(zip(messages(), log.leaves, strict=True))
        },
        "checkpoints": {str(size): _checkpoint(log.checkpoints[size]) for size in (5, 6)},
        "inclusion_paths": {
            "entry_4_of_5": [each.hex() for each in first.inclusion_path],
            "entry_4_of_6": [each.hex() for each in again.inclusion_path],
            "entry_5_of_6": [each.hex() for each in mixed.inclusion_path],
        },
        "consistency_path_5_to_6": [each.hex() for each in consistency_path(log.leaf_hashes, 5, 6)],
        "receipts": {
            "presentment": first.message().SerializeToString(deterministic=True).hex(),
            "mixed_presentment": mixed.message().SerializeToString(deterministic=True).hex(),
            "presentment_again": again.message().SerializeToString(deterministic=True).hex(),
        },
        "submit": {
            "request": merchant_gateway_pb2.SubmitRequest(envelopes=[messages()[4].envelope])
            .SerializeToString(deterministic=True)
            .hex(),
            "response": merchant_gateway_pb2.SubmitResponse(receipts=[first.message()])
            .SerializeToString(deterministic=True)
            .hex(),
        },
        "proof_file": format_proof(4, again.inclusion_path, again.checkpoint),
        "export": {
            "checkpoint": log.checkpoints[6],
            tile_path(0, 0, 6): b"".join(log.leaf_hashes).hex(),
            tile_path("entries", 0, 6): entry_bundle(log.leaves).hex(),
        },
    }


def _key(key: PrivateKey) -> dict[str, str]:
    return {"seed": key.seed.hex(), "public_key": key.public_key.hex(), "keyid": key.key_id}


def _entry(index: int, message: Message, leaf: bytes) -> dict[str, Any]:
    envelope = message.envelope
    return {
        "index": index,
        "payload_type": envelope.payload_type,
        "payload": envelope.payload.hex(),
        "signed_bytes": pre_authentication_encoding(envelope.payload_type, envelope.payload).hex(),
        "signatures": [{"keyid": each.keyid, "sig": each.sig.hex()} for each in envelope.signatures],
        "content_digests": [each.hex() for each in message.content_digests],
        "envelope": envelope.SerializeToString(deterministic=True).hex(),
        "entry": leaf.hex(),
        "leaf_hash": leaf_hash(leaf).hex(),
    }


def _checkpoint(note: str) -> dict[str, str]:
    checkpoint = open_checkpoint(note, LOG_SIGNER.verifier)
    return {"root": checkpoint.root.hex(), "text": checkpoint.text(), "note": note}
