"""TLS as the settings have it, on the side of whoever connects to the gateway."""

from __future__ import annotations

import grpc

from clearing.runtime.settings import Settings, SettingsError
from merchant_gateway.client.tls import channel_credentials


def channel_credentials_of(settings: Settings) -> grpc.ChannelCredentials | None:
    """What a command connects with; None: plain text. Raises ``SettingsError``, and what ``tls`` raises."""
    certificate, key = settings.tls_client_certificate, settings.tls_client_key
    if (certificate is None) != (key is None):
        raise SettingsError("CLEARING_TLS_CLIENT_CERTIFICATE and CLEARING_TLS_CLIENT_KEY go together: give both")
    if settings.tls_ca is None:
        if certificate is not None:
            raise SettingsError(
                "a client certificate is shown over TLS only: name who signed the gateway's with --tls-ca or "
                "CLEARING_TLS_CA"
            )
        return None
    return channel_credentials(settings.tls_ca, certificate, key, passphrase=settings.passphrase_bytes)
