"""docs/security.md gives the limits and names that the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from clearing.contract import bounds
from clearing.runtime.settings import PREFIX, Settings
from merchant_gateway.server import service
from merchant_gateway.server.certificates import ALLIANCE_URI, MERCHANT_URI
from merchant_gateway.server.limits import MerchantLimits
from tests.waiting import PATIENCE_SECONDS

DOCUMENT = (Path(__file__).parents[2] / "docs/security.md").read_text()


def test_the_limits_are_the_codes() -> None:
    for setting, default in (
        ("merchant_calls_per_second", MerchantLimits().calls_per_second),
        ("merchant_transactions_per_second", MerchantLimits().transactions_per_second),
    ):
        assert Settings.model_fields[setting].default == default
        assert f"{default:,} a second (`{PREFIX}{setting.upper()}`)" in DOCUMENT
    assert f"{service.ENVELOPES_MAX} envelopes, {service.CALL_BYTES_MAX // 2**20} MiB" in DOCUMENT
    assert f"{bounds.PAYLOAD_BYTES_MAX // 2**10} KiB, {bounds.TRANSACTIONS_MAX} transactions" in DOCUMENT
    assert MerchantLimits().burst_seconds == 2
    assert "Two seconds' worth may come at once" in DOCUMENT


def test_identities_settings_and_options_are_the_codes() -> None:
    assert f"`{MERCHANT_URI}<identifier>`" in DOCUMENT
    assert f"`{ALLIANCE_URI}`" in DOCUMENT
    named = {name.lower() for name in re.findall(rf"{PREFIX}([A-Z_]+)", DOCUMENT)}
    assert named <= set(Settings.model_fields)
    told = help_of("gateway") + help_of()
    for option in re.findall(r"`(--[a-z-]+)`", DOCUMENT):
        assert option in told


def help_of(*command: str) -> str:
    """In a process of its own: the command line sets up logging for the whole process."""
    arguments = (sys.executable, "-m", "back_office.cli", *command, "--help")
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return done.stdout
