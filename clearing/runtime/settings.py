"""Settings from the environment, as ``CLEARING_<NAME>``; some may be given as an option too, which then wins."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clearing.errors import ClearingError

PREFIX: Final = "CLEARING_"


class SettingsError(ClearingError):
    """A setting cannot be used as it is; the text names it, and never shows what may be a secret."""


class LogLevel(StrEnum):
    """From which level on lines of the log are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(BaseSettings):
    """Where things are, and what opens them."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True)

    home: Path = Path("clearing-data")
    """The folder of this installation: its keys, and the embedded database."""
    database_url: SecretStr | None = None
    """None: the embedded PostgreSQL in the home folder."""
    address: str = "127.0.0.1:7070"
    """Host and port at which the gateway listens, and the other commands find it."""
    key: Path | None = None
    """The private key file that signs instructions and the tokens of reads. None: the one in the home folder."""
    passphrase: SecretStr | None = None
    """Opens encrypted key files, and encrypts those that are made. None: they are not encrypted."""
    tls_certificate: Path | None = None
    """The gateway's certificate, with its chain, in PEM. None: plain text."""
    tls_key: Path | None = None
    """The private key of the gateway's certificate."""
    tls_client_ca: Path | None = None
    """Who signs clients' certificates: with it each client must show one, and it must name who signs."""
    tls_ca: Path | None = None
    """Who signed the gateway's certificate, for the commands that connect to it. None: plain text."""
    tls_client_certificate: Path | None = None
    """The certificate that those commands show."""
    tls_client_key: Path | None = None
    """The private key of that certificate."""
    insecure_plaintext: bool = False
    """Whether plain text may leave the machine: only where something else encrypts."""
    merchant_calls_per_second: int = Field(default=5_000, ge=1, le=1_000_000)
    """How many calls a merchant may make; in bursts, those of two seconds at once."""
    merchant_transactions_per_second: int = Field(default=50_000, ge=1, le=1_000_000)
    """How many transactions a merchant may present; in bursts, those of two seconds at once."""

    log_level: LogLevel = LogLevel.INFO
    """From which level on the gateway logs."""
    metrics_address: str | None = None
    """Host and port of loopback at which the gateway shows its metrics by HTTP. None: nowhere."""

    @field_validator("home")
    @classmethod
    def _is_no_file(cls, home: Path) -> Path:
        home = home.expanduser()
        if home.exists() and not home.is_dir():
            raise ValueError(f"{home} is not a folder")
        return home

    @property
    def passphrase_bytes(self) -> bytes | None:
        """The passphrase as key files take it."""
        return self.passphrase.get_secret_value().encode() if self.passphrase is not None else None


def load_settings(**options: Any) -> Settings:
    """The settings from the environment, with the options that are not None in place of them.

    Raises ``SettingsError`` naming a setting that cannot be used, or one that does not exist: a mistyped name would
    otherwise silently mean the default, such as another database.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            raise SettingsError(f"{name} is not a setting; the settings are {', '.join(sorted(known))}")
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(problem["loc"][0])
        text = problem["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{PREFIX}{name.upper()} or its option: {text}") from None
