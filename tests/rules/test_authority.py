"""Who may sign what, and when."""

from dataclasses import replace

import pytest

from clearing.errors import ErrorReason, Rejection
from clearing.key_id import key_id_of
from clearing.model import (
    Instant,
    Instruction,
    KeyId,
    MerchantId,
    Presentment,
    Role,
)
from clearing.rules.actions import ACTIONS
from clearing.rules.authority import (
    require_current_instruction,
    require_current_presentment,
    require_instructor,
    require_presenter,
    require_valid_key,
)
from tests.rules import script
from tests.rules.script import World, play, public_key, time_in

KEYS = """
    at 2026-01-10
    ops i1 key k-ben operator ben
    ops i2 key k-finance finance carl
    ops i3 key k-auditor auditor dora
    ops i4 key k-a merchant a
    ops i5 key k-a-2 merchant a
    ops i6 key k-b merchant b
    ops i7 key k-anna-2 operator anna
    ops i8 key k-b-office merchant_office b
    ops i9 key k-service service sue
    ops i10 key k-c merchant c
"""


def keys(names: str) -> tuple[KeyId, ...]:
    return tuple(key_id_of(public_key(name)) for name in names.split())


def instructed(world: World, words: str, origin: str = script.ORIGIN, party: str = "") -> Instruction:
    return replace(script.parse_instruction(world, "x", words.split(), party), origin=origin)


def reason_of_presentment(world: World, merchant: str, signers: str, origin: str = script.ORIGIN) -> str:
    presentment = Presentment(origin, MerchantId(merchant), world.now, False, ())
    try:
        require_presenter(world.directory, presentment, keys(signers))
        require_current_presentment(world.directory, presentment, keys(signers), world.now)
    except Rejection as rejection:
        return rejection.reason.name.lower()
    return "authorised"


def reason_of_instruction(world: World, order: Instruction, signers: str) -> str:
    try:
        require_instructor(world.directory, order, keys(signers))
        require_current_instruction(world.directory, order, keys(signers), world.now)
    except Rejection as rejection:
        return rejection.reason.name.lower()
    return "authorised"


PRESENTMENTS = """
a  k-a          authorised
a  k-a-2        authorised
a  k-a,k-a-2    authorised
a  k-b          merchant_mismatch
a  k-a,k-b      merchant_mismatch
a  k-anna       role_not_allowed
a  k-finance    role_not_allowed
a  k-auditor    role_not_allowed
a  k-a,k-anna   role_not_allowed
b  k-b-office   role_not_allowed
b  k-b,k-b-office role_not_allowed
a  k-service    role_not_allowed
a  k-nobody     unknown_key
a  k-a,k-nobody unknown_key
a  -            unknown_key
"""


@pytest.mark.parametrize(
    ("merchant", "signers", "expected"), [line.split() for line in PRESENTMENTS.strip().splitlines()]
)
def test_a_presentment_is_signed_by_keys_of_its_merchant(merchant: str, signers: str, expected: str) -> None:
    assert reason_of_presentment(play(KEYS), merchant, "" if signers == "-" else signers.replace(",", " ")) == expected


# The action, who signs, and what comes of it without and with four eyes.
INSTRUCTIONS = """
admit e                    | k-anna           | authorised       | second_signature_required
admit e                    | k-anna k-ben     | authorised       | authorised
admit e                    | k-anna k-anna    | authorised       | second_signature_required
admit e                    | k-anna k-anna-2  | authorised       | second_signature_required
admit e                    | k-anna k-finance | role_not_allowed | role_not_allowed
admit e                    | k-finance        | role_not_allowed | role_not_allowed
admit e                    | k-auditor        | role_not_allowed | role_not_allowed
admit e                    | k-service        | role_not_allowed | role_not_allowed
admit e                    | k-b-office       | role_not_allowed | role_not_allowed
admit e                    | k-a              | role_not_allowed | role_not_allowed
admit e                    |                  | unknown_key      | unknown_key
admit e                    | k-nobody         | unknown_key      | unknown_key
key k9 operator eve        |                  | unknown_key      | unknown_key
key k9 operator eve        | k-anna           | authorised       | second_signature_required
key k9 operator eve        | k-anna k-ben     | authorised       | authorised
key k9 merchant a          | k-anna k-ben     | authorised       | authorised
key k9 merchant b          | k-anna k-ben     | office_must_sign | office_must_sign
key k9 merchant_office b   | k-anna k-ben     | office_must_sign | office_must_sign
key k9 merchant b          | k-b-office       | role_not_allowed | role_not_allowed
revoke k-a                 | k-anna           | authorised       | second_signature_required
revoke k-b                 | k-anna k-ben     | authorised       | authorised
revoke k-b-office          | k-anna k-ben     | authorised       | authorised
terms - - 2026-02-01 1 1   | k-anna           | authorised       | second_signature_required
terms - - 2026-02-01 1 1   | k-ben k-anna-2   | authorised       | authorised
store a a-2                | k-anna           | authorised       | authorised
store a a-2                | k-finance        | role_not_allowed | role_not_allowed
expire C1                  | k-anna           | authorised       | authorised
amend 2026-03-01 late=5    | k-anna           | second_signature_required | second_signature_required
amend 2026-03-01 late=5    | k-anna k-anna-2  | second_signature_required | second_signature_required
amend 2026-03-01 late=5    | k-anna k-ben     | authorised       | authorised
amend 2026-03-01 late=5    | k-finance        | role_not_allowed | role_not_allowed
amend 2026-03-01 late=5    | k-b-office       | role_not_allowed | role_not_allowed
adopt 2026-03 2 1          | k-anna           | second_signature_required | second_signature_required
adopt 2026-03 2 1          | k-anna k-ben     | authorised       | authorised
adopt 2026-03 2 1          | k-finance k-anna | role_not_allowed | role_not_allowed
expire C1                  | k-a              | role_not_allowed | role_not_allowed
close 2026-01              | k-finance        | authorised       | authorised
close 2026-01              | k-auditor        | role_not_allowed | role_not_allowed
propose 2026-01 v1         | k-finance        | authorised       | authorised
approve 2026-01 v1         | k-finance        | authorised       | second_signature_required
approve 2026-01 v1         | k-finance k-anna | authorised       | authorised
approve 2026-01 v1         | k-finance k-a    | role_not_allowed | role_not_allowed
pay 2026-01 a>b:5          | k-finance        | authorised       | authorised
pay 2026-01 a>b:5          | k-b              | role_not_allowed | role_not_allowed
found                      | k-finance        | role_not_allowed | role_not_allowed
"""

INSTRUCTION_ROWS = [[cell.strip() for cell in line.split("|")] for line in INSTRUCTIONS.strip().splitlines()]


@pytest.mark.parametrize(("words", "signers", "alone", "with_four_eyes"), INSTRUCTION_ROWS)
def test_an_instruction_is_signed_by_the_roles_and_people_it_takes(
    words: str, signers: str, alone: str, with_four_eyes: str
) -> None:
    one, two = play(KEYS), play(KEYS.replace("ops i1 key k-ben operator ben", ""), four_eyes=True)
    assert reason_of_instruction(one, instructed(one, words), signers) == alone
    assert reason_of_instruction(two, instructed(two, words), signers) == with_four_eyes


# For which merchant, the action, who signs, and what comes of it, whether the alliance asks for four eyes or not.
OFFICES = """
b | key k9 merchant b          | k-b-office         | authorised
b | key k9 merchant_office b   | k-b-office         | authorised
b | key k9 merchant b          | k-b-office k-b     | role_not_allowed
b | key k9 merchant b          | k-b-office k-anna  | role_not_allowed
b | key k9 merchant b          | k-b                | role_not_allowed
b | key k9 merchant b          | k-anna k-ben       | role_not_allowed
b | key k9 merchant b          | k-service          | role_not_allowed
b | key k9 merchant b          |                    | unknown_key
b | key k9 merchant b          | k-nobody           | unknown_key
b | key k9 merchant a          | k-b-office         | merchant_mismatch
b | key k9 operator eve        | k-b-office         | merchant_mismatch
b | key k9 service eve         | k-b-office         | merchant_mismatch
a | key k9 merchant a          | k-b-office         | merchant_mismatch
a | key k9 merchant b          | k-b-office         | merchant_mismatch
b | revoke k-b                 | k-b-office         | authorised
b | revoke k-b-office          | k-b-office         | authorised
b | revoke k-a                 | k-b-office         | merchant_mismatch
b | revoke k-anna              | k-b-office         | merchant_mismatch
b | revoke k-nobody            | k-b-office         | merchant_mismatch
b | store b b-2                | k-b-office         | role_not_allowed
b | terms b - 2026-02-01 1 1   | k-b-office         | role_not_allowed
b | approve 2026-01 v1         | k-b-office         | role_not_allowed
b | expire C1                  | k-b-office         | role_not_allowed
b | found                      | k-b-office         | role_not_allowed
"""


@pytest.mark.parametrize(
    ("merchant", "words", "signers", "expected"),
    [[cell.strip() for cell in line.split("|")] for line in OFFICES.strip().splitlines()],
)
def test_a_merchants_office_signs_for_its_merchant_what_names_that_merchant(
    merchant: str, words: str, signers: str, expected: str
) -> None:
    one, two = play(KEYS), play(KEYS.replace("ops i1 key k-ben operator ben", ""), four_eyes=True)
    for world in (one, two):
        assert reason_of_instruction(world, instructed(world, words, party=merchant), signers) == expected


def test_the_operators_register_a_members_keys_until_it_has_a_valid_office_key_and_again_once_it_has_none() -> None:
    def registered_by_operator(world: World) -> str:
        return reason_of_instruction(world, instructed(world, "key k9 merchant b"), "k-anna")

    world = play("at 2026-01-10")
    assert registered_by_operator(world) == "authorised"
    world = play("ops i1 key k-b-office merchant_office b from=2026-01-12 until=2026-01-20", world)
    for day, expected in (("11", "authorised"), ("13", "office_must_sign"), ("21", "authorised")):
        assert registered_by_operator(play(f"at 2026-01-{day}", world)) == expected
    world = play("ops i2 key k-b-office-2 merchant_office b", world)
    assert registered_by_operator(world) == "office_must_sign"
    assert registered_by_operator(play("ops i3 revoke k-b-office-2", world)) == "authorised"


# Who proposed, who approves, and what comes of it without and with four eyes.
APPROVALS = """
k-finance         | k-finance           | second_signature_required | second_signature_required
k-finance         | k-anna              | authorised                | second_signature_required
k-finance         | k-anna k-ben        | authorised                | authorised
k-finance         | k-finance k-anna    | authorised                | authorised
k-anna            | k-anna-2            | second_signature_required | second_signature_required
k-anna            | k-anna k-anna-2     | second_signature_required | second_signature_required
k-anna k-finance  | k-anna k-finance    | second_signature_required | second_signature_required
k-anna k-finance  | k-ben k-finance     | authorised                | authorised
"""


@pytest.mark.parametrize(
    ("proposers", "approvers", "alone", "with_four_eyes"),
    [[cell.strip() for cell in line.split("|")] for line in APPROVALS.strip().splitlines()],
)
def test_somebody_else_approves_than_whoever_proposed(
    proposers: str, approvers: str, alone: str, with_four_eyes: str
) -> None:
    one, two = play(KEYS), play(KEYS.replace("ops i1 key k-ben operator ben", ""), four_eyes=True)
    by = " ".join(f"by={name}" for name in proposers.split())
    for world, expected in ((one, alone), (two, with_four_eyes)):
        play(f"at 2026-02-10 | ops c close 2026-01 -> accepted 0..{world.index}", world)
        play(f"ops p propose 2026-01 v1 {by}", world)
        assert reason_of_instruction(world, instructed(world, "approve 2026-01 v1"), approvers) == expected


def test_a_proposal_that_replaces_another_is_approved_by_others_than_its_own_proposers() -> None:
    world = play(KEYS)
    play(f"at 2026-02-10 | ops c close 2026-01 -> accepted 0..{world.index}", world)
    play("ops p1 propose 2026-01 v1 by=k-anna | ops p2 propose 2026-01 v2 by=k-finance", world)
    order = instructed(world, "approve 2026-01 v2")
    assert reason_of_instruction(world, order, "k-finance") == "second_signature_required"
    assert reason_of_instruction(world, order, "k-anna") == "authorised"


def test_for_the_alliance_sign_operators_and_finance_alone() -> None:
    assert {role for row in ACTIONS.values() for role in row.roles} == {Role.OPERATOR, Role.FINANCE}


def test_a_message_for_another_alliance_is_worth_nothing_here() -> None:
    world = play(KEYS)
    assert reason_of_presentment(world, "a", "k-a", origin="elsewhere.example/log") == "wrong_origin"
    order = instructed(world, "admit e", origin="elsewhere.example/log")
    assert reason_of_instruction(world, order, "k-anna") == "wrong_origin"


VALIDITY = """
# key  at                       expected
open   2026-01-10T11:59:59.999999  key_not_yet_valid
open   2026-01-10T12:00:00         valid
open   2099-01-01                  valid
past   2026-01-10T12:00:00         valid
later  2026-01-31T23:59:59.999999  key_not_yet_valid
later  2026-02-01T00:00:00         valid
until  2026-02-28T23:59:59.999999  valid
until  2026-03-01T00:00:00         key_expired
gone   2026-01-19T23:59:59.999999  valid
gone   2026-01-20T00:00:00         key_revoked
gone   2026-03-01T00:00:00         key_revoked
unborn 2026-01-12                  key_not_yet_valid
unborn 2026-01-20                  key_revoked
none   2026-01-10                  unknown_key
"""


@pytest.mark.parametrize(("key", "at", "expected"), [line.split() for line in VALIDITY.strip().splitlines()[1:]])
def test_a_key_is_valid_from_its_start_until_before_its_end_or_revocation(key: str, at: str, expected: str) -> None:
    world = play("""
        at 2026-01-10
        ops i1 key open merchant a
        ops i2 key past merchant a from=2025-01-01
        ops i3 key later merchant a from=2026-02-01T00:00:00
        ops i4 key until merchant a until=2026-03-01T00:00:00
        ops i5 key gone merchant a until=2026-02-01
        ops i6 key unborn merchant a from=2026-02-01
        ops i7 revoke gone at=2026-01-20T00:00:00
        ops i8 revoke unborn at=2026-01-15
    """)
    instant: Instant = time_in(at, world.time_zone)
    (key_id,) = keys(key)
    if expected == "valid":
        assert require_valid_key(world.directory, key_id, instant).key_id == key_id
    else:
        with pytest.raises(Rejection) as raised:
            require_valid_key(world.directory, key_id, instant)
        assert raised.value.reason is ErrorReason[expected.upper()]
        assert key_id in raised.value.message


def test_founding_keys_are_valid_from_the_founding() -> None:
    world = play("at 2026-01-10", four_eyes=True)
    founded_at = time_in("2026-01-01", world.time_zone)
    for key_id in keys("k-anna k-ben"):
        assert require_valid_key(world.directory, key_id, founded_at).valid_from == founded_at
        with pytest.raises(Rejection):
            require_valid_key(world.directory, key_id, Instant(founded_at - 1))
