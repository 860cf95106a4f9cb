"""TLS as the settings have it, on the gateway's side and on that of the commands that connect to it."""

from __future__ import annotations

import grpc

from clearing.runtime.settings import Settings, SettingsError
from merchant_gateway.client.tls import channel_credentials, server_credentials
from merchant_gateway.server.access import Access
from merchant_gateway.server.limits import MerchantLimits


def access_of(settings: Settings) -> Access:
    """Who may connect to the gateway. Raises ``SettingsError`` where a part is missing, and what ``tls`` raises."""
    return Access(
        credentials=_server_credentials(settings),
        client_certificates=settings.tls_client_ca is not None,
        insecure_plaintext=settings.insecure_plaintext,
        limits=MerchantLimits(
            calls_per_second=settings.merchant_calls_per_second,
            transactions_per_second=settings.merchant_transactions_per_second,
        ),
    )


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


def _server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is not None and key is not None:
        if settings.insecure_plaintext:
            raise SettingsError("--insecure-plaintext and a TLS certificate contradict each other: give one of them")
        return server_credentials(certificate, key, client_ca, passphrase=settings.passphrase_bytes)
    if (certificate, key, client_ca) != (None, None, None):
        raise SettingsError(
            "TLS takes --tls-certificate and --tls-key (CLEARING_TLS_CERTIFICATE, CLEARING_TLS_KEY), and "
            "--tls-client-ca only beside them: give both"
        )
    return None
