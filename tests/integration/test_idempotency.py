"""Sent again, heard again: references are decided once, and every receipt proves under every later checkpoint."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from clearing.audit.replay import Replay
from clearing.contract import instruction as instruction_contract
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.log.checkpoint import Checkpoint, open_checkpoint
from clearing.log.merkle import ProofError, leaf_hash, verify_consistency, verify_inclusion
from clearing.log.merkle import root as tree_root
from clearing.model import Instant, Outcome
from clearing.signing.envelope import sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.v1 import audit_pb2, entry_pb2, instruction_pb2, merchant_gateway_pb2, operations_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.observation import Refusal, complaints, log_size, refusal, untouched


@pytest.fixture
def alliance(shared_alliance: Alliance) -> Alliance:
    """The module's alliance."""
    return shared_alliance


def earn(alliance: Alliance, card: str, points: int = 1, **fields: Any) -> presentment_pb2.Transaction:
    return alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=points), **fields)


def signed(alliance: Alliance, *transactions: presentment_pb2.Transaction) -> Envelope:
    """The transactions signed by the bakery, now."""
    return alliance.envelope(alliance.presentment("bakery", *transactions))


def outcomes(receipt: entry_pb2.Receipt) -> list[tuple[Outcome, int, int | None]]:
    """Of each transaction: outcome, points available, and where the original stands."""
    results = decode_entry(receipt.entry).transaction_results
    return [(result.outcome, result.points_available, result.original_index) for result in results]


def test_the_same_envelope_again_hears_the_original_under_the_newest_checkpoint(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    envelope = signed(alliance, earn(alliance, card, 100))
    (original,) = alliance.submit(envelope)
    alliance.earn("bakery", card, 1)
    with untouched(alliance.engine):
        (again,) = alliance.submit(envelope)
    assert (original.replayed, again.replayed) == (False, True)
    assert (again.index, again.entry) == (original.index, original.entry)
    assert checkpoint_of(alliance, again).size > checkpoint_of(alliance, original).size


def test_the_same_references_signed_again_later_hear_the_original(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    transactions = [earn(alliance, card, points) for points in (10, 20, 30)]
    (original,) = alliance.submit(signed(alliance, *transactions))
    with untouched(alliance.engine):
        (again,) = alliance.submit(signed(alliance, *transactions))
        (part,) = alliance.submit(signed(alliance, *reversed(transactions[:2])))
    assert (again.replayed, again.entry) == (part.replayed, part.entry) == (True, original.entry)


def test_a_refusal_is_final_even_if_points_have_arrived_meanwhile(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    burn = alliance.transaction("cinema", card, burn=presentment_pb2.Burn(points=50))
    (first,) = alliance.present("cinema", burn)
    alliance.earn("bakery", card, 100)
    with untouched(alliance.engine):
        (again,) = alliance.present("cinema", burn)
    assert again == first
    assert first.outcome is Outcome.INSUFFICIENT_POINTS


def test_a_partly_overlapping_presentment_does_only_what_is_new(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    first, second, third = (earn(alliance, card, points) for points in (10, 20, 40))
    (original,) = alliance.submit(signed(alliance, first, second))
    overlapping = signed(alliance, second, third)
    (receipt,) = alliance.submit(overlapping)
    accepted = Outcome.ACCEPTED
    assert outcomes(receipt) == [(accepted, 30, original.index), (accepted, 70, None)]
    assert not receipt.replayed
    (again,) = alliance.submit(overlapping)
    assert outcomes(again) == [(accepted, 30, original.index), (accepted, 70, receipt.index)]
    assert alliance.earn("bakery", card, 1).points_available == 71
    assert complaints(alliance.engine) == []


def test_a_reference_twice_in_one_presentment_is_decided_once(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    twice, other = earn(alliance, card, 10, reference="twice"), earn(alliance, card, 11, reference="twice")
    (receipt,) = alliance.submit(signed(alliance, twice, twice, other))
    assert outcomes(receipt) == [
        (Outcome.ACCEPTED, 10, None),
        (Outcome.ACCEPTED, 10, receipt.index),
        (Outcome.REFERENCE_REUSED, 0, None),
    ]
    assert complaints(alliance.engine) == []


def test_a_reference_raced_by_many_threads_is_accepted_once(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    transaction = earn(alliance, card, 7)
    envelopes = [signed(alliance, transaction) for _ in range(24)]
    together = threading.Barrier(len(envelopes))

    def submit(envelope: Envelope) -> entry_pb2.Receipt:
        together.wait()
        return alliance.submit(envelope)[0]

    with ThreadPoolExecutor(len(envelopes)) as threads:
        receipts = list(threads.map(submit, envelopes))
    assert sorted(receipt.replayed for receipt in receipts) == [False] + [True] * 23
    assert len({(receipt.index, receipt.entry) for receipt in receipts}) == 1
    assert alliance.earn("bakery", card, 1).points_available == 8
    assert complaints(alliance.engine) == []


def test_a_reference_raced_with_different_contents_is_accepted_once(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    envelopes = [signed(alliance, earn(alliance, card, points, reference="raced")) for points in range(1, 25)]
    with ThreadPoolExecutor(len(envelopes)) as threads:
        receipts = list(threads.map(lambda envelope: alliance.submit(envelope)[0], envelopes))
    heard = [outcomes(receipt)[0][0] for receipt in receipts]
    assert sorted(heard) == [Outcome.ACCEPTED] + [Outcome.REFERENCE_REUSED] * 23
    accepted_points = heard.index(Outcome.ACCEPTED) + 1
    assert alliance.earn("bakery", card, 1).points_available == accepted_points + 1
    assert complaints(alliance.engine) == []


def test_receipts_stand_in_the_order_of_the_envelopes_also_where_some_repeat(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    earns = [earn(alliance, card) for _ in range(40)]
    older = signed(alliance, earns[0])
    (original,) = alliance.submit(older)
    size = log_size(alliance.engine)
    envelopes = [signed(alliance, transaction) for transaction in earns[1:]]
    receipts = alliance.submit(*envelopes[:20], older, envelopes[0], *envelopes[20:], envelopes[0])

    new = [*receipts[:20], *receipts[22:-1]]
    assert [receipt.index for receipt in new] == list(range(size, size + 39))
    assert [decode_entry(receipt.entry).envelope for receipt in new] == envelopes
    assert not any(receipt.replayed for receipt in new)
    assert [receipts[place].index for place in (20, 21, -1)] == [original.index, size, size]
    assert all(receipts[place].replayed for place in (20, 21, -1))
    assert len({receipt.checkpoint for receipt in receipts}) == 1


def test_an_envelope_refused_by_the_writer_is_named_and_the_others_of_its_call_are_heard_on_retry(
    alliance: Alliance,
) -> None:
    """The first envelope moves the ledger's time past the second one's key, which only the writer can see."""
    card = alliance.open_card("bakery")
    brief = PrivateKey.generate()
    until = Instant(alliance.now + 60 * 1_000_000)
    tills: dict[str, Any] = {"role": "ROLE_MERCHANT", "merchant": "bakery", "holder": "bakery-till"}
    alliance.register(brief, valid_until=timestamp_of(until), **tills)
    in_time = alliance.envelope(alliance.presentment("bakery", earn(alliance, card, 1)), brief)
    after = timestamp_of(Instant(until + 1))
    later = alliance.envelope(alliance.presentment("bakery", earn(alliance, card, 2), presented_at=after))
    last = alliance.envelope(alliance.presentment("bakery", earn(alliance, card, 4), presented_at=after))

    request = merchant_gateway_pb2.SubmitRequest(envelopes=[later, in_time, last])
    heard = refusal(lambda: alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS))
    assert heard == Refusal(grpc.StatusCode.UNAUTHENTICATED, "KEY_EXPIRED", "clearing", "", "1", False)
    alliance.now = Instant(until + 2)
    with untouched(alliance.engine):
        receipts = alliance.submit(later, last)
    assert [receipt.replayed for receipt in receipts] == [True, True]
    assert [outcomes(receipt)[0][1] for receipt in receipts] == [2, 6]


def test_a_revoked_key_and_another_one_hear_the_original(alliance: Alliance) -> None:
    card = alliance.open_card("bakery")
    lost = PrivateKey.generate()
    alliance.register(lost, "ROLE_MERCHANT", merchant="bakery", holder="bakery-till")
    presentment = alliance.presentment("bakery", earn(alliance, card, 5))
    envelope = alliance.envelope(presentment, lost)
    (original,) = alliance.submit(envelope)
    alliance.accept(revoke_key=instruction_pb2.RevokeKey(keyid=lost.key_id))

    presentment.presented_at.CopyFrom(timestamp_of(alliance.time()))
    with untouched(alliance.engine):
        (by_the_lost,) = alliance.submit(alliance.envelope(presentment, lost))
        (again,) = alliance.submit(alliance.envelope(presentment))
    assert (by_the_lost.replayed, by_the_lost.entry) == (True, original.entry)
    assert (again.replayed, again.entry) == (True, original.entry)


def test_an_instruction_again_hears_the_original_and_other_content_is_refused(alliance: Alliance) -> None:
    admit = instruction_pb2.AdmitMerchant(merchant="florist", legal_name="Florist")
    first = alliance.accept(reference="admit-florist", admit_merchant=admit)
    with untouched(alliance.engine):
        # Signed again at another time: the same instruction.
        assert alliance.accept(reference="admit-florist", admit_merchant=admit) == first
    other = instruction_pb2.AdmitMerchant(merchant="grocer", legal_name="Grocer")
    reused = alliance.instruct(reference="admit-florist", admit_merchant=other)
    assert reused.instruction_result is not None
    assert reused.instruction_result.outcome is Outcome.REFERENCE_REUSED
    directory = alliance.gateway.writer.directory
    assert directory is not None
    assert "grocer" not in directory.merchants


def test_a_registration_again_hears_the_original(alliance: Alliance) -> None:
    key = PrivateKey.generate()
    action = instruction_pb2.RegisterKey(
        public_key=key.public_key, role=instruction_pb2.ROLE_AUDITOR, holder="auditor-1"
    )
    payload = alliance.instruction(register_key=action)
    envelope = sign_envelope(payload, instruction_contract.PAYLOAD_TYPE, [alliance.operator, key])
    request = operations_pb2.InstructRequest(envelope=envelope)
    original = alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
    with untouched(alliance.engine):
        again = alliance.operations.Instruct(request, timeout=CALL_TIMEOUT_SECONDS).receipt
    assert (again.replayed, again.entry) == (True, original.entry)


def test_an_instruction_raced_by_many_threads_is_carried_out_once(alliance: Alliance) -> None:
    admit = instruction_pb2.AdmitMerchant(merchant="raced", legal_name="Raced")
    size = log_size(alliance.engine)
    with ThreadPoolExecutor(16) as threads:
        entries = list(
            threads.map(lambda _: alliance.accept(reference="raced", admit_merchant=admit, signers=None), range(16))
        )
    assert all(entry == entries[0] for entry in entries)
    assert log_size(alliance.engine) == size + 1


# ---- the log ----


def checkpoint_of(alliance: Alliance, receipt: entry_pb2.Receipt) -> Checkpoint:
    return open_checkpoint(receipt.checkpoint, alliance.log_key.verifier)


def verify_pairs(alliance: Alliance, checkpoints: Sequence[Checkpoint]) -> None:
    """Each is the beginning of each later one, by a proof the gateway gives."""
    metadata = alliance.authorization(alliance.operator)
    for old, new in itertools.combinations(sorted(checkpoints, key=lambda checkpoint: checkpoint.size), 2):
        request = audit_pb2.GetConsistencyProofRequest(old_size=old.size, new_size=new.size)
        answer = alliance.audit.GetConsistencyProof(request, metadata=metadata, timeout=CALL_TIMEOUT_SECONDS)
        verify_consistency(old.size, new.size, old.root, new.root, list(answer.consistency_path))


def test_every_two_checkpoints_handed_out_are_consistent_and_old_receipts_prove_under_the_newest(
    alliance: Alliance,
) -> None:
    card = alliance.open_card("bakery")
    receipts: list[entry_pb2.Receipt] = []
    # Sizes that cross a tile's 256 entries, in steps that hit odd and even ones.
    for entries in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 1):
        receipts += alliance.submit(*(signed(alliance, earn(alliance, card)) for _ in range(entries)))
    checkpoints = list({receipt.checkpoint: checkpoint_of(alliance, receipt) for receipt in receipts}.values())
    assert checkpoints[-1].size > 256
    verify_pairs(alliance, checkpoints)

    metadata = alliance.authorization(alliance.operator)
    newest = checkpoints[-1]
    for receipt in receipts[::7]:
        request = audit_pb2.GetInclusionProofRequest(index=receipt.index, tree_size=newest.size)
        proof = alliance.audit.GetInclusionProof(request, metadata=metadata, timeout=CALL_TIMEOUT_SECONDS)
        assert proof.entry == receipt.entry
        leaf = leaf_hash(receipt.entry)
        verify_inclusion(leaf, receipt.index, newest.size, list(proof.inclusion_path), newest.root)
    with pytest.raises(ProofError):
        verify_consistency(checkpoints[0].size, newest.size, newest.root, newest.root, [])


def test_the_log_read_through_the_gateway_hashes_to_its_checkpoint(alliance: Alliance) -> None:
    metadata = alliance.authorization(alliance.operator)
    answer = alliance.audit.GetCheckpoint(audit_pb2.GetCheckpointRequest(), metadata=metadata)
    checkpoint = open_checkpoint(answer.checkpoint, alliance.log_key.verifier)
    request = audit_pb2.ListEntriesRequest(first_index=0, end_index=checkpoint.size)
    chunks = list(alliance.audit.ListEntries(request, metadata=metadata, timeout=CALL_TIMEOUT_SECONDS))
    entries = [entry for chunk in chunks for entry in chunk.entries]
    firsts = itertools.accumulate((len(chunk.entries) for chunk in chunks[:-1]), initial=0)
    assert [chunk.first_index for chunk in chunks] == list(firsts)
    assert tree_root([leaf_hash(entry) for entry in entries]) == checkpoint.root
    with Replay(entries.__getitem__) as replay:
        for entry in entries:
            replay.step(entry)
        replay.finish()
    assert replay.directory == alliance.gateway.writer.directory
