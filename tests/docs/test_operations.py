"""docs/operations.md lists exactly the settings, options, metrics and log events that the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
from prometheus_client import Metric
from pydantic_core import PydanticUndefined

from back_office.cli.application import app
from back_office.cli.gateway import gateway
from clearing.runtime.metrics import WriterGauges
from clearing.runtime.settings import PREFIX, Settings
from merchant_gateway.server.metrics import PrometheusMetrics

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text()


def table(*header: str) -> list[dict[str, str]]:
    """The rows of the table with this header."""
    start = DOCUMENT.index(f"| {' | '.join(header)} |\n")
    lines = DOCUMENT[start : DOCUMENT.index("\n\n", start)].splitlines()[2:]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [dict(zip(header, row, strict=True)) for row in cells]


SETTINGS = table("setting", "option", "default", "meaning")


def shown(default: Any) -> str:
    """A default as the table shows it."""
    if default is None:
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_every_setting_has_a_row_with_its_default_and_no_other_has() -> None:
    code = {name: field.default for name, field in Settings.model_fields.items()}
    assert PydanticUndefined not in code.values()
    assert [(row["setting"], row["default"]) for row in SETTINGS] == [
        (f"`{PREFIX}{name.upper()}`", shown(default)) for name, default in code.items()
    ]


def options_of(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}


@pytest.fixture(scope="module")
def gateway_options() -> set[str]:
    alone = typer.Typer()
    alone.command()(gateway)
    command = typer.main.get_command(alone)
    return {name for name in options_of(command) if name not in ("--install-completion", "--show-completion")}


def test_every_option_of_the_gateway_is_told_and_stands_beside_its_setting(gateway_options: set[str]) -> None:
    beside_settings = {row["option"].strip("`"): row["setting"].strip("`") for row in SETTINGS if row["option"]}
    alone = {row["option"].strip("`") for row in table("option", "meaning")}
    assert gateway_options == (beside_settings.keys() & gateway_options) | alone
    assert not alone & beside_settings.keys()
    for option, setting in beside_settings.items():
        assert setting == PREFIX + option.removeprefix("--").upper().replace("-", "_")


def test_the_options_beside_settings_exist(gateway_options: set[str]) -> None:
    of_all_commands = options_of(typer.main.get_command(app))
    of_signing = {"--key"}
    told = {row["option"].strip("`") for row in SETTINGS if row["option"]}
    assert told <= gateway_options | of_all_commands | of_signing


def test_every_metric_of_ours_has_a_row_with_its_labels_and_no_other_has() -> None:
    metrics = PrometheusMetrics()
    metrics.watch_writer(WriterGauges(lambda: 0, lambda: 0, lambda: True))
    metrics.observe_call("MerchantGateway/Submit", "OK", 0.1)
    collected: list[Metric] = [each for each in metrics.registry.collect() if each.name.startswith("clearing_")]
    code = {
        each.name + ("_total" if each.type == "counter" else ""): {
            label for sample in each.samples for label in sample.labels if label != "le"
        }
        for each in collected
    }
    rows = table("metric", "labels", "what it is")
    assert {row["metric"].strip("`"): set(re.findall(r"`(\w+)`", row["labels"])) for row in rows[:-1]} == code


def test_alerts_ask_for_metrics_that_exist() -> None:
    names = {row["metric"].strip("`") for row in table("metric", "labels", "what it is")}
    assert set(re.findall(r"\bclearing_[a-z_]+(?=[{\[ ])", "".join(map(str, table("when", "why"))))) <= names


def test_every_event_that_the_code_logs_is_told() -> None:
    sources = [
        path
        for folder in ("clearing", "merchant_gateway", "settlement", "back_office")
        for path in (ROOT / folder).rglob("*.py")
    ]
    logged = {event for path in sources for event in re.findall(r'logger\.\w+\(\s*"([a-z_]+)"', path.read_text())}
    told = {event for row in table("event", "level", "when", "with") for event in re.findall(r"`(\w+)`", row["event"])}
    assert told == logged
