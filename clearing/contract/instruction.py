"""From an instruction's bytes to its value, checked against the bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from clearing.contract import bounds
from clearing.contract.decoding import content_digest, parse_strictly
from clearing.contract.entry import timestamp_of
from clearing.log.note import NoteError, parse_verifier
from clearing.model import (
    MICROSECONDS_PER_DAY,
    Action,
    AdmitMerchant,
    AdoptRules,
    AmendConstitution,
    ApproveSettlement,
    ClockKind,
    CloseWindow,
    CreateAlliance,
    ExpireLots,
    Instant,
    Instruction,
    OffsetChange,
    OpenStore,
    Payment,
    ProposeSettlement,
    RecordPayment,
    RegisterKey,
    RevokeKey,
    Role,
    SetOffsets,
    SetTerms,
    SettlementMethod,
    ZoneOffsets,
)
from clearing.v1 import instruction_pb2

PAYLOAD_TYPE = "application/vnd.clearing.instruction.v1+protobuf"

EnumT = TypeVar("EnumT", bound=IntEnum)


def decode_instruction(payload: bytes) -> Instruction:
    """The instruction in these bytes. Raises ``Rejection`` naming what is wrong and the field."""
    message = parse_strictly(instruction_pb2.Instruction(), payload)
    issued_at = bounds.instant(message.issued_at, "issued_at")
    log_id = bounds.log_id(message.log_id, "log_id")
    name = message.WhichOneof("action")
    if name is None:
        bounds.invalid("action", "must be one of the actions the contract names")
    action = DECODERS[name](getattr(message, name), name)
    if isinstance(action, CreateAlliance):
        _require_log_of(action, message.origin, name)
    expires_at = _expires_at(message, issued_at, is_founding=isinstance(action, CreateAlliance))
    # Signed again at another time it is still the same instruction.
    message.ClearField("issued_at")
    message.ClearField("expires_at")
    return Instruction(
        origin=message.origin,
        issued_at=issued_at,
        reference=bounds.reference(message.reference, "reference"),
        action=action,
        content_digest=content_digest(message),
        merchant=bounds.merchant(message.merchant, "merchant") if message.merchant else None,
        log_id=log_id,
        expires_at=expires_at,
    )


def _expires_at(message: instruction_pb2.Instruction, issued_at: Instant, *, is_founding: bool) -> Instant | None:
    """Until when it may be decided. A founding has no end, and names no log: its entry makes the log."""
    if is_founding:
        for field in ("log_id", "expires_at"):
            if getattr(message, field) not in (b"", Timestamp()):
                bounds.invalid(field, "must be absent in the instruction that founds the alliance")
        return None
    expires_at = bounds.instant(message.expires_at, "expires_at")
    latest = issued_at + bounds.INSTRUCTION_LIFETIME_DAYS_MAX * MICROSECONDS_PER_DAY
    if not issued_at < expires_at <= latest:
        bounds.invalid(
            "expires_at", f"must lie after issued_at, by at most {bounds.INSTRUCTION_LIFETIME_DAYS_MAX} days"
        )
    return expires_at


def _require_log_of(action: CreateAlliance, origin: str, path: str) -> None:
    try:
        if parse_verifier(action.log_verifier).name != origin:
            bounds.invalid(f"{path}.log_verifier", "must carry the alliance's origin as its name")
    except NoteError as error:
        bounds.invalid(f"{path}.log_verifier", str(error))


def _create_alliance(message: instruction_pb2.CreateAlliance, path: str) -> CreateAlliance:
    operator_keys = tuple(
        _register_key(key, f"{path}.operator_keys[{position}]") for position, key in enumerate(message.operator_keys)
    )
    people_needed = 2 if message.four_eyes else 1
    if len(operator_keys) > bounds.OPERATOR_KEYS_MAX or len({key.holder for key in operator_keys}) < people_needed:
        bounds.invalid(
            f"{path}.operator_keys",
            f"must be at most {bounds.OPERATOR_KEYS_MAX} keys of at least {people_needed} holder(s)",
        )
    if len({key.public_key for key in operator_keys}) < len(operator_keys):
        bounds.invalid(f"{path}.operator_keys", "must be different keys")
    if any(key.role is not Role.OPERATOR for key in operator_keys):
        bounds.invalid(f"{path}.operator_keys", "must have the role of operator")
    return CreateAlliance(
        unit=bounds.unit(message.unit, f"{path}.unit"),
        currency=bounds.currency(message.currency, f"{path}.currency"),
        currency_decimals=bounds.whole_number(message.currency_decimals, 0, 4, f"{path}.currency_decimals"),
        time_zone=bounds.time_zone(message.time_zone, f"{path}.time_zone"),
        settlement_method=_enum(SettlementMethod, message.settlement_method, f"{path}.settlement_method"),
        clock=_enum(ClockKind, message.clock, f"{path}.clock"),
        log_verifier=message.log_verifier,
        operator_keys=operator_keys,
        four_eyes=message.four_eyes,
        lot_lifetime_months=bounds.amendable(message.lot_lifetime_months, "lot_lifetime_months", path),
        late_presentment_days=bounds.amendable(message.late_presentment_days, "late_presentment_days", path),
        issuance_price=bounds.price(message.issuance_price, f"{path}.issuance_price"),
        redemption_price=bounds.price(message.redemption_price, f"{path}.redemption_price"),
        rules_version=bounds.version(message.rules_version, f"{path}.rules_version"),
        notice_days=bounds.amendable(message.notice_days, "notice_days", path),
        settlement_version=bounds.version(message.settlement_version, f"{path}.settlement_version"),
        zone_offsets=decode_offsets(message.zone_offsets, f"{path}.zone_offsets"),
    )


def _admit_merchant(message: instruction_pb2.AdmitMerchant, path: str) -> AdmitMerchant:
    return AdmitMerchant(
        bounds.merchant(message.merchant, f"{path}.merchant"),
        bounds.legal_name(message.legal_name, f"{path}.legal_name"),
    )


def _open_store(message: instruction_pb2.OpenStore, path: str) -> OpenStore:
    return OpenStore(
        bounds.merchant(message.merchant, f"{path}.merchant"), bounds.store(message.store, f"{path}.store")
    )


def _register_key(message: instruction_pb2.RegisterKey, path: str) -> RegisterKey:
    role = _enum(Role, message.role, f"{path}.role")
    if role.is_of_a_merchant:
        merchant = bounds.merchant(message.merchant, f"{path}.merchant")
    elif message.merchant:
        bounds.invalid(f"{path}.merchant", "must be empty unless the role is merchant or merchant_office")
    else:
        merchant = None
    valid_from = _optional_instant(message, "valid_from", path)
    valid_until = _optional_instant(message, "valid_until", path)
    if valid_from is not None and valid_until is not None and valid_until <= valid_from:
        bounds.invalid(f"{path}.valid_until", "must lie after valid_from")
    return RegisterKey(
        public_key=bounds.exact_bytes(message.public_key, 32, f"{path}.public_key"),
        role=role,
        merchant=merchant,
        holder=bounds.slug(message.holder, f"{path}.holder"),
        valid_from=valid_from,
        valid_until=valid_until,
    )


def _revoke_key(message: instruction_pb2.RevokeKey, path: str) -> RevokeKey:
    return RevokeKey(
        bounds.key_id(message.keyid, f"{path}.keyid"),
        _optional_instant(message, "effective_at", path),
        _optional_instant(message, "compromised_since", path),
    )


def _set_terms(message: instruction_pb2.SetTerms, path: str) -> SetTerms:
    merchant = bounds.merchant(message.merchant, f"{path}.merchant") if message.merchant else None
    counterparty = bounds.merchant(message.counterparty, f"{path}.counterparty") if message.counterparty else None
    issuance_price = None
    if counterparty is None:
        issuance_price = bounds.price(message.issuance_price, f"{path}.issuance_price")
    elif merchant is None or merchant == counterparty:
        bounds.invalid(f"{path}.counterparty", "must stand beside another merchant, the issuer")
    elif message.issuance_price:
        bounds.invalid(f"{path}.issuance_price", "must be empty for a pair")
    return SetTerms(
        merchant=merchant,
        counterparty=counterparty,
        effective_from=bounds.first_of_month(message.effective_from, f"{path}.effective_from"),
        issuance_price=issuance_price,
        redemption_price=bounds.price(message.redemption_price, f"{path}.redemption_price"),
    )


def _close_window(message: instruction_pb2.CloseWindow, path: str) -> CloseWindow:
    return CloseWindow(bounds.window(message.window, f"{path}.window"))


def _approve_settlement(message: instruction_pb2.ApproveSettlement, path: str) -> ApproveSettlement:
    return ApproveSettlement(decode_proposal(message.proposal, f"{path}.proposal"))


def _record_payment(message: instruction_pb2.RecordPayment, path: str) -> RecordPayment:
    return RecordPayment(
        bounds.window(message.window, f"{path}.window"),
        _payment(message.payment, f"{path}.payment"),
        bounds.date(message.paid_on, f"{path}.paid_on"),
        bounds.bank_reference(message.bank_reference, f"{path}.bank_reference"),
        bounds.whole_number(message.index, 0, bounds.SETTLEMENT_LEAVES_MAX - 1, f"{path}.index"),
        bounds.exact_bytes(message.salt, 32, f"{path}.salt"),
        _merkle_path(message.path, f"{path}.path"),
    )


def _merkle_path(hashes: Sequence[bytes], path: str) -> tuple[bytes, ...]:
    bounds.whole_number(len(hashes), 0, bounds.SETTLEMENT_PATH_MAX, path)
    return tuple(bounds.exact_bytes(each, 32, f"{path}[{position}]") for position, each in enumerate(hashes))


def decode_proposal(message: instruction_pb2.ProposeSettlement, path: str = "proposal") -> ProposeSettlement:
    """The proposal in this message. Raises ``Rejection`` naming what is wrong and the field below ``path``."""
    return ProposeSettlement(
        window=bounds.window(message.window, f"{path}.window"),
        settlement_version=bounds.version(message.settlement_version, f"{path}.settlement_version"),
        alliance_statement_digest=bounds.exact_bytes(
            message.alliance_statement_digest, 32, f"{path}.alliance_statement_digest"
        ),
        statements=bounds.whole_number(message.statements, 0, bounds.SETTLEMENT_LEAVES_MAX, f"{path}.statements"),
        statements_root=bounds.exact_bytes(message.statements_root, 32, f"{path}.statements_root"),
        payments=bounds.whole_number(message.payments, 0, bounds.SETTLEMENT_LEAVES_MAX, f"{path}.payments"),
        payments_root=bounds.exact_bytes(message.payments_root, 32, f"{path}.payments_root"),
        payments_minor=bounds.whole_number(
            message.payments_minor, 0, bounds.PAYMENTS_MINOR_MAX, f"{path}.payments_minor"
        ),
    )


def encode_proposal(proposal: ProposeSettlement) -> instruction_pb2.ProposeSettlement:
    """The proposal as the contract has it, ready to be signed."""
    return instruction_pb2.ProposeSettlement(
        window=proposal.window,
        settlement_version=proposal.settlement_version,
        alliance_statement_digest=proposal.alliance_statement_digest,
        statements=proposal.statements,
        statements_root=proposal.statements_root,
        payments=proposal.payments,
        payments_root=proposal.payments_root,
        payments_minor=proposal.payments_minor,
    )


def encode_payment(payment: Payment) -> instruction_pb2.Payment:
    """The payment as the contract has it."""
    return instruction_pb2.Payment(payer=payment.payer, payee=payment.payee, amount_minor=payment.amount_minor)


def _payment(message: instruction_pb2.Payment, path: str) -> Payment:
    payer = bounds.participant(message.payer, f"{path}.payer")
    payee = bounds.participant(message.payee, f"{path}.payee")
    if payer == payee:
        bounds.invalid(f"{path}.payee", "must be another than the payer")
    amount_minor = bounds.whole_number(message.amount_minor, 1, bounds.PAYMENT_AMOUNT_MINOR_MAX, f"{path}.amount_minor")
    return Payment(payer, payee, amount_minor)


def _expire_lots(message: instruction_pb2.ExpireLots, path: str) -> ExpireLots:
    path = f"{path}.card_tokens"
    bounds.whole_number(len(message.card_tokens), 1, bounds.EXPIRE_CARDS_MAX, path)
    cards = tuple(bounds.card_token(token, f"{path}[{position}]") for position, token in enumerate(message.card_tokens))
    if len(set(cards)) < len(cards):
        bounds.invalid(path, "must each stand once")
    return ExpireLots(cards)


def _optional_instant(
    message: instruction_pb2.RegisterKey | instruction_pb2.RevokeKey, name: str, path: str
) -> Instant | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs know each message's own field names only
        return None
    timestamp: Timestamp = getattr(message, name)
    return bounds.instant(timestamp, f"{path}.{name}")


def _enum(kind: type[EnumT], number: int, field: str) -> EnumT:
    try:
        return kind(number)
    except ValueError:
        bounds.invalid(field, "must be one of " + ", ".join(member.name.lower() for member in kind))


def _adopt_rules(message: instruction_pb2.AdoptRules, path: str) -> AdoptRules:
    return AdoptRules(
        window=bounds.window(message.window, f"{path}.window"),
        rules_version=bounds.version(message.rules_version, f"{path}.rules_version"),
        settlement_version=bounds.version(message.settlement_version, f"{path}.settlement_version"),
    )


def _amend_constitution(message: instruction_pb2.AmendConstitution, path: str) -> AmendConstitution:
    changes = {
        name: bounds.amendable(getattr(message, name), name, path) if message.HasField(name) else None  # type: ignore[arg-type]  # the stubs know literal names only
        for name in bounds.AMENDABLE
    }
    if all(change is None for change in changes.values()):
        bounds.invalid(path, "must change something: " + ", ".join(bounds.AMENDABLE))
    return AmendConstitution(bounds.date(message.effective_from, f"{path}.effective_from"), **changes)


def decode_offsets(message: instruction_pb2.ZoneOffsets, path: str = "zone_offsets") -> ZoneOffsets:
    """The offsets in this message. Raises ``Rejection`` naming what is wrong and the field below ``path``."""
    before = bounds.offset_minutes(message.offset_minutes, f"{path}.offset_minutes")
    changes = _offset_changes(message.changes, path)
    if changes and changes[0].offset_minutes == before:
        bounds.invalid(f"{path}.changes[0].offset_minutes", "must be another than before")
    return ZoneOffsets(before, changes, _known_until(message, changes, path))


def encode_offsets(offsets: ZoneOffsets) -> instruction_pb2.ZoneOffsets:
    """The offsets as the contract has them."""
    return instruction_pb2.ZoneOffsets(
        offset_minutes=offsets.offset_minutes,
        changes=encode_offset_changes(offsets.changes),
        known_until=timestamp_of(offsets.known_until),
    )


def encode_offset_changes(changes: Iterable[OffsetChange]) -> list[instruction_pb2.OffsetChange]:
    """Changes of the offset as the contract has them."""
    return [
        instruction_pb2.OffsetChange(at=timestamp_of(each.at), offset_minutes=each.offset_minutes) for each in changes
    ]


def _set_offsets(message: instruction_pb2.SetOffsets, path: str) -> SetOffsets:
    effective_from = bounds.minute(message.effective_from, f"{path}.effective_from")
    changes = _offset_changes(message.changes, path)
    if changes and changes[0].at < effective_from:
        bounds.invalid(f"{path}.changes[0].at", "must not lie before effective_from")
    known_until = _known_until(message, changes, path)
    if known_until <= effective_from:
        bounds.invalid(f"{path}.known_until", "must lie after effective_from")
    return SetOffsets(effective_from, changes, known_until)


def _offset_changes(messages: Sequence[instruction_pb2.OffsetChange], path: str) -> tuple[OffsetChange, ...]:
    """Changes in the order of time, each of them one."""
    path = f"{path}.changes"
    bounds.whole_number(len(messages), 0, bounds.OFFSET_CHANGES_MAX, path)
    changes = tuple(
        OffsetChange(
            bounds.minute(each.at, f"{path}[{position}].at"),
            bounds.offset_minutes(each.offset_minutes, f"{path}[{position}].offset_minutes"),
        )
        for position, each in enumerate(messages)
    )
    for position, (earlier, later) in enumerate(pairwise(changes), 1):
        if later.at <= earlier.at:
            bounds.invalid(f"{path}[{position}].at", "must lie after the change before it")
        if later.offset_minutes == earlier.offset_minutes:
            bounds.invalid(f"{path}[{position}].offset_minutes", "must be another than before")
    return changes


def _known_until(
    message: instruction_pb2.ZoneOffsets | instruction_pb2.SetOffsets, changes: Sequence[OffsetChange], path: str
) -> Instant:
    known_until = bounds.minute(message.known_until, f"{path}.known_until")
    if changes and known_until <= changes[-1].at:
        bounds.invalid(f"{path}.known_until", "must lie after the last change")
    return known_until


DECODERS: Final[Mapping[str, Callable[[Any, str], Action]]] = {
    "create_alliance": _create_alliance,
    "admit_merchant": _admit_merchant,
    "open_store": _open_store,
    "register_key": _register_key,
    "revoke_key": _revoke_key,
    "set_terms": _set_terms,
    "close_window": _close_window,
    "propose_settlement": decode_proposal,
    "approve_settlement": _approve_settlement,
    "record_payment": _record_payment,
    "expire_lots": _expire_lots,
    "set_offsets": _set_offsets,
    "adopt_rules": _adopt_rules,
    "amend_constitution": _amend_constitution,
}
"""For each field of ``action``: from its message and path to its value. Raises ``Rejection`` naming what is wrong."""
