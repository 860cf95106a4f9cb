"""A log made in this process, without gateway and database: signed, decided by the rules, as long as is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from back_office.client.machine_offsets import machine_offsets
from back_office.demonstration.trial import trial_constitution
from benchmarks.setup import ORIGIN
from benchmarks.workload import FOUNDED_AT, TIME_ZONE, Member
from clearing.clock import next_accepted_at
from clearing.contract.entry import timestamp_of
from clearing.contract.instruction import PAYLOAD_TYPE, encode_offsets
from clearing.contract.log_identity import LogIdentity
from clearing.deciding.authentication import (
    SignedMessage,
    authenticate_founding,
    authenticate_instruction,
    authenticate_presentment,
    message_time,
)
from clearing.deciding.decision import DecidedEntry, decide_founding_message, decide_message, fold
from clearing.log.note import Signer
from clearing.model import (
    MICROSECONDS_PER_DAY,
    RULES_VERSION,
    SETTLEMENT_VERSION,
    ClockKind,
    EntryIndex,
    Instant,
    MerchantId,
)
from clearing.rules.directory import Directory
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from clearing.v1.instruction_pb2 import (
    ROLE_MERCHANT,
    ROLE_OPERATOR,
    AdmitMerchant,
    Instruction,
    OpenStore,
    RegisterKey,
)
from clearing.v1.presentment_pb2 import Transaction
from merchant_gateway.client.merchant_client import sign_presentment

SEED_BYTES: Final = 32


class SignedLog:
    """An alliance's log under the presented clock, with these members, each of one store and one key."""

    def __init__(self, merchants: Iterable[str], ledger: Ledger | None = None) -> None:
        """Found the alliance. ``ledger`` is what decisions are made upon, in place of one that remembers everything."""
        self.signer = Signer(ORIGIN, bytes(range(SEED_BYTES)))
        self.operator = PrivateKey(bytes(range(1, SEED_BYTES + 1)))
        self.ledger = ledger if ledger is not None else Ledger()
        self.size = 0
        self.accepted_at = Instant(0)
        founding = trial_constitution(TIME_ZONE)
        founding.log_verifier = self.signer.vkey
        founding.zone_offsets.CopyFrom(encode_offsets(machine_offsets(TIME_ZONE, FOUNDED_AT)))
        founding.rules_version, founding.settlement_version = RULES_VERSION, SETTLEMENT_VERSION
        founding.operator_keys.add(public_key=self.operator.public_key, role=ROLE_OPERATOR, holder="operator")
        self.leaves: list[bytes] = []
        """Those that nobody has taken yet."""
        envelope = self._signed(Instruction(create_alliance=founding), [self.operator])
        message = authenticate_founding(envelope)
        self._append(decide_founding_message(message, message_time(message)))
        self.members = tuple(self._admit(MerchantId(merchant)) for merchant in merchants)

    def instruct(self, instruction: Instruction, *also_sign: PrivateKey) -> DecidedEntry | AlreadyDecided:
        """An instruction of the operator's."""
        envelope = self._signed(instruction, [self.operator, *also_sign])
        return self.decide(authenticate_instruction(envelope, self.directory))

    def present(
        self, member: Member, transactions: Sequence[Transaction], presented_at: Instant, *, atomic: bool = False
    ) -> DecidedEntry | AlreadyDecided:
        """A presentment of a member's."""
        envelope = sign_presentment(
            LogIdentity(self.signer.verifier, self.directory.log_id),
            member.merchant,
            PrivateKey(member.seed),
            transactions,
            presented_at=presented_at,
            atomic=atomic,
        )
        return self.take(envelope)

    def take(self, envelope: Envelope) -> DecidedEntry | AlreadyDecided:
        """A signed presentment."""
        return self.decide(authenticate_presentment(envelope, self.directory))

    def decide(self, message: SignedMessage) -> DecidedEntry | AlreadyDecided:
        """Decide the message, as the log's next entry if it is new."""
        accepted_at = next_accepted_at(ClockKind.PRESENTED, self.accepted_at, Instant(0), message_time(message))
        decided = decide_message(self.directory, self.ledger, message, accepted_at, EntryIndex(self.size))
        if isinstance(decided, DecidedEntry):
            self._append(decided)
        return decided

    def _append(self, decided: DecidedEntry) -> None:
        fold(self.ledger, decided)
        self.directory: Directory = decided.directory
        self.accepted_at = decided.accepted_at
        self.size += 1
        self.leaves.append(decided.leaf)

    def _signed(self, instruction: Instruction, signers: Sequence[PrivateKey]) -> Envelope:
        instruction.origin = ORIGIN
        instruction.reference = f"instruction-{self.size}"
        issued_at = Instant(max(self.accepted_at, FOUNDED_AT))
        instruction.issued_at.CopyFrom(timestamp_of(issued_at))
        if self.size:
            instruction.log_id = self.directory.log_id
            instruction.expires_at.CopyFrom(timestamp_of(Instant(issued_at + MICROSECONDS_PER_DAY)))
        return sign_envelope(instruction.SerializeToString(), PAYLOAD_TYPE, signers)

    def _admit(self, merchant: MerchantId) -> Member:
        member = Member(merchant, bytes([len(self.leaves) % 256]) * SEED_BYTES)
        key = PrivateKey(member.seed)
        self.instruct(Instruction(admit_merchant=AdmitMerchant(merchant=merchant, legal_name=merchant.title())))
        self.instruct(Instruction(open_store=OpenStore(merchant=merchant, store=member.store)))
        registration = RegisterKey(
            public_key=key.public_key, role=ROLE_MERCHANT, merchant=merchant, holder=f"{merchant}-till"
        )
        self.instruct(Instruction(register_key=registration), key)
        return member
