"""Setting the bench's alliance up: founding, merchants, keys, and cards with points on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from back_office.client.connection import GatewayConnection
from back_office.client.home import home_of, signing_keys
from back_office.client.instructing import Instructor
from back_office.client.merchants import admission
from back_office.client.stores import opening
from back_office.demonstration.trial import register_new_key, trial_constitution
from back_office.host.founding import found_alliance
from benchmarks.errors import BenchFailedError
from benchmarks.load import CallsMade, LoadClients
from benchmarks.workload import FOUNDED_AT, MERCHANTS, SIGNED_BATCHES, TIME_ZONE, Member, Population
from clearing.model import MerchantId
from clearing.runtime.settings import Settings
from clearing.signing.key_files import write_private_key
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import (
    ROLE_AUDITOR,
    ROLE_FINANCE,
    ROLE_MERCHANT,
    RegisterKey,
)

ORIGIN: Final = "bench.clearing.example/log"
OPERATOR: Final = "operator"
FUNDING_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Staff:
    """The key files of those who run the alliance."""

    operator: Path
    finance: Path
    auditor: PrivateKey


def found_bench(settings: Settings) -> None:
    """Found the alliance under the presented clock: a month can then end while the load runs."""
    found_alliance(settings, ORIGIN, trial_constitution(TIME_ZONE), [OPERATOR], FOUNDED_AT)


def admit(connection: GatewayConnection, cards: int) -> tuple[Population, Staff]:
    """Admit the merchants, each with a store and a key, and register finance and an auditor."""
    home = home_of(connection.settings)
    operator = home.key_file("operator", OPERATOR)
    instructor = Instructor(connection, signing_keys(connection.settings, [operator]))
    members = tuple(_admit(instructor, MerchantId(f"merchant-{number:02d}")) for number in range(1, MERCHANTS + 1))
    finance = register_new_key(instructor, RegisterKey(role=ROLE_FINANCE, holder="finance"))
    write_private_key(home.key_file("finance", "finance"), finance, None)
    auditor = register_new_key(instructor, RegisterKey(role=ROLE_AUDITOR, holder="auditor"))
    population = Population(connection.alliance, members, cards)
    return population, Staff(operator, home.key_file("finance", "finance"), auditor)


def fund_cards(clients: LoadClients, address: str) -> CallsMade:
    """Open every card and put points on it. Raises ``BenchFailedError`` unless all of it is done."""
    clients.sign(None)
    clients.start(address, SIGNED_BATCHES.callers, FUNDING_SECONDS_MAX)
    made = clients.finish()
    if made.failures:
        raise BenchFailedError(f"the cards could not be opened: {dict(made.failures)}")
    return made


def _admit(instructor: Instructor, merchant: MerchantId) -> Member:
    instructor.require(admission(merchant, merchant.replace("-", " ").title()))
    key = register_new_key(instructor, RegisterKey(role=ROLE_MERCHANT, merchant=merchant, holder=merchant))
    member = Member(merchant, key.seed)
    instructor.require(opening(merchant, member.store))
    return member
