"""Step 2 of a transaction's way: from an envelope to a message whose signers are known.

Signatures first, over the exact bytes; only what is verified is parsed. Whether the signers may do what they signed is
a rule (``clearing.rules.authority``), since it depends on the entry's time. The gateway and the auditor's replay share
this.
"""

from __future__ import annotations

from dataclasses import dataclass

from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.errors import ErrorReason, Rejection
from clearing.key_id import key_id_of
from clearing.model import CreateAlliance, Instant, Instruction, KeyId, Presentment, RegisterKey
from clearing.rules.directory import Directory
from clearing.signing.envelope import (
    SignatureHolds,
    check_shape,
    pre_authentication_encoding,
    require_signature,
    signers_among,
)
from clearing.signing.keys import signature_holds
from clearing.v1.envelope_pb2 import Envelope, Signature


@dataclass(frozen=True, slots=True)
class SignedPresentment:
    """A presentment, its envelope, and the registered keys that signed it."""

    envelope: Envelope
    presentment: Presentment
    signers: tuple[KeyId, ...]


@dataclass(frozen=True, slots=True)
class SignedInstruction:
    """An instruction, its envelope, and the registered keys that signed it with authority."""

    envelope: Envelope
    instruction: Instruction
    signers: tuple[KeyId, ...]


SignedMessage = SignedPresentment | SignedInstruction


def message_time(message: SignedMessage) -> Instant:
    """When the message says it was signed."""
    if isinstance(message, SignedPresentment):
        return message.presentment.presented_at
    return message.instruction.issued_at


def authenticate_presentment(
    envelope: Envelope, directory: Directory, holds: SignatureHolds = signature_holds
) -> SignedPresentment:
    """The presentment in the envelope. Raises ``Rejection``: malformed, UNKNOWN_KEY or BAD_SIGNATURE.

    ``holds`` checks a signature, or knows already.
    """
    check_shape(envelope, presentment_contract.PAYLOAD_TYPE)
    signers, unknown = signers_among(envelope, directory.public_key, holds)
    _refuse_unknown(unknown)
    return SignedPresentment(envelope, presentment_contract.decode_presentment(envelope.payload), signers)


def authenticate_instruction(envelope: Envelope, directory: Directory) -> SignedInstruction:
    """The instruction in the envelope. Raises ``Rejection``: malformed, UNKNOWN_KEY, BAD_SIGNATURE.

    A registration needs the new key's own signature beside the operators': MISSING_PROOF_OF_POSSESSION without it.
    """
    check_shape(envelope, instruction_contract.PAYLOAD_TYPE)
    signers, unknown = signers_among(envelope, directory.public_key)
    if not signers:
        _refuse_unknown(unknown)
    instruction = instruction_contract.decode_instruction(envelope.payload)
    if isinstance(instruction.action, RegisterKey):
        public_key = instruction.action.public_key
        _require_possession(envelope, public_key)
        registered = key_id_of(public_key)
        signers = tuple(key_id for key_id in signers if key_id != registered)
        unknown = tuple(signature for signature in unknown if signature.keyid != registered)
        if not signers:
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                "a key cannot register itself; have somebody sign too who may: an operator, or the merchant's office",
                field="signatures",
            )
    _refuse_unknown(unknown)
    return SignedInstruction(envelope, instruction, signers)


def authenticate_founding(envelope: Envelope) -> SignedInstruction:
    """The log's first instruction: it founds the alliance, and every operator key in it signed."""
    check_shape(envelope, instruction_contract.PAYLOAD_TYPE)
    instruction = instruction_contract.decode_instruction(envelope.payload)
    if not isinstance(instruction.action, CreateAlliance):
        raise Rejection(
            ErrorReason.UNKNOWN_KEY, "the log is empty and knows no key; found the alliance first: clearing init"
        )
    for key in instruction.action.operator_keys:
        _require_possession(envelope, key.public_key)
    signers = tuple(key_id_of(key.public_key) for key in instruction.action.operator_keys)
    _refuse_unknown(tuple(signature for signature in envelope.signatures if signature.keyid not in signers))
    return SignedInstruction(envelope, instruction, signers)


def _require_possession(envelope: Envelope, public_key: bytes) -> None:
    key_id = key_id_of(public_key)
    signed = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    for signature in envelope.signatures:
        if signature.keyid == key_id:
            require_signature(public_key, signed, signature)
            return
    raise Rejection(
        ErrorReason.MISSING_PROOF_OF_POSSESSION,
        f"key {key_id} is to be registered and did not sign; sign the same envelope with it too",
        field="signatures",
    )


def _refuse_unknown(signatures: tuple[Signature, ...]) -> None:
    if signatures:
        raise Rejection(
            ErrorReason.UNKNOWN_KEY,
            f"no key {signatures[0].keyid[:32]!r} is registered; have the operator register it, or sign with another",
            field="signatures",
        )
