"""gRPC health (grpc.health.v1): whether it is of use to send calls here.

SERVING while the writer takes calls and has its database; NOT_SERVING before the server stops, once the writer has
stopped, and while the database is out of reach for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

CHECK_SECONDS = 0.25
"""How often the state is asked for."""


class Health(health.HealthServicer):
    """The health of the server as a whole, which is the empty name, and of each service alike."""

    def __init__(self, services: Sequence[str], is_able: Callable[[], bool]) -> None:
        """NOT_SERVING until ``start``; from then on what ``is_able`` says."""
        # The library's other way sends to those who watch while it holds its lock; the thread that should see the
        # sending end may wait for that lock just then, to take out one who has gone, and the server would stand still.
        super().__init__(experimental_non_blocking=False)
        self._names = ("", *services)
        self._is_able = is_able
        self._watches: set[Any] | None = set()
        """None once all are ended."""
        self._watches_lock = threading.Lock()
        self._said: health_pb2.HealthCheckResponse.ServingStatus.ValueType | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="health", daemon=True)
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> None:
        """Say how things are, now and whenever they change."""
        self._say_how_it_is()
        self._thread.start()

    def stop(self) -> None:
        """Say NOT_SERVING, for good."""
        self._stopping.set()
        self.enter_graceful_shutdown()

    def end_watches(self) -> None:
        """End the streams of those who watch, which otherwise hold up a server that stops."""
        with self._watches_lock:
            watches, self._watches = self._watches, None
        for watch in watches or ():
            watch.close()

    def Watch(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext, *_: object
    ) -> Any:
        """Tell the caller of every change, until it or the server ends; meanwhile its thread waits."""
        watch: Any = super().Watch(request, context)
        with self._watches_lock:
            if self._watches is None:  # it came just before the server took no more calls
                watch.close()
            else:
                self._watches.add(watch)
        if not context.add_callback(lambda: self._forget(watch)):  # the caller has gone already
            self._forget(watch)
        return watch

    def _forget(self, watch: Any) -> None:
        with self._watches_lock:
            if self._watches is not None:
                self._watches.discard(watch)
        watch.close()

    def _follow(self) -> None:
        while not self._stopping.wait(CHECK_SECONDS):
            self._say_how_it_is()

    def _say_how_it_is(self) -> None:
        status = health_pb2.HealthCheckResponse
        self._say(status.SERVING if self._is_able() else status.NOT_SERVING)

    def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        if status == self._said:
            return
        self._said = status
        for name in self._names:
            self.set(name, status)
