"""Founding an alliance: its keys, its database, and the log's first entry, written by a writer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from back_office.client.home import Home, home_of
from back_office.client.instruction_receipt import Decided, decided_by
from back_office.client.machine_offsets import machine_offsets
from back_office.errors import BackOfficeError
from back_office.host.database import migrated_database
from clearing.contract.bounds import slug
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.contract.instruction import PAYLOAD_TYPE, decode_instruction, encode_offsets
from clearing.contract.log_identity import LogIdentity, log_id_of
from clearing.deciding.authentication import SignedInstruction, authenticate_founding
from clearing.errors import Rejection
from clearing.log.note import Signer, Verifier
from clearing.model import RULES_VERSION, SETTLEMENT_VERSION, EntryIndex, Instant, Role
from clearing.model import CreateAlliance as CreateAllianceAction
from clearing.postgres.database_errors import translated_errors
from clearing.postgres.head import read_head
from clearing.postgres.reading.stored_log import stored_leaf
from clearing.runtime.settings import Settings
from clearing.signing.envelope import sign_envelope
from clearing.signing.key_files import KeyFileExistsError, read_private_key, write_private_key
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import CreateAlliance, Instruction, RegisterKey
from clearing.writer.writer import Writer
from merchant_gateway.client.card_secret import card_secret

FOUNDING_REFERENCE = "found"


@dataclass(frozen=True, slots=True)
class Founded:
    """A founded alliance."""

    decided: Decided
    verifier: Verifier
    operator_keys: dict[Path, PrivateKey]
    """By the files they are in."""


def found_alliance(
    settings: Settings, origin: str, constitution: CreateAlliance, holders: Sequence[str], issued_at: Instant
) -> Founded:
    """Found the alliance with an operator's key for each of ``holders``, in the home and database of the settings.

    ``constitution`` says all but keys, versions and the time zone's offsets. Interrupted, it can be run again: keys
    that are there are used. Raises ``Rejection`` naming what is wrong with the constitution, ``BackOfficeError``
    where there is one already, ``NoteError`` for an origin that cannot be a log's name, and what reading keys and
    opening the database raise.
    """
    home = home_of(settings)
    operators = {slug(holder, "--operator"): _key(home.key_file("operator", holder), settings) for holder in holders}
    log_key = _key(home.log_key_file, settings)
    signer = Signer(origin, log_key.seed)
    founding = _signed(constitution, operators, signer, issued_at)
    operator_keys = {home.key_file("operator", holder): key for holder, key in operators.items()}
    decided = _write(settings, home, signer, founding, {home.log_key_file: log_key, **operator_keys})
    return Founded(decided, signer.verifier, operator_keys)


def _key(path: Path, settings: Settings) -> PrivateKey:
    """The key in the file, which an interrupted founding has left; a new one where there is none."""
    return read_private_key(path, settings.passphrase_bytes) if path.exists() else PrivateKey.generate()


def _keep(path: Path, key: PrivateKey, settings: Settings) -> None:
    """Have the key in the file. Raises ``BackOfficeError`` if the file holds another by now."""
    try:
        write_private_key(path, key, settings.passphrase_bytes)
    except KeyFileExistsError:
        if read_private_key(path, settings.passphrase_bytes) != key:
            raise BackOfficeError(
                f"another clearing init has made {path} at this moment; wait until it has ended, and run this again "
                "if it has failed"
            ) from None


def _signed(
    constitution: CreateAlliance, operators: dict[str, PrivateKey], signer: Signer, issued_at: Instant
) -> SignedInstruction:
    """The founding, well formed and signed by every operator."""
    complete = CreateAlliance()
    complete.CopyFrom(constitution)
    complete.log_verifier = signer.vkey
    complete.rules_version, complete.settlement_version = RULES_VERSION, SETTLEMENT_VERSION
    complete.zone_offsets.CopyFrom(encode_offsets(machine_offsets(constitution.time_zone, issued_at)))
    for holder, key in operators.items():
        complete.operator_keys.append(
            RegisterKey(public_key=key.public_key, role=Role.OPERATOR.value, holder=holder)  # type: ignore[arg-type]
        )
    founding = Instruction(
        origin=signer.verifier.name,
        reference=FOUNDING_REFERENCE,
        issued_at=timestamp_of(issued_at),
        create_alliance=complete,
    )
    payload = founding.SerializeToString(deterministic=True)
    return authenticate_founding(sign_envelope(payload, PAYLOAD_TYPE, operators.values()))


def _write(
    settings: Settings, home: Home, signer: Signer, founding: SignedInstruction, keys: dict[Path, PrivateKey]
) -> Decided:
    """Write the keys, then the log's first entry, so that there is never an alliance whose keys are lost."""
    with migrated_database(settings, "clearing init") as engine:
        with translated_errors(), engine.connect() as connection:
            if read_head(connection) is not None:
                _complete(home, signer, stored_leaf(connection, EntryIndex(0)))
                raise BackOfficeError(
                    "an alliance is founded in this database already; serve it with: clearing gateway, or choose "
                    "another --home or CLEARING_DATABASE_URL for a new one"
                )
        home.make_folders()
        for path, key in keys.items():
            _keep(path, key, settings)
        card_secret(home.card_token_secret_file)  # made now, so that it is backed up with the keys
        writer = Writer(engine, signer)
        try:
            (reply,) = writer.submit([founding]).result()
        finally:
            writer.close()
    if isinstance(reply, Rejection):
        raise reply
    decided = decided_by(founding.envelope, reply, signer.verifier)
    home.write_alliance(LogIdentity(signer.verifier, log_id_of(reply.leaf)))
    return decided


def _complete(home: Home, signer: Signer, founding: bytes) -> None:
    """Write the ``alliance.json`` of a founding that was interrupted once its entry was in the log."""
    action = decode_instruction(decode_entry(founding).envelope.payload).action
    is_ours = isinstance(action, CreateAllianceAction) and action.log_verifier == signer.vkey
    if is_ours and not home.alliance_file.exists():
        home.write_alliance(LogIdentity(signer.verifier, log_id_of(founding)))
