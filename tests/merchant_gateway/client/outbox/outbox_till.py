"""A till in a process of its own, to be killed: ``python -m`` with this module and its arguments.

Says on its output what it is about to do and what it was told, a line each: ``begin REFERENCE``, then ``safe
REFERENCE`` or, of a burn that is not done, ``none REFERENCE``.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from clearing.contract.log_identity import LogIdentity
from clearing.log.note import parse_verifier
from clearing.model import Points
from clearing.signing.keys import PrivateKey
from merchant_gateway.client.merchant_client import MerchantClient
from merchant_gateway.client.outbox import BurnOfflineError, FloorLimit, Outbox
from merchant_gateway.client.transactions import burn, earn
from tests.merchant_gateway.client.outbox.outbox_scene import BAKERY, QUICK, STORE, now


def main() -> None:
    """Sell until killed."""
    address, vkey, log_id, seed, path, card, prefix, floor = sys.argv[1:]
    limit = FloorLimit(Points(int(floor)), Points(10 * int(floor))) if int(floor) else None
    alliance = LogIdentity(parse_verifier(vkey), bytes.fromhex(log_id))
    client = MerchantClient(address, alliance, BAKERY, PrivateKey(bytes.fromhex(seed)), retry=QUICK)
    # Too short for some answers under load: so some burns are taken back.
    with Outbox(Path(path), client, floor_limit=limit, patience_seconds=0.02, retry=QUICK) as outbox:
        for number in itertools.count():
            reference = f"{prefix}-{number}"
            print("begin", reference, flush=True)
            make = burn if number % 4 == 3 else earn
            try:
                outbox.sell(make(reference, card, STORE, number % 7 + 1, now()))
            except BurnOfflineError:
                print("none", reference, flush=True)
            else:
                print("safe", reference, flush=True)


if __name__ == "__main__":
    main()
