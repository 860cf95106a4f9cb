"""The home folder of an installation: which file in it is what.

* ``alliance.json`` — the alliance's origin, its log's verifier and id; nothing secret: all who read or sign have it.
* ``keys/log.pem`` — signs the log's checkpoints; only the gateway needs it.
* ``keys/<role>-<holder>.pem``, ``keys/merchant-<merchant>.pem`` — people's and merchants' keys.
* ``card-token.secret`` — what ``clearing submit`` derives card tokens from.
* ``postgres/`` — the embedded database.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from back_office.errors import BackOfficeError
from clearing.contract.log_identity import LogIdentity
from clearing.log.note import Signer
from clearing.model import MerchantId
from clearing.runtime.settings import Settings
from clearing.signing.key_files import read_private_key
from clearing.signing.keys import PrivateKey
from clearing.whole_file import write_whole
from merchant_gateway.client.alliance_file import alliance_file_text, read_alliance

MERCHANT_KEYS = "merchant-*.pem"


@dataclass(frozen=True, slots=True)
class Home:
    """The paths in a home folder, and reading what they hold."""

    directory: Path

    @property
    def alliance_file(self) -> Path:
        """Origin, log verifier and log id."""
        return self.directory / "alliance.json"

    @property
    def keys(self) -> Path:
        """The folder of the private keys."""
        return self.directory / "keys"

    @property
    def log_key_file(self) -> Path:
        """The key of the log's checkpoints."""
        return self.keys / "log.pem"

    @property
    def card_token_secret_file(self) -> Path:
        """32 random bytes, in hexadecimal."""
        return self.directory / "card-token.secret"

    @property
    def postgres(self) -> Path:
        """The embedded database's data folder."""
        return self.directory / "postgres"

    def key_file(self, role: str, holder: str) -> Path:
        """Where the key of a role's holder lies; for merchants the holder is the merchant."""
        return self.keys / f"{role}-{holder}.pem"

    def make_folders(self) -> None:
        """Make the home and its keys' folder, the latter closed to others. Raises ``BackOfficeError``."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.keys.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise BackOfficeError(f"cannot make {error.filename}: {error.strerror}; choose another --home") from None

    def alliance(self) -> LogIdentity:
        """What ``alliance.json`` says. Raises ``AllianceFileError``."""
        return read_alliance(self.alliance_file)

    def write_alliance(self, alliance: LogIdentity) -> None:
        """Write ``alliance.json``, whole or not at all. Raises ``BackOfficeError``."""
        try:
            write_whole(self.alliance_file, alliance_file_text(alliance).encode(), durable=True)
        except OSError as error:
            raise BackOfficeError(f"cannot write {self.alliance_file}: {error.strerror}") from None

    def log_signer(self, passphrase: bytes | None) -> Signer:
        """The signer of the log's checkpoints. Raises ``BackOfficeError`` or ``KeyFileError``."""
        origin = self.alliance().origin
        return Signer(origin, read_private_key(self.log_key_file, passphrase).seed)

    def default_key_file(self) -> Path:
        """The one operator's key here or, without any, the only key that is not the log's.

        Raises ``BackOfficeError`` if that does not single one out.
        """
        operators = sorted(self.keys.glob("operator-*.pem"))
        candidates = operators or sorted(path for path in self.keys.glob("*.pem") if path != self.log_key_file)
        if len(candidates) == 1:
            return candidates[0]
        if not candidates:
            if self.keys.exists() and not os.access(self.keys, os.R_OK | os.X_OK):
                raise BackOfficeError(f"cannot read {self.keys}: it is closed to you; name your key with --key FILE")
            raise BackOfficeError(f"no key lies in {self.keys}; name yours with --key FILE or CLEARING_KEY")
        names = ", ".join(path.name for path in candidates)
        raise BackOfficeError(f"several keys lie in {self.keys} ({names}); say which with --key FILE or CLEARING_KEY")


def home_of(settings: Settings) -> Home:
    """The home folder that the settings name."""
    return Home(settings.home)


def signing_keys(settings: Settings, files: list[Path] | None) -> list[PrivateKey]:
    """The keys in the files or, without any, the key of the settings or the home. Raises ``ClearingError``."""
    chosen = files or [settings.key or home_of(settings).default_key_file()]
    return [read_private_key(path, settings.passphrase_bytes) for path in chosen]


def merchant_keys(settings: Settings) -> dict[MerchantId, PrivateKey]:
    """The merchants' keys in the home folder, by the merchant that the file is named for.

    Raises ``BackOfficeError``, and what reading a key raises.
    """
    folder = home_of(settings).keys
    keys = {
        MerchantId(path.stem.removeprefix("merchant-")): read_private_key(path, settings.passphrase_bytes)
        for path in sorted(folder.glob(MERCHANT_KEYS))
    }
    if not keys:
        raise BackOfficeError(
            f"no {MERCHANT_KEYS} lies in {folder}; make and register each merchant's key: "
            "clearing key register --role merchant --merchant MERCHANT --new"
        )
    return keys
