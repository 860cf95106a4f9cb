"""A process that settles windows for the gateway.

A settlement and its statements are a tenth of a second of Python for twenty merchants, and several for a hundred, in
which the gateway's calls would wait for its interpreter. The process has one of its own, and comes after all others
where the processor is busy.
"""

from __future__ import annotations

import gc
import os
import pickle
import threading
import traceback
from enum import Enum, auto
from pathlib import PurePath
from typing import Final, NamedTuple

import sqlalchemy

from clearing.closing import Closing
from clearing.errors import ClearingError, ErrorReason, Rejection
from clearing.model import MerchantId, WindowId
from clearing.postgres.database import open_engine
from clearing.postgres.database_errors import DatabaseUnavailableError, message_of
from clearing.runtime.helper_process import Answer, HelperLostError, HelperProcess
from settlement.reports.files import StatementFormat
from settlement.serving.collection import collection_paused
from settlement.serving.from_store import StoredSettlements, settle_stored
from settlement.v1.statements import Settlement

NICENESS: Final = 10
"""Added to the process's own (POSIX ``nice``): a tenth of what others get where all processors are busy."""
GARBAGE_THRESHOLD: Final = 100_000
"""Objects made before Python looks for cycles, where it does: a statement's workbook makes many, few of them in one."""
PATIENCE_SECONDS: Final = 600.0
"""How long an answer may take before the process is taken to be frozen; the first one may have to sum the whole log."""
QUESTIONS_MAX: Final = 16
"""Under way at once, of which one is being answered: the gateway's other readers need threads, too."""
RETRY_DELAY_MS: Final = 1_000
ATTEMPTS: Final = 2
"""How often a question is asked where the process is lost meanwhile: perhaps it is the question that ends it."""


class SettlementFailedError(ClearingError):
    """The process could not settle the window, in a way that correct operation never brings about."""


class _Asked(Enum):
    PROPOSAL = auto()
    PAYMENTS = auto()
    STATEMENT = auto()


class _Question(NamedTuple):
    asked: _Asked
    window: WindowId
    merchant: MerchantId | None = None
    form: StatementFormat = StatementFormat.JSON
    """Of the statement."""


class SettlementProcess(Closing):
    """``Settlements`` of a process of its own, which is started with the first question and ends with the block."""

    def __init__(self, engine: sqlalchemy.Engine, application_name: str) -> None:
        """For the database of ``engine``; the server's own views show ``application_name``."""
        database_url = engine.url.render_as_string(hide_password=False)
        self._helper = HelperProcess("settlement process", _settling, database_url, application_name, ahead=False)
        self._room = threading.BoundedSemaphore(QUESTIONS_MAX)
        self._is_closing = False

    def proposal(self, window: WindowId) -> bytes:
        """See ``Settlements``.

        Raises ``DatabaseUnavailableError``, ``SettlementFailedError`` for whatever else went wrong, and ``Rejection``
        with POOL_FULL where too many ask, or SHUTTING_DOWN once it is closed.
        """
        return self._ask(_Question(_Asked.PROPOSAL, window))

    def payments(self, window: WindowId, merchant: MerchantId | None) -> bytes:
        """See ``Settlements``. Raises what ``proposal`` raises."""
        return self._ask(_Question(_Asked.PAYMENTS, window, merchant))

    def statement(self, window: WindowId, merchant: MerchantId | None, form: StatementFormat) -> bytes:
        """See ``Settlements``.

        Raises ``DatabaseUnavailableError``, ``SettlementFailedError`` for whatever else went wrong, and ``Rejection``
        with POOL_FULL where too many ask, or SHUTTING_DOWN once it is closed.
        """
        return self._ask(_Question(_Asked.STATEMENT, window, merchant, form))

    @property
    def process_id(self) -> int | None:
        """Its id, for now: one that ends is replaced. None while there is none."""
        return self._helper.process_id

    def close(self) -> None:
        """End it. Whoever waits for an answer gets none."""
        self._is_closing = True
        self._helper.close()

    def _ask(self, question: _Question) -> bytes:
        if not self._room.acquire(blocking=False):
            raise Rejection(
                ErrorReason.POOL_FULL,
                "too many ask for settlements and statements; send again after the delay in RetryInfo",
                retry_delay_ms=RETRY_DELAY_MS,
            )
        try:
            answer = self._answer(question)
        finally:
            self._room.release()
        if isinstance(answer, ClearingError):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    def _answer(self, question: _Question) -> object:
        lost = ""
        for _ in range(ATTEMPTS):
            try:
                answer = self._helper.ask(pickle.dumps(question), PATIENCE_SECONDS)
            except HelperLostError as error:
                if self._is_closing:
                    raise Rejection(ErrorReason.SHUTTING_DOWN, "the gateway is stopping; send again") from None
                lost = str(error)
            else:
                return pickle.loads(answer)  # noqa: S301 - from our own process
        raise SettlementFailedError(
            f"{question.window} cannot be settled: {lost}, {ATTEMPTS} times. Look in the system's log for what ends "
            "it, such as a lack of memory"
        )


def _settling(database_url: str, application_name: str) -> Answer:
    os.nice(NICENESS)
    gc.set_threshold(GARBAGE_THRESHOLD)
    settlements: StoredSettlements | None = None

    def settled(question: _Question) -> bytes | ClearingError:
        nonlocal settlements
        try:
            # Only now, since the database may be away for a while.
            if settlements is None:
                engine = open_engine(database_url, application_name=application_name)
                settlements = StoredSettlements(engine, _settle_uncollected)
            match question.asked:
                case _Asked.PROPOSAL:
                    return settlements.proposal(question.window)
                case _Asked.PAYMENTS:
                    return settlements.payments(question.window, question.merchant)
                case _Asked.STATEMENT:
                    return settlements.statement(question.window, question.merchant, question.form)
        except DatabaseUnavailableError as error:
            return error
        except Exception as error:  # whatever it was, the caller must hear of it
            return SettlementFailedError(f"{question.window} cannot be settled: {_story(error)}")

    return lambda question: pickle.dumps(settled(pickle.loads(question)))  # noqa: S301 - from our own process


def _settle_uncollected(engine: sqlalchemy.Engine, window: WindowId) -> Settlement:
    with collection_paused():
        return settle_stored(engine, window)


def _story(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} ({PurePath(place.filename).name}, line {place.lineno}): {message_of(error)}"
