"""docs/protocol.md gives the bounds that the code checks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clearing.contract import bounds
from clearing.contract.entry import ENTRY_BYTES_MAX
from clearing.model import POINTS_PER_TRANSACTION_MAX
from clearing.rules.authority import CLOCK_TOLERANCE_MINUTES
from clearing.runtime.settings import Settings
from clearing.signing import tokens
from merchant_gateway.server import service

DOCUMENT = (Path(__file__).parents[2] / "docs/protocol.md").read_text()
PATTERNS = [value.pattern for value in vars(bounds).values() if isinstance(value, re.Pattern)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_stands_in_the_document(pattern: str) -> None:
    assert f"`{pattern}`" in DOCUMENT.replace(r"\|", "|")


@pytest.mark.parametrize(
    "sentence",
    [
        f"at most {bounds.PAYLOAD_BYTES_MAX:,} bytes",
        f"| 5 `transactions` | 1 to {bounds.TRANSACTIONS_MAX} |",
        f"1 to {bounds.SIGNATURES_MAX}, each by another key",
        f"| 12 `burn` | `points` 1 to {POINTS_PER_TRANSACTION_MAX:,} |",
        f"`purchase_amount_minor` absent, or 0 to {bounds.PURCHASE_AMOUNT_MINOR_MAX:,}",
        f"at most {bounds.PRICE_MAX:,}",
        f"at most {ENTRY_BYTES_MAX:,} bytes",
        f"takes 1 to {service.ENVELOPES_MAX} envelopes",
        f"({service.CALL_BYTES_MAX:,} bytes)",
        f"at most 4 MiB ({service.ANSWER_BYTES_MAX:,} bytes) of receipts",
        f"at most {CLOCK_TOLERANCE_MINUTES} minutes after the gateway's clock",
        f"| `exp` − `iat` | 1 to {tokens.LIFETIME_SECONDS_MAX} seconds.",  # noqa: RUF001 - a minus sign
        f"at most {tokens.CLOCK_TOLERANCE_SECONDS} seconds after the gateway's clock",
        f"at most {tokens.TOKEN_BYTES_MAX:,} characters",
        f"`{Settings.model_fields['address'].default}`",
    ],
)
def test_every_number_of_the_document_is_the_codes(sentence: str) -> None:
    assert sentence in " ".join(DOCUMENT.split())
