"""``clearing gateway``: serve until told to stop."""

from __future__ import annotations

import gc
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import structlog
import typer

from clearing.addresses import is_loopback, split_address
from clearing.cli.assembly import Gateway
from clearing.cli.console import say
from clearing.cli.database import migrated_database
from clearing.cli.encryption import access_of
from clearing.cli.home import home_of
from clearing.cli.logs import configure_logs
from clearing.cli.options import settings_of
from clearing.errors import ClearingError
from clearing.settings import LogLevel
from merchant_gateway.metrics import metrics_served

logger = structlog.get_logger()

ENCRYPTION = "Encryption"

CHECK_SECONDS = 0.25
"""How often it is looked whether the writer still writes."""


class NotFoundedError(ClearingError):
    """The log is empty: there is nothing to serve."""


class WriterStoppedError(ClearingError):
    """The writer has stopped by itself, so the gateway cannot go on."""


def gateway(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Option(help="Host and port to listen at; port 0 takes a free one. Without it: CLEARING_ADDRESS."),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The gateway's certificate and its chain, in PEM.", rich_help_panel=ENCRYPTION
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The private key of the certificate.", rich_help_panel=ENCRYPTION),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who signs clients' certificates: each client must show one that names its merchant.",
            rich_help_panel=ENCRYPTION,
        ),
    ] = None,
    insecure_plaintext: Annotated[
        bool,
        typer.Option(
            "--insecure-plaintext",
            help="Serve without TLS on an address that is not loopback. Only where something else encrypts.",
            rich_help_panel=ENCRYPTION,
        ),
    ] = False,
    metrics_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Show metrics for Prometheus here, on loopback. Without it: CLEARING_METRICS_ADDRESS, or nowhere.",
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None,
        typer.Option(help="From which level on to log. Without it: CLEARING_LOG_LEVEL, or info."),
    ] = None,
    reflection: Annotated[bool, typer.Option("--reflection", help="Let gRPC tools list the services.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON lines, for programs.")] = False,
) -> None:
    """Serve merchants, operators, finance and auditors over gRPC, until Ctrl-C or SIGTERM.

    Calls under way are finished first.
    """
    settings = settings_of(context)
    options = {
        "address": address,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "insecure_plaintext": insecure_plaintext or None,
        "metrics_address": metrics_address,
        "log_level": log_level,
    }
    settings = settings.model_copy(update={name: value for name, value in options.items() if value is not None})
    configure_logs(as_json=as_json, level=settings.log_level)
    access = access_of(settings)
    told_to_stop = _stop_signals()
    signer = home_of(settings).log_signer(settings.passphrase_bytes)
    with metrics_served(settings.metrics_address) as metrics, migrated_database(settings, "clearing gateway") as engine:
        served = Gateway(engine, signer, settings.address, reflect=reflection, access=access, metrics=metrics)
        try:
            directory = served.writer.directory
            if directory is None:
                raise NotFoundedError(
                    "no alliance is founded in this database yet; found it first: clearing init ORIGIN"
                )
            _collect_garbage_seldom()
            if access.credentials is None and not is_loopback(split_address(settings.address)[0]):
                logger.warning("plain_text_leaves_this_machine", address=settings.address)
            served.start()
            head = served.writer.head
            entries = head.size if head is not None else 0
            if as_json:
                logger.info("serving", origin=directory.origin, address=served.server.address, entries=entries)
            else:
                say(f"Serving {directory.origin} at {served.server.address}, {entries:,} entries. Ctrl-C stops.")
            while served.writer.is_writing and not told_to_stop.wait(CHECK_SECONDS):
                pass
            has_stopped_itself = not served.writer.is_writing
        finally:
            served.stop()
    if has_stopped_itself:
        raise WriterStoppedError(
            "the gateway has ended because its writer stopped; the line above says why. If another "
            "writer has the log, let that one serve; otherwise start this one again"
        )
    if as_json:
        logger.info("stopped")


def _collect_garbage_seldom() -> None:
    """Look for cycles of garbage seldom: a batch makes thousands of values that live until it is answered, in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _stop_signals() -> threading.Event:
    """Set once SIGTERM or SIGINT asks the process to stop. Then, and not at once, so that nothing under way is lost."""
    told_to_stop = threading.Event()

    def tell(number: int, frame: FrameType | None) -> None:
        told_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, tell)
    return told_to_stop
