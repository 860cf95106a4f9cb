"""A gateway's life: stand by while another one writes, then serve until told to stop."""

from __future__ import annotations

import gc
import resource
import signal
import threading
import time
from types import FrameType

import structlog

from back_office.client.home import home_of
from back_office.errors import BackOfficeError
from back_office.host.access import access_of
from back_office.host.assembly import Gateway
from back_office.host.database import opened_database
from back_office.host.standby import Standby
from back_office.host.telling import Telling
from clearing.postgres.migration import migrate
from clearing.postgres.writing.flow_summing import FlowSumming
from clearing.postgres.writing.recorder_process import RecorderProcess
from clearing.runtime.addresses import is_loopback, require_plain_text_stays_here, split_address
from clearing.runtime.settings import Settings
from clearing.signing.signature_helpers import SignatureHelpers
from merchant_gateway.server.access import Access
from merchant_gateway.server.metrics import metrics_served
from settlement.serving.settlement_process import SettlementProcess

logger = structlog.get_logger()

APPLICATION_NAME = "clearing gateway"
"""What the database server's own views show for the gateway's connections."""

CHECK_SECONDS = 0.25
"""How often it is looked whether the writer still writes."""

TURN_AWAY_SECONDS = 0.5
"""How long new calls are told that the gateway stops, before it hangs up: calls that come at that very moment hear
nothing better from gRPC than that they were cancelled."""

OPEN_FILES = 10_240
"""Each connected till is an open file, and the usual soft limit, of 1,024, is less than some alliances have tills."""


def serve(settings: Settings, telling: Telling, *, reflect: bool) -> None:
    """Serve as the settings say, until SIGTERM or SIGINT; while another gateway writes, stand by.

    ``telling`` is told how far it has come. Raises ``BackOfficeError``, and what reading keys
    and certificates, opening the database and ``Gateway`` raise.
    """
    told_to_stop = _stop_signals()
    _allow_open_files()
    # What is wrong with settings and files is found before it stands by, not when it is needed.
    _access(settings)
    signer = home_of(settings).log_signer(settings.passphrase_bytes)
    with (
        metrics_served(settings.metrics_address) as metrics,
        opened_database(settings, APPLICATION_NAME, keep_running=True) as engine,
    ):
        lock = Standby(engine, told_to_stop, telling).writer_lock()
        if lock is not None:
            with lock:
                # Only now: the tables of an older version are still in use while its gateway writes.
                migrate(engine)
                access = _access(settings)  # read again: certificates are renewed while it stands by
                with (
                    SignatureHelpers() as helpers,
                    RecorderProcess(engine, APPLICATION_NAME) as recorder,
                    SettlementProcess(engine, APPLICATION_NAME) as settlements,
                    FlowSumming(engine),
                ):
                    gateway = Gateway(
                        engine,
                        signer,
                        settings.address,
                        reflect=reflect,
                        access=access,
                        metrics=metrics,
                        lock=lock,
                        recorder=recorder,
                        settlements=settlements,
                        leading_that_hold=helpers.leading_that_hold,
                    )
                    _serve_until_told(gateway, access, told_to_stop, telling)
    telling.stopped()


def _access(settings: Settings) -> Access:
    access = access_of(settings)
    if access.credentials is None and not access.insecure_plaintext:
        require_plain_text_stays_here(settings.address)
    return access


def _serve_until_told(gateway: Gateway, access: Access, told_to_stop: threading.Event, telling: Telling) -> None:
    writer = gateway.writer
    try:
        directory, head = writer.directory, writer.head
        if directory is None or head is None:
            raise BackOfficeError("no alliance is founded in this database yet; found it first: clearing init ORIGIN")
        _collect_garbage_seldom()
        address = gateway.server.address
        if access.credentials is None and not is_loopback(split_address(address)[0]):
            logger.warning("plain_text_leaves_this_machine", address=address)
        gateway.start()
        telling.serving(directory.origin, address, head.size)
        while writer.is_writing and not told_to_stop.wait(CHECK_SECONDS):
            pass
        has_stopped_itself = not writer.is_writing
        gateway.announce_stop()
        time.sleep(TURN_AWAY_SECONDS)
    finally:
        gateway.stop()
    if has_stopped_itself:
        raise BackOfficeError(
            "the gateway has ended because its writer stopped; the line above says why. If another writer has the log, "
            "start this one again as its standby; otherwise mend what the line says first"
        )


def _allow_open_files() -> None:
    """Raise the soft limit, as far as the hard one lets a process do so itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
