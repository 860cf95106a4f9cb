"""``clearing init``: found an alliance, with keys, a database, and the log's first entry."""

from __future__ import annotations

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clearing.authentication import SignedInstruction, authenticate_founding
from clearing.cli.console import print_json, say, time_text
from clearing.cli.database import migrated_database
from clearing.cli.home import Alliance, Home, home_of
from clearing.cli.instruction_receipt import Decided, decided_by
from clearing.cli.moments import MomentError, moment
from clearing.cli.options import JsonOption, settings_of
from clearing.clock import system_time
from clearing.contract.bounds import slug
from clearing.contract.entry import timestamp_of
from clearing.contract.instruction import PAYLOAD_TYPE
from clearing.envelope import sign_envelope
from clearing.errors import ClearingError, Rejection
from clearing.key_files import read_private_key, write_private_file, write_private_key
from clearing.keys import PrivateKey
from clearing.log.note import Signer
from clearing.model import ClockKind, Instant, Role, SettlementMethod
from clearing.rules import RULES_VERSION
from clearing.settings import Settings
from clearing.store.database_errors import translated_errors
from clearing.store.head import read_head
from clearing.v1.instruction_pb2 import CreateAlliance, Instruction, RegisterKey
from clearing.writer import Writer

FOUNDING_REFERENCE = "found"


class AlreadyFoundedError(ClearingError):
    """The log has its alliance."""


class MethodName(StrEnum):
    """Who pays whom for points, as it is typed."""

    ISSUER_PAYS = "issuer-pays"
    POOL = "pool"


class ClockName(StrEnum):
    """Where entries take their time from, as it is typed."""

    SYSTEM = "system"
    PRESENTED = "presented"


def init(
    context: typer.Context,
    origin: Annotated[
        str, typer.Argument(help="Name of the alliance and its log, without spaces, such as cards.example/log.")
    ],
    unit: Annotated[str, typer.Option(help="What a balance counts, in capital letters.")] = "PTS",
    currency: Annotated[str, typer.Option(help="Currency merchants settle in (ISO 4217).")] = "EUR",
    currency_decimals: Annotated[int, typer.Option(help="Decimals of the currency.")] = 2,
    time_zone: Annotated[str, typer.Option(help="IANA time zone that decides days and months.")] = "UTC",
    settlement_method: Annotated[MethodName, typer.Option(help="Who pays whom.")] = MethodName.ISSUER_PAYS,
    clock: Annotated[
        ClockName, typer.Option(help="presented: the messages' own times, for demonstrations and past months.")
    ] = ClockName.SYSTEM,
    four_eyes: Annotated[bool, typer.Option("--four-eyes", help="Weighty instructions take two people.")] = False,
    operator: Annotated[list[str] | None, typer.Option(help="Who holds an operator's key; repeatable.")] = None,
    lot_lifetime_months: Annotated[int, typer.Option(help="Months after which points expire.")] = 24,
    late_presentment_days: Annotated[int, typer.Option(help="Days a transaction may be presented late.")] = 31,
    issuance_price: Annotated[str, typer.Option(help="What an issuer pays a point (pool).")] = "0.0100",
    redemption_price: Annotated[str, typer.Option(help="What a redeemer gets a point.")] = "0.0090",
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it is founded (presented clock only).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Found an alliance: make its keys and write the log's first entry.

    This and `clearing gateway` are the only commands that touch the database. If it is interrupted, run it again.
    """
    settings = settings_of(context)
    home = home_of(settings)
    holders = operator or ["founder"]
    operators = {slug(holder, "--operator"): _key(home.key_file("operator", holder), settings) for holder in holders}
    log_key = _key(home.log_key_file, settings)
    signer = Signer(origin, log_key.seed)
    issued_at = _founding_time(at, clock, time_zone)
    constitution = CreateAlliance(
        unit=unit,
        currency=currency,
        currency_decimals=currency_decimals,
        time_zone=time_zone,
        settlement_method=SettlementMethod[settlement_method.name].value,  # type: ignore[arg-type]  # the stubs' wrapper
        clock=ClockKind[clock.name].value,  # type: ignore[arg-type]  # the same
        log_verifier=signer.vkey,
        operator_keys=[
            RegisterKey(public_key=key.public_key, role=Role.OPERATOR.value, holder=holder)  # type: ignore[arg-type]
            for holder, key in operators.items()
        ],
        four_eyes=four_eyes,
        lot_lifetime_months=lot_lifetime_months,
        late_presentment_days=late_presentment_days,
        issuance_price=issuance_price,
        redemption_price=redemption_price,
        rules_version=RULES_VERSION,
    )
    founding = _signed(Instruction(create_alliance=constitution), origin, issued_at, list(operators.values()))
    key_files = {home.key_file("operator", holder): key for holder, key in operators.items()}
    decided = _found(settings, home, signer, founding, {home.log_key_file: log_key, **key_files})
    if as_json:
        print_json(
            {
                "origin": origin,
                "log_verifier": signer.vkey,
                "accepted_at": time_text(decided.accepted_at),
                "operator_keys": {str(path): key.key_id for path, key in key_files.items()},
            }
        )
        return
    _print_founded(origin, decided, signer, home, key_files)


def _founding_time(at: str | None, clock: ClockName, time_zone: str) -> Instant:
    now = system_time()
    if at is None:
        return now
    if clock is not ClockName.PRESENTED:
        raise MomentError("--at goes with --clock presented; under the system clock the alliance is founded now")
    try:
        founded_at = moment(at, time_zone, "--at")
    except KeyError:
        raise MomentError(f"--time-zone: {time_zone!r} is no IANA time zone, such as Europe/Berlin") from None
    if founded_at > now:
        raise MomentError(f"--at: {at} lies in the future, and the presented clock is for the past")
    return founded_at


def _key(path: Path, settings: Settings) -> PrivateKey:
    """The key in the file, which an interrupted founding has left; a new one where there is none."""
    return read_private_key(path, settings.passphrase_bytes) if path.exists() else PrivateKey.generate()


def _signed(action: Instruction, origin: str, issued_at: Instant, keys: list[PrivateKey]) -> SignedInstruction:
    """The founding, well formed and signed. Raises ``Rejection`` naming what is wrong."""
    action.origin = origin
    action.reference = FOUNDING_REFERENCE
    action.issued_at.CopyFrom(timestamp_of(issued_at))
    return authenticate_founding(sign_envelope(action.SerializeToString(deterministic=True), PAYLOAD_TYPE, keys))


def _found(
    settings: Settings, home: Home, signer: Signer, founding: SignedInstruction, keys: dict[Path, PrivateKey]
) -> Decided:
    """Write the keys, then the log's first entry, so that there is never an alliance whose keys are lost."""
    with migrated_database(settings, "clearing init") as engine:
        with translated_errors(), engine.connect() as connection:
            if read_head(connection) is not None:
                raise AlreadyFoundedError(
                    "an alliance is founded in this database already; serve it with: clearing gateway, or choose another "
                    "--home or CLEARING_DATABASE_URL for a new one"
                )
        home.make_folders()
        for path, key in keys.items():
            if not path.exists():
                write_private_key(path, key, settings.passphrase_bytes)
        if not home.card_token_secret_file.exists():
            write_private_file(home.card_token_secret_file, secrets.token_hex(32).encode() + b"\n")
        home.write_alliance(Alliance(signer.verifier))
        writer = Writer(engine, signer)
        try:
            (reply,) = writer.submit([founding]).result()
        finally:
            writer.close()
    if isinstance(reply, Rejection):
        raise reply
    return decided_by(founding.envelope, reply, signer.verifier)


def _print_founded(
    origin: str, decided: Decided, signer: Signer, home: Home, key_files: dict[Path, PrivateKey]
) -> None:
    say(f"{origin} is founded: entry {decided.entry_index} of {time_text(decided.accepted_at)}.", "bold")
    say(f"Verifier key, which auditors need:  {signer.vkey}")
    for path, key in key_files.items():
        say(f"Operator's key {key.key_id}:  {path}")
    say(f"Keep {home.log_key_file} with the gateway only, and hand each operator's key to its holder.")
    say("Next:")
    say("  clearing gateway                                                  serve (leave it running)")
    say("  clearing merchant admit bakery --name 'Bakery Ltd'                admit a merchant")
    say("  clearing key register --role merchant --merchant bakery --new     make and register its key")
    say("  clearing store open bakery bakery-1                               open a store")
