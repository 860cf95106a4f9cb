"""An alliance without gateway and database: the real authentication, rules and log, decided in memory.

It presents envelopes as ``MerchantConnection.submit`` does, fast enough for property tests; the answers carry real
receipts that are verified like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from clearing.clock import next_accepted_at
from clearing.contract.log_identity import LogIdentity
from clearing.contract.receipt import Receipt
from clearing.deciding.authentication import authenticate_presentment
from clearing.deciding.decision import decide_message, fold
from clearing.log import merkle
from clearing.log.checkpoint import Checkpoint, sign_checkpoint
from clearing.log.note import Signer
from clearing.model import (
    ClockKind,
    CreateAlliance,
    EntryIndex,
    Instant,
    MerchantId,
    RegisterKey,
    Role,
    SettlementMethod,
    StoreId,
    WindowId,
)
from clearing.rules.directory import Directory, Key, Merchant
from clearing.rules.ledger import Ledger
from clearing.rules.presentment import AlreadyDecided
from clearing.signing.keys import PrivateKey
from clearing.v1.envelope_pb2 import Envelope
from merchant_gateway.client.transaction_receipt import TransactionReceipt, check_submitted
from tests.zones import calendar_of, offsets_of

ORIGIN = "clearing.example/rules"
LOG_ID = bytes(range(16))
LOG_KEY = Signer(ORIGIN, bytes(range(32)))
IDENTITY = LogIdentity(LOG_KEY.verifier, LOG_ID)
TIME_ZONE = "Europe/Berlin"
FOUNDED_AT = Instant(1_483_225_200_000_000)
"""2017-01-01 00:00 in Berlin."""


def key_of(merchant: MerchantId) -> PrivateKey:
    """The merchant's key."""
    return PrivateKey(merchant.encode().ljust(32, b"."))


def receipt_of_leaf(
    leaves: Sequence[bytes], index: int, *, signer: Signer = LOG_KEY, replayed: bool = False
) -> Receipt:
    """The receipt of a leaf in the log of these leaves."""
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    checkpoint = Checkpoint(signer.name, len(leaves), merkle.root(hashes))
    path = tuple(merkle.inclusion_path(hashes, index, len(leaves)))
    return Receipt(leaves[index], EntryIndex(index), path, sign_checkpoint(checkpoint, signer), replayed)


def directory_of(stores: dict[str, str]) -> Directory:
    """The directory of an alliance whose merchants have these stores, and a key each."""
    constitution = CreateAlliance(
        unit="PTS",
        currency="EUR",
        currency_decimals=2,
        time_zone=TIME_ZONE,
        settlement_method=SettlementMethod.ISSUER_PAYS,
        clock=ClockKind.PRESENTED,
        log_verifier=LOG_KEY.vkey,
        operator_keys=(),
        four_eyes=False,
        lot_lifetime_months=24,
        late_presentment_days=7,
        issuance_price=Decimal("0.01"),
        redemption_price=Decimal("0.01"),
        rules_version=1,
        notice_days=0,
        settlement_version=1,
        zone_offsets=offsets_of(TIME_ZONE),
    )
    merchants = {MerchantId(merchant) for merchant in stores.values()}
    keys = {}
    for merchant in merchants:
        key = key_of(merchant)
        registration = RegisterKey(key.public_key, Role.MERCHANT, merchant, f"{merchant}-till", None, None)
        keys[key.key_id] = Key(key.key_id, registration, FOUNDED_AT)
    return Directory(
        origin=ORIGIN,
        constitution=constitution,
        founded_in=WindowId("2017-01"),
        calendar=calendar_of(TIME_ZONE),
        founded_at=FOUNDED_AT,
        log_id=LOG_ID,
        merchants={merchant: Merchant(merchant, merchant.title()) for merchant in merchants},
        stores={StoreId(store): MerchantId(merchant) for store, merchant in stores.items()},
        keys=keys,
    )


@dataclass(slots=True)
class RulesAlliance:
    """Its whole log and ledger."""

    directory: Directory
    ledger: Ledger = field(default_factory=Ledger)
    leaves: list[bytes] = field(default_factory=lambda: [b"the founding, which nobody here reads"])
    latest: Instant = FOUNDED_AT
    calls: int = 0

    def answer(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """The receipts of a call, as the gateway gives them."""
        self.calls += 1
        places: list[tuple[int, bool]] = []
        for envelope in envelopes:
            message = authenticate_presentment(envelope, self.directory)
            accepted_at = next_accepted_at(
                ClockKind.PRESENTED, self.latest, Instant(0), message.presentment.presented_at
            )
            index = EntryIndex(len(self.leaves))
            decided = decide_message(self.directory, self.ledger, message, accepted_at, index)
            if isinstance(decided, AlreadyDecided):
                places.append((decided.entry_index, True))
                continue
            fold(self.ledger, decided)
            self.leaves.append(decided.leaf)
            self.latest = accepted_at
            places.append((index, False))
        return [receipt_of_leaf(self.leaves, index, replayed=replayed) for index, replayed in places]

    def submit(self, envelopes: Sequence[Envelope]) -> list[list[TransactionReceipt]]:
        """Present envelopes; the receipts are verified."""
        receipts = self.answer(envelopes)
        return [
            check_submitted(envelope, receipt, LOG_KEY.verifier)[1]
            for envelope, receipt in zip(envelopes, receipts, strict=True)
        ]
