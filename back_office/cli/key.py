"""``clearing key``: make key files, register, list and revoke keys."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import print_json, print_table, say
from back_office.cli.instructing import Signing, carry_out
from back_office.cli.options import (
    AtOption,
    DraftOption,
    JsonOption,
    KeysOption,
    OfficeOption,
    ReadKeyOption,
    ReferenceOption,
    settings_of,
)
from back_office.client.connection import GatewayConnection, reader
from back_office.client.home import home_of
from back_office.client.keys import RegisteredKey, Registration, registering, revoking
from back_office.client.keys import list_keys as registered_keys
from back_office.client.moments import moment, time_text
from back_office.errors import BackOfficeError
from clearing.contract.bounds import slug
from clearing.key_id import key_id_of
from clearing.model import Instant, Role
from clearing.runtime.settings import Settings
from clearing.signing.key_files import read_private_key, write_private_key
from clearing.signing.keys import PrivateKey

app = typer.Typer(no_args_is_help=True, help="Make, register, list and revoke keys.")


class RoleName(StrEnum):
    """What a key may do, as it is typed."""

    OPERATOR = "operator"
    FINANCE = "finance"
    AUDITOR = "auditor"
    MERCHANT = "merchant"
    MERCHANT_OFFICE = "merchant-office"
    SERVICE = "service"

    @property
    def role(self) -> Role:
        """What is meant."""
        return Role[self.name]


@app.command()
def new(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the private key is written; no file is ever overwritten.")],
    as_json: JsonOption = False,
) -> None:
    """Make a key file. Nobody knows the key until it is registered."""
    key = PrivateKey.generate()
    write_private_key(file, key, settings_of(context).passphrase_bytes)
    if as_json:
        print_json({"file": str(file), "keyid": key.key_id, "public_key": key.public_key.hex()})
        return
    say(f"The private key is in {file}; keep it to yourself.")
    say(f"keyid       {key.key_id}")
    say(f"public key  {key.public_key.hex()}")


@app.command()
def register(
    context: typer.Context,
    role: Annotated[RoleName, typer.Option(help="What the key may do.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The new key's file. Without it: keys/ROLE-HOLDER.pem in the home, a merchant's ROLE-MERCHANT.pem."
        ),
    ] = None,
    merchant: Annotated[
        str | None, typer.Option(help="Whose key it is, for the roles merchant and merchant-office.")
    ] = None,
    holder: Annotated[
        str | None, typer.Option(help="The person or system that holds it. A merchant's: the merchant, if not said.")
    ] = None,
    make_new: Annotated[bool, typer.Option("--new", help="Make the key file if it is not there.")] = False,
    public_key: Annotated[
        str | None,
        typer.Option(help="64 hexadecimal digits of a key whose file is elsewhere; its holder signs the --draft."),
    ] = None,
    valid_from: Annotated[str | None, typer.Option(metavar="TIME", help="Without it: at once.")] = None,
    valid_until: Annotated[str | None, typer.Option(metavar="TIME", help="Without it: until revoked.")] = None,
    office: OfficeOption = None,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key valid. The new key signs too, which proves that its holder has it.

    A member's keys are registered by its office, with --office, as soon as it has one; before that by an operator.
    """
    settings = settings_of(context)
    if role.role.is_of_a_merchant != (merchant is not None):
        raise BackOfficeError("--merchant goes with --role merchant and merchant-office, and only with them")
    who = holder or merchant
    if who is None:
        raise BackOfficeError(f"--holder is needed: who holds the {role} key")
    new_key: PrivateKey | None = None
    if public_key is not None:
        public_bytes = _public_bytes(public_key, draft)
    else:
        new_key = _new_key(settings, file or _default_file(settings, role, merchant, who), make_new=make_new)
        public_bytes = new_key.public_key
    registration = Registration(public_bytes, role.role, who, merchant)
    if valid_from is not None or valid_until is not None:
        moments = _moments(settings, {"--valid-from": valid_from, "--valid-until": valid_until})
        registration = replace(registration, valid_from=moments[0], valid_until=moments[1])
    key_id = key_id_of(public_bytes)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json, office),
        registering(registration, new_key),
        done=f"Key {key_id} is registered as {role} of {who}.",
    )


@app.command("list")
def list_keys(
    context: typer.Context,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None,
    key: ReadKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the registered keys."""
    settings = settings_of(context)
    with GatewayConnection(settings) as connection:
        keys = registered_keys(connection, reader(settings, key), merchant)
    rows = [_row(each) for each in keys]
    if as_json:
        print_json(rows)
        return
    columns = ("keyid", "role", "merchant", "holder", "valid_from", "valid_until", "revoked_at")
    print_table(f"{len(rows):,} keys", columns, [tuple(row[column] for column in columns) for row in rows])


@app.command()
def revoke(
    context: typer.Context,
    keyid: Annotated[str, typer.Argument(help="The keyid, as clearing key list shows it.")],
    effective_at: Annotated[str | None, typer.Option(metavar="TIME", help="Without it: at once.")] = None,
    compromised_since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Since when somebody else may have had the key.")
    ] = None,
    office: OfficeOption = None,
    key: KeysOption = None,
    draft: DraftOption = None,
    at: AtOption = None,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a key's validity. What it signed before stays."""
    moments: list[Instant | None] = [None, None]
    if effective_at is not None or compromised_since is not None:
        options = {"--effective-at": effective_at, "--compromised-since": compromised_since}
        moments = _moments(settings_of(context), options)
    carry_out(
        context,
        Signing(key, draft, at, reference, as_json, office),
        revoking(keyid, *moments),
        done=f"Key {keyid} is revoked.",
    )


def _default_file(settings: Settings, role: RoleName, merchant: str | None, holder: str) -> Path:
    return home_of(settings).key_file(role.value, slug(merchant or holder, "--merchant" if merchant else "--holder"))


def _new_key(settings: Settings, path: Path, *, make_new: bool) -> PrivateKey:
    """The key to be registered. Made anew only where the file is missing, so that an interrupted run can go on."""
    if make_new and not path.exists():
        home_of(settings).make_folders()
        write_private_key(path, PrivateKey.generate(), settings.passphrase_bytes)
    return read_private_key(path, settings.passphrase_bytes)


def _public_bytes(public_key: str, draft: Path | None) -> bytes:
    if draft is None:
        raise BackOfficeError("--public-key needs --draft FILE: the key's holder signs it too, with clearing sign")
    try:
        return bytes.fromhex(public_key)
    except ValueError:
        raise BackOfficeError("--public-key must be 64 hexadecimal digits, as clearing key new prints them") from None


def _moments(settings: Settings, options: dict[str, str | None]) -> list[Instant | None]:
    """The times that the options say, in the alliance's local time, which the gateway knows."""
    with GatewayConnection(settings) as connection:
        calendar = connection.calendar
    return [moment(text, calendar, option) if text is not None else None for option, text in options.items()]


def _row(key: RegisteredKey) -> dict[str, str]:
    return {
        "keyid": key.key_id,
        "role": key.role.name.lower().replace("_", "-"),
        "merchant": key.merchant,
        "holder": key.holder,
        "valid_from": time_text(key.valid_from),
        "valid_until": time_text(key.valid_until),
        "revoked_at": time_text(key.revoked_at),
        "compromised_since": time_text(key.compromised_since),
    }
