"""Who may sign what: keys valid at an entry's time, roles, and four eyes."""

from __future__ import annotations

from collections.abc import Sequence

from clearing.calendar import moment_of
from clearing.errors import ErrorReason, Rejection
from clearing.model import MICROSECONDS_PER_SECOND, CreateAlliance, Instant, Instruction, KeyId, Presentment, Role
from clearing.rules.actions import People, rule_of
from clearing.rules.directory import Directory, Key

CLOCK_TOLERANCE_MINUTES = 5
"""How far the clock of whoever signs may run ahead of the ledger's."""
_CLOCK_TOLERANCE = CLOCK_TOLERANCE_MINUTES * 60 * MICROSECONDS_PER_SECOND


def require_valid_key(directory: Directory, key_id: KeyId, at: Instant) -> Key:
    """The key of this keyid, valid at ``at``.

    Raises ``Rejection`` with UNKNOWN_KEY, KEY_NOT_YET_VALID, KEY_EXPIRED or KEY_REVOKED.
    """
    key = _registered(directory, key_id)
    if key.revoked_at is not None and at >= key.revoked_at:
        raise Rejection(
            ErrorReason.KEY_REVOKED, f"key {key_id} is revoked since {moment_of(key.revoked_at)}; sign with another key"
        )
    if at < key.valid_from:
        raise Rejection(ErrorReason.KEY_NOT_YET_VALID, f"key {key_id} is valid from {moment_of(key.valid_from)} on")
    valid_until = key.registration.valid_until
    if valid_until is not None and at >= valid_until:
        raise Rejection(
            ErrorReason.KEY_EXPIRED, f"key {key_id} was valid until {moment_of(valid_until)}; register a new key"
        )
    return key


def _registered(directory: Directory, key_id: KeyId) -> Key:
    key = directory.keys.get(key_id)
    if key is None:
        raise Rejection(
            ErrorReason.UNKNOWN_KEY,
            f"no key {key_id} is registered; have the operator register it, or sign with another",
        )
    return key


def require_presenter(directory: Directory, presentment: Presentment, signers: tuple[KeyId, ...]) -> None:
    """Refuse with a ``Rejection`` unless it is for this log and every signer is a key of the merchant named.

    Whether the keys are valid, and the message not too old, is not asked: this is all that it takes to hear again what
    was decided (``docs/decisions/0026``).
    """
    _require_log(directory, presentment.origin, presentment.log_id)
    _require_signers(signers)
    for key_id in signers:
        registration = _registered(directory, key_id).registration
        if registration.role is not Role.MERCHANT:
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                f"key {key_id} has the role {registration.role.name.lower()}; presentments are signed by tills, whose "
                "role is merchant",
            )
        if registration.merchant != presentment.merchant:
            raise Rejection(
                ErrorReason.MERCHANT_MISMATCH,
                f"key {key_id} is not a key of merchant {presentment.merchant!r}, which the presentment names",
                field="merchant",
            )


def require_current_presentment(
    directory: Directory, presentment: Presentment, signers: tuple[KeyId, ...], at: Instant
) -> None:
    """Refuse with a ``Rejection`` unless it can be decided at ``at``: its time is possible and its keys are valid."""
    _require_possible_time(directory, presentment.presented_at, at, "presented_at")
    for key_id in signers:
        require_valid_key(directory, key_id, at)


def require_instructor(directory: Directory, instruction: Instruction, signers: tuple[KeyId, ...]) -> None:
    """Refuse with a ``Rejection`` unless it is for this log and the signers may instruct this for their party.

    For the alliance its people sign, two where that is asked for; for a merchant its office, and only what names that
    merchant. ``signers`` leaves out the key that a registration is about: its signature proves possession, not
    authority. Whether the keys are valid, and the instruction not expired, is not asked: this is all that it takes to
    hear again what was decided.
    """
    # A founding names no log: its entry makes one. Signed again it hears that there is one, as another does.
    is_founding = isinstance(instruction.action, CreateAlliance)
    _require_log(directory, instruction.origin, directory.log_id if is_founding else instruction.log_id)
    _require_signers(signers)
    keys = [_registered(directory, key_id) for key_id in signers]
    if instruction.merchant is not None:
        _require_office(directory, instruction, keys)
    else:
        _require_alliance(directory, instruction, keys)


def _require_office(directory: Directory, instruction: Instruction, keys: Sequence[Key]) -> None:
    """Refuse unless all are keys of the office of the instruction's merchant, and that is the one named in it."""
    rule, party = rule_of(instruction.action), instruction.merchant
    name = rule.action.__name__
    for key in keys:
        if key.registration.role is not Role.MERCHANT_OFFICE:
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                f"key {key.key_id} has the role {key.registration.role.name.lower()}; instructions of a merchant are "
                "signed by its merchant_office",
            )
        if key.registration.merchant != party:
            raise Rejection(
                ErrorReason.MERCHANT_MISMATCH,
                f"key {key.key_id} is not a key of merchant {party!r}, whose instruction it is",
                field="merchant",
            )
    if rule.office_of is None:
        raise Rejection(
            ErrorReason.ROLE_NOT_ALLOWED, f"no merchant's office may sign {name}; the alliance's people sign it"
        )
    if rule.office_of(directory, instruction.action) != party:
        raise Rejection(
            ErrorReason.MERCHANT_MISMATCH,
            f"this {name} is not about merchant {party!r}, whose office signed; an office signs for its own merchant",
            field="merchant",
        )


def _require_alliance(directory: Directory, instruction: Instruction, keys: Sequence[Key]) -> None:
    """Refuse unless all have a role that may sign this, and they are people enough."""
    rule = rule_of(instruction.action)
    name = rule.action.__name__
    for key in keys:
        role = key.registration.role
        if role is Role.MERCHANT_OFFICE:
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                f"key {key.key_id} has the role merchant_office, and the instruction is the alliance's: set its "
                "merchant to the one whose office signs",
            )
        if role not in rule.roles:
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                f"key {key.key_id} has the role {role.name.lower()}, which may not sign {name}",
            )
    people = {key.registration.holder for key in keys}
    takes_two = rule.people is People.TWO or (
        rule.people is People.TWO_WITH_FOUR_EYES and directory.constitution.four_eyes
    )
    if takes_two and len(people) < 2:
        raise Rejection(
            ErrorReason.SECOND_SIGNATURE_REQUIRED,
            f"{name} takes the signatures of two people here; have a second one sign too",
        )


def require_current_instruction(
    directory: Directory, instruction: Instruction, signers: tuple[KeyId, ...], at: Instant
) -> None:
    """Refuse with a ``Rejection`` unless it can be decided at ``at``: not expired, its keys valid, its signers others.

    What depends on who else has signed since is asked here: a member's office may have come, or a new proposal, after
    an instruction that must still hear what was decided.
    """
    _require_possible_time(directory, instruction.issued_at, at, "issued_at")
    if instruction.expires_at is not None and at >= instruction.expires_at:
        raise Rejection(
            ErrorReason.INSTRUCTION_EXPIRED,
            f"it could be decided until {moment_of(instruction.expires_at)}, and the ledger's time is {moment_of(at)}; "
            "sign it anew",
            field="expires_at",
        )
    keys = [require_valid_key(directory, key_id, at) for key_id in signers]
    if instruction.merchant is None:
        _require_not_the_offices(directory, instruction, at)
        _require_others_than_proposers(directory, instruction, keys)


def _require_not_the_offices(directory: Directory, instruction: Instruction, at: Instant) -> None:
    """Refuse what the alliance's people signed and a living office must sign for its merchant."""
    rule = rule_of(instruction.action)
    merchant = rule.office_of(directory, instruction.action) if rule.is_the_offices and rule.office_of else None
    if merchant is not None and directory.has_office(merchant, at):
        raise Rejection(
            ErrorReason.OFFICE_MUST_SIGN,
            f"merchant {merchant!r} has a valid office key, and that signs {rule.action.__name__} for it; if it is "
            "lost or stolen, revoke it first",
        )


def _require_others_than_proposers(directory: Directory, instruction: Instruction, keys: Sequence[Key]) -> None:
    """Refuse what is agreed to by nobody but those who proposed it."""
    rule = rule_of(instruction.action)
    people = {key.registration.holder for key in keys}
    if rule.proposers is not None and people <= rule.proposers(directory, instruction.action):
        raise Rejection(
            ErrorReason.SECOND_SIGNATURE_REQUIRED,
            f"{rule.action.__name__} agrees to what {', '.join(sorted(people))} proposed; have somebody else sign it, "
            "alone or too",
        )


def require_not_from_future(message_time: Instant, at: Instant, clock: str, field: str) -> None:
    """Refuse with CLOCK_SKEW a message that was signed well after ``at``, the time of the named clock.

    An entry cannot be older than the message in it: so whoever keeps the log cannot backdate it either.
    """
    if message_time > at + _CLOCK_TOLERANCE:
        raise Rejection(
            ErrorReason.CLOCK_SKEW,
            f"{field} is {moment_of(message_time)}, more than {CLOCK_TOLERANCE_MINUTES} minutes after the "
            f"{clock} at {moment_of(at)}; set the sender's clock",
            field=field,
        )


def _require_possible_time(directory: Directory, message_time: Instant, at: Instant, field: str) -> None:
    """Refuse a message from the future (CLOCK_SKEW), or from before the alliance was founded."""
    require_not_from_future(message_time, at, "ledger's time", field)
    if message_time < directory.founded_at - _CLOCK_TOLERANCE:
        raise Rejection(
            ErrorReason.SIGNED_BEFORE_FOUNDING,
            f"{field} is {moment_of(message_time)}, and the alliance was founded at {moment_of(directory.founded_at)}; "
            "set the sender's clock and sign again",
            field=field,
        )


def _require_signers(signers: tuple[KeyId, ...]) -> None:
    # Nobody's signature is nobody's authority: a key must not register itself.
    if not signers:
        raise Rejection(ErrorReason.UNKNOWN_KEY, "no registered key signed this; have someone sign who may")


def _require_log(directory: Directory, origin: str, log_id: bytes) -> None:
    if origin != directory.origin:
        raise Rejection(
            ErrorReason.WRONG_ORIGIN,
            f"signed for the alliance {origin!r}, and this one is {directory.origin!r}; sign for this one",
            field="origin",
        )
    if log_id != directory.log_id:
        named = f"for the log {log_id.hex()}" if log_id else "for no log"
        raise Rejection(
            ErrorReason.WRONG_LOG,
            f"signed {named}, and this alliance's is {directory.log_id.hex()}: an alliance that is founded anew has a "
            "new log; take the log_id of the operator's alliance.json and sign again",
            field="log_id",
        )
