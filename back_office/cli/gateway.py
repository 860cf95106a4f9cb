"""``clearing gateway``: its options. What it then does is in ``back_office.host.serving``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import note, say
from back_office.cli.options import settings_of
from back_office.host.logs import configure_logs
from back_office.host.serving import serve
from back_office.host.telling import TellingInTheLog
from clearing.postgres.writing.writer_lock import LockHolder
from clearing.runtime.settings import LogLevel

ENCRYPTION = "Encryption"

AddressOption = Annotated[
    str | None,
    typer.Option(help="Host and port to listen at; port 0 takes a free one. Without it: CLEARING_ADDRESS."),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The gateway's certificate and its chain, in PEM.", rich_help_panel=ENCRYPTION),
]
CertificateKeyOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The private key of the certificate.", rich_help_panel=ENCRYPTION),
]
ClientAuthorityOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Who signs clients' certificates: each client must show one that names its merchant.",
        rich_help_panel=ENCRYPTION,
    ),
]
PlainTextOption = Annotated[
    bool,
    typer.Option(
        "--insecure-plaintext",
        help="Serve without TLS on an address that is not loopback. Only where something else encrypts.",
        rich_help_panel=ENCRYPTION,
    ),
]
MetricsAddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Show metrics for Prometheus here, on loopback. Without it: CLEARING_METRICS_ADDRESS, or nowhere.",
    ),
]
LogLevelOption = Annotated[
    LogLevel | None,
    typer.Option(help="From which level on to log. Without it: CLEARING_LOG_LEVEL, or info."),
]
ReflectionOption = Annotated[bool, typer.Option("--reflection", help="Let gRPC tools list the services.")]
JsonLogOption = Annotated[bool, typer.Option("--json", help="Log as JSON lines, for programs.")]


def gateway(
    context: typer.Context,
    address: AddressOption = None,
    tls_certificate: CertificateOption = None,
    tls_key: CertificateKeyOption = None,
    tls_client_ca: ClientAuthorityOption = None,
    insecure_plaintext: PlainTextOption = False,
    metrics_address: MetricsAddressOption = None,
    log_level: LogLevelOption = None,
    reflection: ReflectionOption = False,
    as_json: JsonLogOption = False,
) -> None:
    """Serve merchants, operators, finance and auditors over gRPC, until Ctrl-C or SIGTERM.

    Calls under way are finished first. While another gateway writes the same ledger, this one stands by.
    """
    options = {
        "address": address,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "insecure_plaintext": insecure_plaintext or None,
        "metrics_address": metrics_address,
        "log_level": log_level,
    }
    settings = settings_of(context).model_copy(
        update={name: value for name, value in options.items() if value is not None}
    )
    configure_logs(as_json=as_json, level=settings.log_level)
    serve(settings, TellingInTheLog() if as_json else _TellingPeople(), reflect=reflection)


class _TellingPeople:
    """Tells whoever sits at the terminal: what is served is the result, who is waited for stands beside it."""

    def standing_by(self, holder: LockHolder) -> None:
        note(f"Standing by: the writer is {holder}. This gateway serves once that one ends. Ctrl-C stops.")

    def serving(self, origin: str, address: str, entries: int) -> None:
        say(f"Serving {origin} at {address}, {entries:,} entries. Ctrl-C stops.")

    def stopped(self) -> None:
        """Whoever pressed Ctrl-C knows."""
