"""Who may sign what: keys valid at an entry's time, roles, and four eyes."""

from __future__ import annotations

from collections.abc import Sequence

from clearing.calendar import moment_of
from clearing.errors import ErrorReason, Rejection
from clearing.model import MICROSECONDS_PER_SECOND, Instant, Instruction, KeyId, Presentment, Role
from clearing.rules.actions import People, rule_of
from clearing.rules.directory import Directory, Key

CLOCK_TOLERANCE_MINUTES = 5
"""How far the clock of whoever signs may run ahead of the ledger's."""
_CLOCK_TOLERANCE = CLOCK_TOLERANCE_MINUTES * 60 * MICROSECONDS_PER_SECOND


def require_valid_key(directory: Directory, key_id: KeyId, at: Instant) -> Key:
    """The key of this keyid, valid at ``at``.

    Raises ``Rejection`` with UNKNOWN_KEY, KEY_NOT_YET_VALID, KEY_EXPIRED or KEY_REVOKED.
    """
    key = directory.keys.get(key_id)
    if key is None:
        raise Rejection(
            ErrorReason.UNKNOWN_KEY,
            f"no key {key_id} is registered; have the operator register it, or sign with another",
        )
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


def authorise_presentment(
    directory: Directory, presentment: Presentment, signers: tuple[KeyId, ...], at: Instant
) -> None:
    """Refuse with a ``Rejection`` unless every signer is a key of the merchant named, valid at ``at``."""
    _require_origin(directory, presentment.origin)
    _require_signers(signers)
    for key_id in signers:
        registration = require_valid_key(directory, key_id, at).registration
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


def authorise_instruction(
    directory: Directory, instruction: Instruction, signers: tuple[KeyId, ...], at: Instant
) -> None:
    """Refuse with a ``Rejection`` unless the signers may instruct this for their party.

    For the alliance its people sign, two where that is asked for; for a merchant its office, and only what names that
    merchant. ``signers`` leaves out the key that a registration is about: its signature proves possession, not
    authority.
    """
    _require_origin(directory, instruction.origin)
    _require_signers(signers)
    keys = [require_valid_key(directory, key_id, at) for key_id in signers]
    if instruction.merchant is not None:
        _authorise_office(directory, instruction, keys)
    else:
        _authorise_alliance(directory, instruction, keys, at)


def _authorise_office(directory: Directory, instruction: Instruction, keys: Sequence[Key]) -> None:
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


def _authorise_alliance(directory: Directory, instruction: Instruction, keys: Sequence[Key], at: Instant) -> None:
    """Refuse unless all have a role that may sign this, they are people enough, and it is not an office's to sign."""
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
    merchant = rule.office_of(directory, instruction.action) if rule.is_the_offices and rule.office_of else None
    if merchant is not None and directory.has_office(merchant, at):
        raise Rejection(
            ErrorReason.OFFICE_MUST_SIGN,
            f"merchant {merchant!r} has a valid office key, and that signs {name} for it; if it is lost or stolen, "
            "revoke it first",
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
    proposers = rule.proposers(directory, instruction.action) if rule.proposers is not None else frozenset()
    if people <= proposers:
        raise Rejection(
            ErrorReason.SECOND_SIGNATURE_REQUIRED,
            f"{name} agrees to what {', '.join(sorted(people))} proposed; have somebody else sign it, alone or too",
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


def _require_signers(signers: tuple[KeyId, ...]) -> None:
    # Nobody's signature is nobody's authority: a key must not register itself.
    if not signers:
        raise Rejection(ErrorReason.UNKNOWN_KEY, "no registered key signed this; have someone sign who may")


def _require_origin(directory: Directory, origin: str) -> None:
    if origin != directory.origin:
        raise Rejection(
            ErrorReason.WRONG_ORIGIN,
            f"signed for the alliance {origin!r}, and this one is {directory.origin!r}; sign for this one",
            field="origin",
        )
