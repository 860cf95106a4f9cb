"""Somebody who asks for the log's newest checkpoint all the time, as auditors and tills that watch the log do."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import grpc

from clearing.v1 import audit_pb2
from tests.integration.alliance import Alliance

PAUSE_SECONDS = 0.005


class Onlooker:
    """Asks, within the block, whichever gateway the alliance's stubs call; keeps what was handed out."""

    def __init__(self, alliance: Alliance, attempt_seconds: float) -> None:
        """``attempt_seconds``: after how long to ask again, where a gateway may neither answer nor hang up."""
        self._alliance = alliance
        self._attempt_seconds = attempt_seconds
        self._notes: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def notes(self) -> set[str]:
        """Every checkpoint that it was handed so far."""
        with self._lock:
            return set(self._notes)

    def _look_on(self) -> None:
        while not self._ending.wait(PAUSE_SECONDS):
            metadata = self._alliance.authorization(self._alliance.operator)
            try:
                answer = self._alliance.audit.GetCheckpoint(
                    audit_pb2.GetCheckpointRequest(), metadata=metadata, timeout=self._attempt_seconds
                )
            except (grpc.RpcError, ValueError):  # killed, or a channel that was closed a moment ago
                continue
            with self._lock:
                self._notes.add(answer.checkpoint)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End."""
        self._ending.set()
        self._thread.join()
