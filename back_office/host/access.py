"""Who may connect to the gateway, as the settings have it."""

from __future__ import annotations

import grpc

from clearing.runtime.settings import Settings, SettingsError
from merchant_gateway.client.tls import server_credentials
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
