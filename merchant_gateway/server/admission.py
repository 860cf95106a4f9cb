"""How many calls are under way at once, and what those beyond that number hear: POOL_FULL, at once.

gRPC's server gives each call a thread until it is answered. Where none is free it lets the call wait in a queue that
has no bound, with what was sent, and that tells nobody. So each kind of call has threads of its own, and a call that
would find none of them free is turned away before anything of its message is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import grpc
from grpc_health.v1 import health
from grpc_status import rpc_status

from clearing.errors import ErrorReason, Rejection
from clearing.v1.merchant_gateway_pb2 import SubmitRequest
from merchant_gateway.server.call_report import CallReport
from merchant_gateway.server.errors import status_of_failure

SUBMITS_MAX = 256
"""Calls that present transactions. Nearly all of their time they wait for the writer, so there are more of them than
the cores could use; they are a tenth of a second's work where each presents one transaction."""
OTHER_CALLS_MAX = 64
"""Reads and instructions: more than there are connections to the database."""
WATCHES_MAX = 100
"""Streams of health, each with a thread: more than there are load balancers."""
AT_ONCE_THREADS = 2
"""For health's other calls and refusals, which wait for nothing."""

THREADS_OF_A_METHOD = "experimental_thread_pool"
"""The attribute by which grpcio 1.85 is told on which threads a method's calls run (``grpc/_server.py``). Without it
they would all run on the server's own, and be held in a queue that has no bound."""
SUBMIT = "/clearing.v1.MerchantGateway/Submit"
HEALTH = f"/{health.SERVICE_NAME}/"
WATCH = f"{HEALTH}Watch"

Parameters = ParamSpec("Parameters")
ResultT = TypeVar("ResultT")

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    _ServerInterceptor = grpc.ServerInterceptor[Any, Any]
else:  # generic in their stubs only
    Handler = grpc.RpcMethodHandler
    _ServerInterceptor = grpc.ServerInterceptor


class Lane(ThreadPoolExecutor):
    """Threads for one kind of call, which know how many calls they have."""

    def __init__(self, name: str, calls_max: int) -> None:
        super().__init__(max_workers=calls_max, thread_name_prefix=name)
        self.calls_max = calls_max
        self._calls = 0
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether a further call would have to wait for a thread."""
        return self._calls >= self.calls_max

    def submit(
        self, function: Callable[Parameters, ResultT], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[ResultT]:
        """Have a thread run it."""
        with self._lock:
            self._calls += 1
        # By the future, and not by what a handler does: of a call that was cancelled early no handler ever hears.
        future = super().submit(function, *args, **kwargs)
        future.add_done_callback(self._end)
        return future

    def _end(self, _: Future[Any]) -> None:
        with self._lock:
            self._calls -= 1


class _Method(NamedTuple):
    """How calls of one method are let in."""

    handler: Handler
    refusal: Handler
    lane: Lane | None
    """None: they are never turned away."""


class Admission(_ServerInterceptor):
    """Gives each call to its lane, or turns it away. Asked on the one thread that accepts all calls."""

    def __init__(self, report: CallReport) -> None:
        """``report`` is told of each call that is turned away."""
        self.others = Lane("call", OTHER_CALLS_MAX)
        """For the server, as its own threads: they run whatever is not given to others here."""
        self._submits = Lane("submit", SUBMITS_MAX)
        self._watches = Lane("watch", WATCHES_MAX)
        self._at_once = ThreadPoolExecutor(AT_ONCE_THREADS, "at-once")
        self._report = report
        self._methods: dict[str, _Method] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """The method's handler, or one that turns the call away."""
        name = str(handler_call_details.method)
        method = self._methods.get(name)
        if method is None:
            handler = continuation(handler_call_details)
            if handler is None:
                return None  # not remembered, since there is no end to names of methods that do not exist
            method = self._methods[name] = self._method(name, handler)
        return method.refusal if method.lane is not None and method.lane.is_full else method.handler

    def close(self) -> None:
        """Let the threads end once they are done."""
        for threads in (self.others, self._submits, self._watches, self._at_once):
            threads.shutdown(wait=False)

    def _method(self, name: str, handler: Handler) -> _Method:
        refusal = grpc.stream_unary_rpc_method_handler(on_threads(self._at_once, _refusing(name, self._report)))
        if name == SUBMIT:
            return _Method(_moved(handler, self._submits), refusal, self._submits)
        if name == WATCH:
            return _Method(_moved(handler, self._watches), refusal, self._watches)
        if name.startswith(HEALTH):
            return _Method(_moved(handler, self._at_once), refusal, None)
        return _Method(handler, refusal, self.others)


def _moved(handler: Handler, threads: ThreadPoolExecutor) -> Handler:
    """The handler of a method without a stream of requests, on these threads."""
    if handler.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(
            on_threads(threads, handler.unary_stream), handler.request_deserializer, handler.response_serializer
        )
    assert handler.unary_unary is not None, "nothing that is moved takes a stream"
    return grpc.unary_unary_rpc_method_handler(
        on_threads(threads, handler.unary_unary), handler.request_deserializer, handler.response_serializer
    )


def on_threads(threads: ThreadPoolExecutor, behaviour: Callable[..., Any]) -> Callable[..., Any]:
    """The same behaviour, for gRPC's server to run on these threads.

    It looks for them in an attribute that it calls experimental; gRPC's own health service sets it too. pyproject.toml
    bounds grpcio to the minor version that is known to do so, and tests/merchant_gateway/server/test_admission.py fails
    with one that does not.
    """

    @wraps(behaviour)
    def run(*arguments: Any, **options: Any) -> Any:
        return behaviour(*arguments, **options)

    vars(run)[THREADS_OF_A_METHOD] = threads
    return run


def _refusing(name: str, report: CallReport) -> Callable[[object, grpc.ServicerContext], None]:
    """Turns calls of this method away. As one that takes a stream, it need not wait for the message."""

    def refuse(_: object, context: grpc.ServicerContext) -> None:
        rejection = Rejection(
            ErrorReason.POOL_FULL,
            "as many calls as the gateway takes at a time are under way; send again after the delay in RetryInfo",
        )
        status = status_of_failure(rejection, name, time.perf_counter(), report, SubmitRequest)
        context.abort_with_status(rpc_status.to_status(status))

    return refuse
