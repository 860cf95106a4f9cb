"""docs/till.md: its example runs, and its numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from merchant_gateway.client.outbox import outbox, sales, sending
from tests.integration.alliance import founded

DOCUMENT = (Path(__file__).parents[2] / "docs/till.md").read_text()


def test_the_example_works(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with founded(database_url, clock="CLOCK_SYSTEM") as alliance:
        alliance.admit("bakery")
        given = {
            "address": alliance.gateway.server.address,
            "alliance": alliance.identity,
            "key": alliance.keys["bakery"],
        }
        exec(compile(example, "docs/till.md", "exec"), given)
    assert "The card has 120 points.\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "sentence",
    [
        f"`patience_seconds` says ({outbox.PATIENCE_SECONDS:.0f})",
        f"except the newest {sales.ACCEPTED_KEPT:,}",
        f"up to {sending.ENVELOPES_PER_CALL_MAX} envelopes",
    ],
)
def test_its_numbers_are_the_codes(sentence: str) -> None:
    assert sentence in " ".join(DOCUMENT.split())
