"""SIGTERM: health turns first, what is under way is answered, what is not taken is taken by the next gateway."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import grpc
import pytest

from clearing.v1 import merchant_gateway_pb2
from tests.integration.alliance import CALL_TIMEOUT_SECONDS, Alliance
from tests.integration.command import served
from tests.integration.held_up import held_up, is_held_up
from tests.integration.test_health import NOT_SERVING, SERVING, watched
from tests.integration.test_standby import standing_by, take_over
from tests.integration.test_writer import earn
from tests.integration.tills import at_work
from tests.waiting import wait_until


def test_a_call_under_way_is_answered_and_a_new_one_is_turned_away_until_the_next_gateway(
    alliance: Alliance, tmp_path: Path
) -> None:
    with served(alliance, tmp_path) as gateway:
        card = alliance.open_card("bakery")
        taken = [earn(alliance, card) for _ in range(3)]
        not_taken = earn(alliance, card)
        request = merchant_gateway_pb2.SubmitRequest(envelopes=[not_taken])
        with watched(alliance) as watch, ThreadPoolExecutor(1) as threads:
            with held_up(alliance):
                call = threads.submit(alliance.submit, *taken)
                wait_until(lambda: is_held_up(alliance))
                gateway.process.send_signal(signal.SIGTERM)
                wait_until(lambda: watch.statuses() == [SERVING, NOT_SERVING])
                with pytest.raises(grpc.RpcError) as refused:
                    alliance.merchants.Submit(request, timeout=CALL_TIMEOUT_SECONDS)
                # grpcio raises the failed call itself
                assert cast(grpc.Call, refused.value).code() is grpc.StatusCode.UNAVAILABLE
                assert gateway.process.poll() is None
                assert not call.done()
            receipts = call.result()
            assert gateway.process.wait(CALL_TIMEOUT_SECONDS) == 0
        assert [line["event"] for line in gateway.lines() if line["level"] != "warning"] == ["serving", "stopped"]
    alliance.open()
    assert not alliance.submit(not_taken)[0].replayed
    again = alliance.submit(*taken)
    assert [(receipt.index, receipt.entry) for receipt in again] == [
        (receipt.index, receipt.entry) for receipt in receipts
    ]
    assert alliance.earn("bakery", card, 1).points_available == len(taken) + 2


def test_a_gateway_stopped_under_load_hands_over_to_its_standby(alliance: Alliance, tmp_path: Path) -> None:
    with served(alliance, tmp_path) as gateway, standing_by(alliance, tmp_path) as standby:
        with at_work(alliance) as tills:
            tills.wait_for_answers(100)
            assert gateway.stop(signal.SIGTERM) == 0
            before = take_over(alliance, standby)
            tills.wait_for_every_till()
        before.close()
        assert grpc.StatusCode.UNAVAILABLE in tills.interruptions
        assert set(tills.interruptions) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert gateway.lines()[-1]["event"] == "stopped"
        tills.verify()
