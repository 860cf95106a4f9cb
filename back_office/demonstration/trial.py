"""What the demonstration and the benchmark have in common: the alliance they found, and keys made on the spot."""

from __future__ import annotations

from back_office.client.instructing import Instructor, Unsigned
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import (
    CLOCK_PRESENTED,
    SETTLEMENT_METHOD_ISSUER_PAYS,
    CreateAlliance,
    Instruction,
    RegisterKey,
)


def trial_constitution(time_zone: str, *, four_eyes: bool = False) -> CreateAlliance:
    """An alliance under the presented clock, so that months pass in a minute."""
    return CreateAlliance(
        unit="PTS",
        currency="EUR",
        currency_decimals=2,
        time_zone=time_zone,
        settlement_method=SETTLEMENT_METHOD_ISSUER_PAYS,
        clock=CLOCK_PRESENTED,
        four_eyes=four_eyes,
        lot_lifetime_months=12,
        late_presentment_days=7,
        notice_days=0,
        issuance_price="0.0100",
        redemption_price="0.0090",
    )


def register_new_key(instructor: Instructor, registration: RegisterKey) -> PrivateKey:
    """Make a key, and register it as ``registration`` says. Raises ``RefusedError``."""
    key = PrivateKey.generate()
    registration.public_key = key.public_key
    action = Instruction(register_key=registration)
    instructor.require(Unsigned(action, ("register", registration.holder), also_signs=(key,)))
    return key
