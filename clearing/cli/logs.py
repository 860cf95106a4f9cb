"""Where the program's own log goes: to standard error, as lines for people or as JSON for programs."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from clearing.cli.streams import LogStream
from clearing.settings import LogLevel

SECRETS: Final = re.compile(
    r"card_[0-9A-Z]{26}"  # a card token: whoever has it can ask for the balance
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a caller's JWT
    r"|PRIVATE\+KEY\+[^\s'\"]+"  # a signer's key in C2SP signed-note form
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----",
    re.DOTALL,
)
"""No line of ours names these. A library's exception may, and is stripped of them."""


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
            # Without the frames' local variables: they hold envelopes, tokens and keys.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            _strip_secrets,
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [
            structlog.processors.format_exc_info,
            _strip_secrets,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[*prepare, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, LogStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(LogStream(sys.stderr))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=prepare,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=max(level_number, logging.WARNING), handlers=[handler], force=True)


def _strip_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The line without anything that looks like a secret."""
    return {name: _stripped(value) for name, value in event.items()}


def _stripped(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub("***", value)
    if isinstance(value, dict):
        return {name: _stripped(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_stripped(each) for each in value]
    return value
