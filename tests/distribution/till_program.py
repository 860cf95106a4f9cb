"""A till's program, run where only the client library is installed: it submits a sale, and sells through the outbox.

Reads what it needs to know from standard input, and prints as JSON what came of it.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from clearing.card_token import random_token
from clearing.contract.log_identity import LogIdentity
from clearing.log.note import parse_verifier
from clearing.model import MerchantId
from clearing.signing.keys import PrivateKey
from merchant_gateway.client import MerchantClient, earn, open_card
from merchant_gateway.client.outbox import Outbox, Queued

told = json.load(sys.stdin)
identity = LogIdentity(parse_verifier(told["log_key"]), bytes.fromhex(told["log_id"]))
key = PrivateKey(bytes.fromhex(told["seed"]))
card = random_token()
with (
    MerchantClient(told["address"], identity, MerchantId("bakery"), key) as client,
    Outbox(Path(told["outbox"]), client) as outbox,
):
    submitted = client.submit([open_card("till-1", card, "bakery-1", datetime.now(UTC))])
    sold = outbox.sell(earn("till-2", card, "bakery-1", 120, datetime.now(UTC)))
    assert not isinstance(sold, Queued), sold
    print(json.dumps({"opened": submitted[0].is_accepted, "sold": sold.is_accepted, "points": sold.points_available}))
