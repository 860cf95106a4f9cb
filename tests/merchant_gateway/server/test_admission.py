"""What the guard against overload asks of grpcio: that a method's calls run on the threads that the method names.

That is an option which grpcio calls experimental, and the guard is nothing without it: calls would wait in a queue that
has no bound. What the guard refuses, and when, is in tests/integration/test_overload.py.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import pytest

from merchant_gateway.server.admission import Lane, on_threads
from tests.waiting import PATIENCE_SECONDS, wait_until

METHOD = "/clearing.test.Threads/Named"


class Server:
    """A server whose own only thread is held, with one method on a lane of its own."""

    def __init__(self, method: Callable[[Callable[..., Any]], grpc.RpcMethodHandler[Any, Any]], lane: Lane) -> None:
        self.go_on = threading.Event()
        self._own = ThreadPoolExecutor(1, "own")
        self._own.submit(self.go_on.wait, PATIENCE_SECONDS)
        self._server = grpc.server(self._own)
        handler = method(on_threads(lane, self._named))
        generic = grpc.method_handlers_generic_handler("clearing.test.Threads", {"Named": handler})
        self._server.add_generic_rpc_handlers((generic,))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.hold = threading.Event()
        self.hold.set()

    def _named(self, _: object, __: grpc.ServicerContext) -> bytes:
        self.hold.wait(PATIENCE_SECONDS)
        return threading.current_thread().name.encode()

    def close(self) -> None:
        self.go_on.set()
        self.hold.set()
        self.channel.close()
        self._server.stop(None).wait()
        self._own.shutdown()


def unary(behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(behaviour)


def streaming(behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    def stream(request: object, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield behaviour(request, context)

    vars(stream).update(vars(behaviour))
    return grpc.unary_stream_rpc_method_handler(stream)


def taking_a_stream(behaviour: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.stream_unary_rpc_method_handler(behaviour)


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("named", 2)
    yield lane
    lane.shutdown()


@pytest.mark.parametrize("method", [unary, streaming, taking_a_stream])
def test_calls_run_on_the_threads_that_their_method_names_though_the_server_has_none_free(
    method: Callable[..., Any], lane: Lane
) -> None:
    server = Server(method, lane)
    try:
        channel = server.channel
        if method is unary:
            answer = channel.unary_unary(METHOD, None, None)(b"", timeout=PATIENCE_SECONDS)
        elif method is streaming:
            (answer,) = channel.unary_stream(METHOD, None, None)(b"", timeout=PATIENCE_SECONDS)
        else:
            answer = channel.stream_unary(METHOD, None, None)(iter([b""]), timeout=PATIENCE_SECONDS)
        assert answer.startswith(b"named")
    finally:
        server.close()


def test_a_lane_counts_each_call_from_its_coming_to_its_end(lane: Lane) -> None:
    server = Server(unary, lane)
    try:
        server.hold.clear()
        calls = [server.channel.unary_unary(METHOD, None, None).future(b"", timeout=PATIENCE_SECONDS) for _ in range(2)]
        wait_until(lambda: lane.is_full)
        server.hold.set()
        assert all(call.result().startswith(b"named") for call in calls)
        wait_until(lambda: not lane.is_full)
    finally:
        server.close()


def test_no_other_grpcio_is_taken_than_the_one_that_is_known_to_have_the_option() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    bounds = [re.fullmatch(r"grpcio>=1\.(\d+)\.\d+,<1\.(\d+)", each) for each in wanted]
    ((first, beyond),) = [bound.groups() for bound in bounds if bound is not None]
    assert int(beyond) == int(first) + 1
    assert version("grpcio").startswith(f"1.{first}.")
