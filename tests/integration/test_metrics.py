"""What Prometheus reads: decisions, rejections and calls, each counted once, and the writer as it stands."""

from __future__ import annotations

import cProfile
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from back_office.host.assembly import Gateway
from clearing.errors import ErrorReason
from clearing.model import Outcome
from clearing.runtime.addresses import AddressError
from clearing.runtime.metrics import BatchSummary, Stage
from clearing.v1 import presentment_pb2
from merchant_gateway.server.listening import ListenError
from merchant_gateway.server.metrics import MetricsEndpoint, PrometheusMetrics
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.command import served
from tests.integration.held_up import decided_ahead, held_up, is_held_up
from tests.integration.observation import refusal
from tests.integration.test_writer import earn, submission
from tests.waiting import wait_until


@dataclass(slots=True)
class Scraped:
    """An alliance whose gateway has metrics, and reading them as Prometheus does."""

    alliance: Alliance
    address: str

    def samples(self) -> dict[str, float]:
        """Every sample by its name and labels, such as ``clearing_decisions_total{outcome="ACCEPTED"}``."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=CALL_TIMEOUT_SECONDS) as answer:
            text = answer.read().decode()
        return {
            sample.name + (str(sorted(sample.labels.values())) if sample.labels else ""): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def sample(self, name: str, *labels: str) -> float:
        return self.samples()[name + (str(sorted(labels)) if labels else "")]

    def wait_for(self, value: float, name: str, *labels: str) -> None:
        """Return once a sample has come to this: a batch is counted after its calls are answered."""
        wait_until(lambda: self.sample(name, *labels) >= value)
        assert self.sample(name, *labels) == value


@pytest.fixture
def scraped(alliance: Alliance) -> Iterator[Scraped]:
    metrics = PrometheusMetrics()
    alliance.close()
    alliance.gateway = Gateway(alliance.engine, alliance.log_key, "127.0.0.1:0", metrics=metrics)
    alliance.gateway.start()
    alliance.call(alliance.gateway.server.address)
    with MetricsEndpoint("127.0.0.1:0", metrics) as endpoint:
        yield Scraped(alliance, endpoint.address)


def test_decisions_are_counted_by_outcome_and_replays_apart(scraped: Scraped) -> None:
    alliance = scraped.alliance
    card = alliance.open_card("bakery")
    envelope = earn(alliance, card)
    alliance.submit(envelope)
    alliance.submit(envelope)
    alliance.burn("cinema", card, 1_000)
    alliance.admit("museum")
    alliance.instruct(open_store={"merchant": "nobody", "store": "nobody-1"})
    scraped.wait_for(1, "clearing_decisions_total", "UNKNOWN_MERCHANT")
    samples = scraped.samples()
    decided = {
        outcome.name: samples[f"clearing_decisions_total['{outcome.name}']"]
        for outcome in Outcome
        if samples[f"clearing_decisions_total['{outcome.name}']"]
    }
    assert decided == {"ACCEPTED": 5, "INSUFFICIENT_POINTS": 1, "UNKNOWN_MERCHANT": 1}
    assert samples["clearing_replays_total"] == 1


def test_the_repeated_part_of_a_new_presentment_is_not_counted_as_decided_again(scraped: Scraped) -> None:
    alliance = scraped.alliance
    card = alliance.open_card("bakery")
    first = alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=1))
    alliance.present("bakery", first)
    second = alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=2))
    alliance.present("bakery", first, second)
    scraped.wait_for(3, "clearing_decisions_total", "ACCEPTED")
    scraped.wait_for(1, "clearing_replays_total")


def test_batches_and_their_stages_are_timed(scraped: Scraped) -> None:
    alliance = scraped.alliance
    before, started_s = time.time(), time.perf_counter()
    card = alliance.open_card("bakery")
    alliance.submit(*[earn(alliance, card) for _ in range(30)])
    scraped.wait_for(2, "clearing_stage_seconds_count", Stage.COMMIT.value)
    after, took_s = time.time(), time.perf_counter() - started_s
    samples = scraped.samples()
    assert samples["clearing_batch_decisions_count"] == 2
    assert samples["clearing_batch_decisions_sum"] == 31
    for stage in Stage:
        assert samples[f"clearing_stage_seconds_count['{stage.value}']"] == 2
        assert samples[f"clearing_stage_seconds_sum['{stage.value}']"] > 0
    assert sum(samples[f"clearing_stage_seconds_sum['{stage.value}']"] for stage in Stage) < took_s
    assert before <= samples["clearing_last_batch_timestamp_seconds"] <= after


def test_rejections_are_counted_by_reason_and_calls_by_method_and_code(scraped: Scraped) -> None:
    alliance = scraped.alliance
    card = alliance.open_card("bakery")
    foreign = alliance.envelope(
        alliance.presentment("bakery", alliance.transaction("bakery", card, earn=presentment_pb2.Earn(points=1))),
        alliance.keys["cinema"],
    )
    assert refusal(submission(alliance, foreign)).reason == "MERCHANT_MISMATCH"
    samples = scraped.samples()
    assert samples["clearing_rejections_total['MERCHANT_MISMATCH']"] == 1
    assert sum(value for name, value in samples.items() if name.startswith("clearing_rejections_total")) == 1
    assert samples["clearing_call_seconds_count['MerchantGateway/Submit', 'OK']"] == 1
    assert samples["clearing_call_seconds_count['MerchantGateway/Submit', 'PERMISSION_DENIED']"] == 1
    assert {name for name in samples if name.startswith("clearing_rejections_total")} == {
        f"clearing_rejections_total['{reason.name}']" for reason in ErrorReason
    }


def test_pool_log_and_process_are_shown_as_they_are(scraped: Scraped) -> None:
    alliance = scraped.alliance
    card = alliance.open_card("bakery")
    assert scraped.sample("clearing_log_entries") == alliance.log_size()
    assert scraped.sample("clearing_pool_transactions") == 0
    assert scraped.sample("clearing_able") == 1
    assert scraped.sample("process_resident_memory_bytes") > 10_000_000
    with ThreadPoolExecutor(3) as threads:
        with held_up(alliance):
            calls = [threads.submit(alliance.submit, earn(alliance, card))]
            wait_until(lambda: is_held_up(alliance))
            decided_ahead(alliance)
            calls += [threads.submit(alliance.submit, earn(alliance, card)) for _ in range(2)]
            wait_until(lambda: scraped.sample("clearing_pool_transactions") == 2)
        assert not any(call.result()[0].replayed for call in calls)
    alliance.gateway.writer.close()
    assert scraped.sample("clearing_able") == 0


def test_a_batch_costs_as_much_to_observe_however_many_transactions_it_has() -> None:
    metrics = PrometheusMetrics()
    small, large = (
        BatchSummary({Outcome.ACCEPTED: 9 * many, Outcome.UNKNOWN_CARD: many}, 0, dict.fromkeys(Stage, 0.001))
        for many in (1, 200)
    )
    assert calls_made_by(lambda: metrics.observe_batch(large)) == calls_made_by(lambda: metrics.observe_batch(small))


def calls_made_by(work: Callable[[], None]) -> int:
    """How many functions are called for it."""

    def count_calls() -> int:
        profile = cProfile.Profile()
        profile.runcall(work)
        return sum(entry.callcount for entry in profile.getstats())

    return min(count_calls() for _ in range(5))  # garbage may be collected meanwhile, which calls functions too


def test_the_endpoint_names_what_is_wrong_with_its_address() -> None:
    metrics = PrometheusMetrics()
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ListenError, match=r"Address already in use; .* --metrics-address"),
    ):
        MetricsEndpoint(f"127.0.0.1:{taken.getsockname()[1]}", metrics)
    with pytest.raises(ListenError, match=r"0\.0\.0\.0 is not loopback"):
        MetricsEndpoint("0.0.0.0:9464", metrics)
    with pytest.raises(AddressError):
        MetricsEndpoint("9464", metrics)


def test_the_command_serves_metrics_where_it_is_told_to(alliance: Alliance, tmp_path: Path) -> None:
    card = alliance.open_card("bakery")
    with served(alliance, tmp_path, "--metrics-address", "127.0.0.1:0") as gateway:
        scraped = Scraped(alliance, gateway.wait_for("metrics_served")["address"])
        alliance.submit(earn(alliance, card))
        scraped.wait_for(1, "clearing_decisions_total", "ACCEPTED")
        assert scraped.sample("clearing_able") == 1
        assert gateway.stop() == 0


def test_the_command_names_a_metrics_port_in_use_and_serves_nothing(alliance: Alliance, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(AssertionError, match="Error: cannot serve metrics at 127"),
        served(alliance, tmp_path, "--metrics-address", f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass
