"""What an entry of the log holds, for people."""

from __future__ import annotations

from back_office.cli.console import print_table, say
from back_office.client.moments import time_text
from back_office.client.wording import words
from clearing.contract.entry import Entry
from clearing.contract.instruction import PAYLOAD_TYPE as INSTRUCTION_TYPE
from clearing.contract.instruction import decode_instruction
from clearing.contract.presentment import decode_presentment
from clearing.model import Burn, Earn, Refund, Transaction, TransactionResult


def print_entry(index: int, entry: Entry) -> None:
    """Who signed what, when it was accepted, and what it came to."""
    say(f"Entry {index}, accepted {time_text(entry.accepted_at)}", "bold")
    signers = ", ".join(signature.keyid for signature in entry.envelope.signatures)
    if entry.envelope.payload_type == INSTRUCTION_TYPE:
        instruction = decode_instruction(entry.envelope.payload)
        assert entry.instruction_result is not None
        say(
            f"Instruction {instruction.reference}, signed by {signers}: {entry.instruction_result.outcome.name.lower()}"
        )
        print_table("", ("what", "value"), words(entry.envelope.payload))
        return
    presentment = decode_presentment(entry.envelope.payload)
    say(f"Presentment of {presentment.merchant}, signed by {signers}")
    pairs = zip(presentment.transactions, entry.transaction_results, strict=True)
    print_table(
        "",
        ("reference", "card", "what", "outcome", "points moved", "available after"),
        [_row(transaction, result) for transaction, result in pairs],
        ("points moved", "available after"),
    )


def _row(transaction: Transaction, result: TransactionResult) -> tuple[str, ...]:
    match transaction.kind:
        case Earn(points=points):
            what = f"earn {points:,}"
        case Burn(points=points):
            what = f"burn {points:,}"
        case Refund(original_reference=original, points=points):
            what = f"refund {'all' if points is None else f'{points:,}'} of {original}"
        case _:
            what = "open card"
    return (
        transaction.reference,
        transaction.card,
        what,
        result.outcome.name.lower(),
        f"{result.points:,}",
        f"{result.points_available:,}",
    )
