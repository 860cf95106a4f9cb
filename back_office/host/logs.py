"""Where the program's own log goes: to standard error, as lines for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from back_office.host.exception_text import exception_objects, exception_text, without_secrets
from clearing.runtime.settings import LogLevel

logger = structlog.get_logger()


def configure_logs(*, as_json: bool = False, level: LogLevel = LogLevel.WARNING) -> None:
    """Send what this project logs from this level on, and what its libraries warn of, to standard error."""
    level_number = logging.getLevelNamesMapping()[level.upper()]
    prepare: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor] = (
        [
            structlog.processors.ExceptionRenderer(exception_objects),
            _strip_secrets,
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [
            structlog.processors.ExceptionRenderer(exception_text),
            _strip_secrets,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[*prepare, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=prepare,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=max(level_number, logging.WARNING), handlers=[handler], force=True)


def log_uncaught() -> None:
    """Have exceptions that nobody catches logged like all others, where Python would print them with what they quote.

    That is not only what ends a thread: the PostgreSQL driver shows an error twice if a session ends during COPY, once
    as Python's last resort and with a row.
    """

    def library_failed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logger.warning("uncaught_exception", exc_info=(kind, error, trace))

    def thread_failed(failure: threading.ExceptHookArgs) -> None:
        logger.error("uncaught_exception", exc_info=failure.exc_value)

    def finaliser_failed(failure: sys.UnraisableHookArgs) -> None:
        logger.warning("uncaught_exception", exc_info=failure.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = library_failed, thread_failed, finaliser_failed


def _strip_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The line without anything that looks like a secret."""
    return {name: _stripped(value) for name, value in event.items()}


def _stripped(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {name: _stripped(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_stripped(each) for each in value]
    return value
