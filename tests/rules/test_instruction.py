"""Instructions: members, keys, replays, and settlement's ladder."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import ErrorReason, Rejection
from clearing.key_id import key_id_of
from clearing.model import (
    ApproveSettlement,
    MerchantId,
    Outcome,
    ProposeSettlement,
    SettlementMethod,
    WindowId,
)
from clearing.rules.case import InstructionDecision
from clearing.rules.directory import WindowStatus
from tests.rules.script import instruction, play, proposal, public_key, recording


def test_a_merchant_joins_opens_a_store_and_presents() -> None:
    world = play("""
        ops i1 store e e-1 -> unknown_merchant
        ops i2 admit e
        ops i3 admit e -> merchant_exists
        ops i4 store e e-2
        ops i5 store e e-1
        ops i6 store a e-1 -> store_exists
    """)
    assert world.directory.merchants["e"].stores == ("e-1", "e-2")  # type: ignore[index]
    assert world.directory.stores["e-1"] == "e"  # type: ignore[index]


def test_the_same_instruction_again_is_answered_by_its_entry_and_other_content_is_refused() -> None:
    play("""
        ops i1 admit e
        ops i2 admit e -> merchant_exists
        ops i1 again -> already decided 1
        ops i2 again -> already decided 2
        ops i1 admit f -> reference_reused
        ops i1 again -> already decided 1
        ops i2 admit f -> reference_reused
        ops i3 admit f
    """)


def test_a_reference_is_unique_for_its_party() -> None:
    play("""
        ops i1 key k1 merchant a
        a office i1 key k2 merchant a
        b office i1 key k3 merchant b
        a office i1 again -> already decided 2
        b office i1 again -> already decided 3
        ops i1 again -> already decided 1
        a office i1 key k4 merchant a -> reference_reused
        ops i1 key k4 merchant a -> reference_reused
        a office i2 key k4 merchant a
    """)


def test_a_refused_instruction_stays_refused() -> None:
    play("""
        ops i1 store e e-1 -> unknown_merchant
        ops i2 admit e
        ops i1 again -> already decided 1
    """)


def test_a_key_is_registered_once_for_ever() -> None:
    play("""
        ops i1 key k1 merchant z -> unknown_merchant
        ops i2 key k1 merchant a
        ops i3 key k1 merchant b -> key_exists
        ops i4 revoke k1
        ops i5 key k1 merchant a -> key_exists
        ops i6 revoke k1 -> key_already_revoked
    """)


def test_a_revocation_takes_effect_now_or_later_but_never_earlier() -> None:
    world = play("""
        at 2026-01-10
        ops i1 key k1 auditor carl
        ops i2 key k2 auditor carl
        ops i3 key k3 auditor carl
        at 2026-01-20
        ops i4 revoke k1 at=2026-01-15 compromised=2026-01-12
        ops i5 revoke k2 at=2026-01-25
        ops i6 revoke k3
    """)
    at = {name: world.directory.keys[key_id_of(public_key(name))].revoked_at for name in ("k1", "k2", "k3")}
    assert at["k1"] == at["k3"] == world.now
    assert at["k2"] == world.now + 5 * 86_400_000_000
    compromised_since = world.directory.keys[key_id_of(public_key("k1"))].compromised_since
    assert compromised_since == world.now - 8 * 86_400_000_000


def test_a_revocation_to_come_is_brought_forward_when_the_key_is_stolen() -> None:
    world = play("""
        at 2026-01-10
        ops i1 key k1 auditor carl
        ops i2 revoke k1 at=2026-06-30
        ops i3 revoke k1 at=2026-07-31 -> key_already_revoked
        at 2026-01-20
        ops i4 revoke k1 compromised=2026-01-15
        ops i5 revoke k1 compromised=2026-01-16 -> key_already_revoked
        at 2026-01-30
        ops i6 revoke k1 compromised=2026-01-12
    """)
    key = world.directory.keys[key_id_of(public_key("k1"))]
    assert key.revoked_at == world.now - 10 * 86_400_000_000
    assert key.compromised_since == world.now - 18 * 86_400_000_000


def test_the_last_operator_stays() -> None:
    play("""
        ops i1 revoke k-anna -> last_operator_key
        ops i2 key k-ben operator ben
        ops i3 revoke k-anna
        ops i4 revoke k-ben -> last_operator_key
        ops i5 key k-finance finance carl
        ops i6 revoke k-ben -> last_operator_key
    """)


def test_a_second_key_of_the_same_person_lets_the_first_go() -> None:
    play("""
        ops i1 key k-anna-2 operator anna
        ops i2 revoke k-anna
        ops i3 revoke k-anna-2 -> last_operator_key
    """)


def test_with_four_eyes_two_operators_stay() -> None:
    play(
        """
        ops i1 revoke k-anna -> last_operator_key
        ops i2 key k-ben-2 operator ben
        ops i3 revoke k-anna -> last_operator_key
        ops i4 revoke k-ben
        ops i5 key k-carl operator carl
        ops i6 revoke k-anna
        ops i7 revoke k-carl -> last_operator_key
        """,
        four_eyes=True,
    )


def test_an_operator_whose_key_is_not_valid_at_the_revocation_does_not_count() -> None:
    play("""
        at 2026-01-10
        ops i1 key k-ben operator ben until=2026-01-20
        ops i2 key k-carl operator carl from=2026-02-01
        ops i3 revoke k-anna at=2026-01-20 -> last_operator_key
        ops i4 revoke k-anna at=2026-01-31 -> last_operator_key
        ops i5 revoke k-anna at=2026-02-01
        ops i6 revoke k-ben at=2026-01-15 -> last_operator_key
    """)


LADDER = """
    at 2026-02-10
    ops i1 propose 2026-01 v1 -> window_not_closed
    ops i2 approve 2026-01 v1 -> settlement_not_proposed
    ops i3 pay 2026-01 a>b:500 -> settlement_not_approved
    ops i4 close 2026-01 -> accepted 0..1
    window 2026-01 closed
    ops i5 approve 2026-01 v1 -> settlement_not_proposed
    ops i6 pay 2026-01 a>b:500 -> settlement_not_approved
    ops i7 propose 2026-01 v1 a>b:400
    ops i8 propose 2026-01 v2 a>b:500 c>b:20
    window 2026-01 proposed
    ops i9 approve 2026-01 v1 a>b:400 -> proposal_differs
    ops i9b approve 2026-01 v2 a>b:400 -> proposal_differs
    ops i10 pay 2026-01 a>b:500 -> settlement_not_approved
    ops i11 approve 2026-01 v2 a>b:500 c>b:20
    window 2026-01 approved
    ops i12 approve 2026-01 v2 a>b:500 c>b:20 -> settlement_already_approved
    ops i13 propose 2026-01 v3 -> settlement_already_approved
    ops i14 pay 2026-01 a>b:400 -> unknown_payment
    ops i15 pay 2026-01 b>a:500 -> unknown_payment
    ops i16 pay 2026-01 a>b:500
    window 2026-01 approved
    ops i17 pay 2026-01 a>b:500 -> payment_already_recorded
    ops i18 pay 2026-01 c>b:20
    window 2026-01 settled
"""


def test_a_settlement_is_closed_proposed_approved_and_paid_in_that_order() -> None:
    play(LADDER)


def test_a_settlement_without_payments_is_settled_when_it_is_approved() -> None:
    play("""
        at 2026-02-10
        ops i1 close 2026-01 -> accepted 0..1
        ops i2 propose 2026-01 v1
        ops i3 approve 2026-01 v1
        window 2026-01 settled
    """)


def test_a_proposal_that_is_not_what_the_ledger_comes_to_is_refused_and_takes_no_ones_place() -> None:
    world = play("""
        at 2026-02-10
        ops i1 close 2026-01 -> accepted 0..1
        ops i2 propose 2026-01 v1 a>b:5
        ops i3 propose 2026-01 v2 a>b:5 ledger=other -> settlement_differs
        ops i4 propose 2026-01 v1 a>d:1000000000000000 ledger=other -> settlement_differs
        ops i5 approve 2026-01 v1 a>d:1000000000000000 -> proposal_differs
        ops i6 approve 2026-01 v1 a>b:5
    """)
    assert world.directory.closed_windows[WindowId("2026-01")].proposed_in == 2


proposals = st.builds(
    ProposeSettlement,
    window=st.just(WindowId("2026-01")),
    settlement_version=st.integers(1, 2),
    alliance_statement_digest=st.sampled_from([b"\0" * 32, b"\1" * 32]),
    statements=st.integers(0, 2),
    statements_root=st.sampled_from([b"\0" * 32, b"\1" * 32]),
    payments=st.integers(0, 2),
    payments_root=st.sampled_from([b"\0" * 32, b"\1" * 32]),
    payments_minor=st.integers(0, 2),
)


@given(proposals, proposals)
def test_only_what_the_ledger_comes_to_can_be_proposed_and_approved(
    comes_to: ProposeSettlement, signed: ProposeSettlement
) -> None:
    world = play("at 2026-02-10 | ops i1 close 2026-01 -> accepted 0..1")
    window = WindowId("2026-01")
    world.settles_to[window] = comes_to
    decision = world.instruct(instruction("p", signed, world.now))
    assert isinstance(decision, InstructionDecision)
    expected = Outcome.ACCEPTED if signed == comes_to else Outcome.SETTLEMENT_DIFFERS
    assert decision.result.outcome is expected
    # Whatever stands in a directory, an approval is judged again.
    closed = world.directory.closed_windows[window]
    closed_windows = {window: replace(closed, proposal=signed)}
    world.directory = replace(world.directory, closed_windows=closed_windows)
    decision = world.instruct(instruction("a", ApproveSettlement(signed), world.now))
    assert isinstance(decision, InstructionDecision)
    assert decision.result.outcome is expected


def test_what_is_not_computed_yet_is_neither_accepted_nor_refused() -> None:
    world = play("at 2026-02-10 | ops i1 close 2026-01 -> accepted 0..1")
    signed = proposal(world, "2026-01", "v1", ())
    with pytest.raises(Rejection) as raised:
        world.instruct(instruction("n1", signed, world.now))
    assert raised.value.reason is ErrorReason.SETTLEMENT_NOT_READY
    assert raised.value.retry_delay_ms
    play("ops n1 propose 2026-01 v1", world)
    del world.settles_to[WindowId("2026-01")]
    with pytest.raises(Rejection):
        world.instruct(instruction("n2", ApproveSettlement(signed), world.now))
    assert world.directory.closed_windows[WindowId("2026-01")].status is WindowStatus.PROPOSED


@given(st.integers(1, 9), st.data())
def test_a_payment_is_recorded_once_at_its_own_place_and_with_its_own_proof(size: int, data: st.DataObject) -> None:
    payments = [f"a>b:{amount}" for amount in range(1, size + 1)]
    world = play("at 2026-02-10 | ops i1 close 2026-01 -> accepted 0..1")
    play(f"ops p propose 2026-01 v1 {' '.join(payments)} | ops a approve 2026-01 v1 {' '.join(payments)}", world)
    for number in data.draw(st.permutations(range(size))):
        right = recording(world, "2026-01", payments[number])
        wrong = data.draw(
            st.sampled_from(
                [
                    replace(right, index=(right.index + 1) % (size + 1)),
                    replace(right, salt=bytes(32)),
                    replace(right, path=(*right.path, bytes(32))),
                    replace(right, payment=replace(right.payment, amount_minor=right.payment.amount_minor + 10**15)),
                    replace(right, payment=replace(right.payment, payee=MerchantId("d"))),
                ]
            )
        )
        expected = [Outcome.UNKNOWN_PAYMENT, Outcome.ACCEPTED, Outcome.PAYMENT_ALREADY_RECORDED]
        for step, (action, outcome) in enumerate(zip((wrong, right, right), expected, strict=True)):
            decision = world.instruct(instruction(f"pay-{number}-{step}", action, world.now))
            assert isinstance(decision, InstructionDecision)
            assert decision.result.outcome is outcome
    assert world.directory.closed_windows[WindowId("2026-01")].status is WindowStatus.SETTLED


def test_the_pool_takes_part_where_it_settles() -> None:
    play(
        """
        at 2026-02-10
        ops i1 close 2026-01 -> accepted 0..1
        ops i2 propose 2026-01 v1 a>pool:5 pool>b:4
        ops i3 approve 2026-01 v1 a>pool:5 pool>b:4
        ops i4 pay 2026-01 pool>b:4
        ops i5 pay 2026-01 a>pool:5
        window 2026-01 settled
        """,
        settlement_method=SettlementMethod.POOL,
    )
