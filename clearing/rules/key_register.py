"""Register key and revoke key."""

from __future__ import annotations

from dataclasses import replace

from clearing.key_id import key_id_of
from clearing.model import Instant, MerchantId, Outcome, RegisterKey, RevokeKey, Role
from clearing.rules.case import Case
from clearing.rules.directory import Directory, Key


def member_to_be(_: Directory, action: RegisterKey) -> MerchantId | None:
    """The merchant whose key it will be; None: it will be one of the alliance's people's."""
    return action.merchant


def member_revoked(directory: Directory, action: RevokeKey) -> MerchantId | None:
    """The merchant whose key it is; None: it is nobody's, or one of the alliance's people's."""
    key = directory.keys.get(action.key_id)
    return key.registration.merchant if key is not None else None


def register_key(case: Case, action: RegisterKey) -> Directory | Outcome:
    """The directory with one key more, valid from now or later."""
    directory, accepted_at = case.directory, case.accepted_at
    if action.merchant is not None and action.merchant not in directory.merchants:
        return Outcome.UNKNOWN_MERCHANT
    key_id = key_id_of(action.public_key)
    if key_id in directory.keys:
        return Outcome.KEY_EXISTS
    key = Key(key_id, action, valid_from=max(action.valid_from or accepted_at, accepted_at))
    return replace(directory, keys={**directory.keys, key_id: key})


def revoke_key(case: Case, action: RevokeKey) -> Directory | Outcome:
    """The directory with the key revoked from now or later. What it signed before stays.

    A revocation to come may be brought forward, and the time of a compromise be learned later: neither ever moves back.
    """
    directory, accepted_at = case.directory, case.accepted_at
    key = directory.keys.get(action.key_id)
    if key is None:
        return Outcome.KEY_NOT_REGISTERED
    revoked_at = _earlier(max(action.effective_at or accepted_at, accepted_at), key.revoked_at)
    compromised_since = _earlier(action.compromised_since, key.compromised_since)
    if (revoked_at, compromised_since) == (key.revoked_at, key.compromised_since):
        return Outcome.KEY_ALREADY_REVOKED
    is_sooner = revoked_at != key.revoked_at
    assert revoked_at is not None
    if (
        is_sooner
        and key.registration.role is Role.OPERATOR
        and not _enough_operators_without(directory, key, revoked_at)
    ):
        return Outcome.LAST_OPERATOR_KEY
    revoked = replace(key, revoked_at=revoked_at, compromised_since=compromised_since)
    return replace(directory, keys={**directory.keys, action.key_id: revoked})


def _earlier(one: Instant | None, other: Instant | None) -> Instant | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _enough_operators_without(directory: Directory, revoked: Key, at: Instant) -> bool:
    """Whether operators can still sign everything: one person, or two where four eyes are asked for."""
    people = {
        key.registration.holder
        for key in directory.keys.values()
        if key.registration.role is Role.OPERATOR
        and key.key_id != revoked.key_id
        and key.revoked_at is None
        and key.is_valid_at(at)
    }
    return len(people) >= (2 if directory.constitution.four_eyes else 1)
