"""The client library of a merchant's system: what it imports comes from here.

    from merchant_gateway.client import MerchantClient, ReceiptStore, earn, open_card

The till's outbox is in ``merchant_gateway.client.outbox``, files of baskets in ``merchant_gateway.client.baskets``.
"""

from merchant_gateway.client.alliance_file import read_alliance
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.receipt_store import ReceiptStore
from merchant_gateway.client.retry import RetryPolicy
from merchant_gateway.client.tls import channel_credentials
from merchant_gateway.client.transactions import burn, earn, open_card, refund

__all__ = [
    "MerchantClient",
    "ReceiptStore",
    "RetryPolicy",
    "burn",
    "channel_credentials",
    "earn",
    "open_card",
    "read_alliance",
    "refund",
]
