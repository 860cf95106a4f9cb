"""Every outcome and every movement, each by the shortest way to it."""

import pytest

from clearing.model import Outcome
from clearing.rules.movements import Movement, credit_account, debit_account
from tests.rules.script import play

# Outcome, then the steps to it separated by bars; the last step has it.
OUTCOMES = """
accepted                     a open o1 C1
atomic_aborted               a atomic: open o1 C1; burn b1 C1 5 -> atomic_aborted; insufficient_points
reference_reused             a open o1 C1 | a open o1 C2 -> reference_reused
unknown_card                 a earn e1 C1 5 -> unknown_card
card_exists                  a open o1 C1 | b open o2 C1 -> card_exists
unknown_store                a open o1 C1 store=a-9 -> unknown_store
store_of_another_merchant    a open o1 C1 store=b-1 -> store_of_another_merchant
unknown_unit                 a open o1 C1 unit=EUR -> unknown_unit
occurred_in_future           a open o1 C1 occurred=301s -> occurred_in_future
late_presentment             a open o1 C1 occurred=-31d -> late_presentment
insufficient_points          a open o1 C1 | a burn b1 C1 1 -> insufficient_points
balance_limit_exceeded       a open o1 C1 | a earn e1 C1 1000000000000 | a earn e2 C1 1 -> balance_limit_exceeded
unknown_original             a open o1 C1 | a refund r1 C1 e1 -> unknown_original
original_of_another_card     a all: open o1 C1; open o2 C2; earn e1 C1 5 | a refund r1 C2 e1 -> original_of_another_card
original_not_accepted        a open o1 C1 | a burn b1 C1 1 -> insufficient_points | a refund r1 C1 b1 -> original_not_accepted
original_not_refundable      a open o1 C1 | a refund r1 C1 o1 -> original_not_refundable
already_refunded             a all: open o1 C1; earn e1 C1 5; refund r1 C1 e1 | a refund r2 C1 e1 -> already_refunded
refund_exceeds_remaining     a all: open o1 C1; earn e1 C1 5; refund r1 C1 e1 3 | a refund r2 C1 e1 3 -> refund_exceeds_remaining
alliance_exists              ops i1 found -> alliance_exists
merchant_exists              ops i1 admit a -> merchant_exists
unknown_merchant             ops i1 store x x-1 -> unknown_merchant
store_exists                 ops i1 store a b-1 -> store_exists
key_exists                   ops i1 key k-anna auditor carl -> key_exists
key_not_registered           ops i1 revoke k-nobody -> key_not_registered
key_already_revoked          ops i1 key k1 auditor carl | ops i2 revoke k1 | ops i3 revoke k1 -> key_already_revoked
last_operator_key            ops i1 revoke k-anna -> last_operator_key
terms_backdated              ops i1 terms - - 2026-01-01 0.01 0.009 -> terms_backdated
window_not_over              ops i1 close 2026-01 -> window_not_over
window_already_closed        at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 close 2026-01 -> window_already_closed
window_out_of_order          at 2026-03-01 | ops i1 close 2026-02 -> window_out_of_order
window_not_closed            ops i1 propose 2026-01 v1 -> window_not_closed
settlement_not_proposed      ops i1 approve 2026-01 v1 -> settlement_not_proposed
proposal_differs             at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 propose 2026-01 v1 | ops i3 approve 2026-01 v2 -> proposal_differs
settlement_already_approved  at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 propose 2026-01 v1 | ops i3 approve 2026-01 v1 | ops i4 approve 2026-01 v1 -> settlement_already_approved
settlement_not_approved      ops i1 pay 2026-01 a>b:5 -> settlement_not_approved
unknown_payment              at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 propose 2026-01 v1 | ops i3 approve 2026-01 v1 | ops i4 pay 2026-01 a>b:5 -> unknown_payment
payment_already_recorded     at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 propose 2026-01 v1 a>b:5 | ops i3 approve 2026-01 v1 a>b:5 | ops i4 pay 2026-01 a>b:5 | ops i5 pay 2026-01 a>b:5 -> payment_already_recorded
amendment_too_soon           at 2026-01-10 | ops i1 amend 2026-01-09 late=5 -> amendment_too_soon
constitution_unchanged       at 2026-01-10 | ops i1 amend 2026-02-01 late=30 -> constitution_unchanged
adoption_too_soon            at 2026-01-10 | ops i1 adopt 2026-01 2 2 -> adoption_too_soon
version_goes_back            at 2026-01-10 | ops i1 adopt 2026-02 2 2 | ops i2 adopt 2026-03 1 2 -> version_goes_back
versions_unchanged           at 2026-01-10 | ops i1 adopt 2026-02 1 1 -> versions_unchanged
settlement_differs           at 2026-02-01 | ops i1 close 2026-01 -> accepted 0..1 | ops i2 propose 2026-01 v1 | ops i3 propose 2026-01 v2 ledger=other -> settlement_differs
offsets_too_soon             at 2026-01-10 | ops i1 offsets 2026-01-11T10:59:00Z -> offsets_too_soon
offsets_unchanged            at 2026-01-10 | ops i1 offsets 2026-02-01 | ops i2 offsets 2026-02-01 -> offsets_unchanged
"""  # noqa: E501 - one row a case

ROWS = [line.split(maxsplit=1) for line in OUTCOMES.strip().splitlines()]


@pytest.mark.parametrize(("outcome", "steps"), ROWS, ids=[row[0] for row in ROWS])
def test_outcome(outcome: str, steps: str) -> None:
    *_, last = steps.split(" | ")
    assert outcome in (last.partition("->")[2] or "accepted")
    play("\n".join(step.strip() for step in steps.split(" | ")))


def test_every_outcome_has_its_case() -> None:
    assert [row[0].upper() for row in ROWS] == [outcome.name for outcome in Outcome]


MOVEMENTS = """
earn              issued/a  card/C1    a earn e1 C1 100
burn              card/C1   owed/a/b   a earn e1 C1 100 | b burn b1 C1 100
earn_refunded     card/C1   issued/a   a earn e1 C1 100 | a refund r1 C1 e1
burn_refunded     owed/a/b  card/C1    a earn e1 C1 100 | b burn b1 C1 100 | b refund r1 C1 b1
expiry            card/C1   expired/a  a earn e1 C1 100 | at 2027-02-01 | ops i1 expire C1 -> accepted expired=100
expiry_reversed   expired/a issued/a   a earn e1 C1 100 | at 2027-02-01 | ops i1 expire C1 -> accepted expired=100 | a refund r1 C1 e1
debt_incurred     debt/C1/a issued/a   a earn e1 C1 100 | b burn b1 C1 100 | a refund r1 C1 e1
earn_to_debt      issued/a  debt/C1/a  a earn e1 C1 100 | b burn b1 C1 100 | a refund r1 C1 e1 | a earn e2 C1 100
earn_to_creditor  issued/c  owed/c/a   a earn e1 C1 100 | b burn b1 C1 100 | a refund r1 C1 e1 | c earn e2 C1 100
debt_reinstated   issued/a  debt/C1/a  a earn e1 C1 100 | b burn b1 C1 100 | a refund r1 C1 e1 | c earn e2 C1 100
"""  # noqa: E501 - one row a case

MOVEMENT_ROWS = [line.split(maxsplit=3) for line in MOVEMENTS.strip().splitlines()]


@pytest.mark.parametrize(("movement", "debit", "credit", "steps"), MOVEMENT_ROWS, ids=[row[0] for row in MOVEMENT_ROWS])
def test_movement_goes_from_its_debit_to_its_credit_account(movement: str, debit: str, credit: str, steps: str) -> None:
    world = play("\n".join(["a open o1 C1", *(step.strip() for step in steps.split(" | "))]))
    posting = next(posting for posting in world.postings if posting.movement.name.lower() == movement)
    assert posting.points == 100
    assert debit_account(posting).replace("card_" + "0" * 24, "") == debit
    assert credit_account(posting).replace("card_" + "0" * 24, "") == credit


def test_every_movement_has_its_case() -> None:
    assert [row[0].upper() for row in MOVEMENT_ROWS] == [movement.name for movement in Movement]
