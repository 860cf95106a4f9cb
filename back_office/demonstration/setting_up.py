"""Setting the demonstration's alliance up: founding, members, stores, keys, under four eyes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from back_office.client.connection import GatewayConnection
from back_office.client.home import home_of, signing_keys
from back_office.client.instructing import Instructor
from back_office.client.merchants import admission
from back_office.client.stores import opening
from back_office.client.terms import Terms, setting
from back_office.demonstration.scenario import FIRST_DAY, SHOPS, TIME_ZONE
from back_office.demonstration.trial import register_new_key, trial_constitution
from back_office.host.founding import found_alliance
from clearing.calendar import first_day, instant_of, next_window, window_of_date
from clearing.runtime.settings import Settings
from clearing.signing.key_files import write_private_key
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import (
    ROLE_AUDITOR,
    ROLE_FINANCE,
    ROLE_MERCHANT,
    RegisterKey,
)

ORIGIN = "demo.clearing.example/log"
OPERATORS = ("operator-one", "operator-two")
FINANCE_OFFICERS = ("finance-one", "finance-two")


@dataclass(frozen=True, slots=True)
class Demo:
    """The keys of everybody who takes part."""

    operators: list[Path]
    finance: list[Path]
    auditor_key: PrivateKey
    merchant_keys: dict[str, PrivateKey]


def found_demo(settings: Settings) -> None:
    """Found the alliance shortly before the first day begins."""
    first_morning = datetime.datetime.combine(FIRST_DAY, datetime.time(6), ZoneInfo(TIME_ZONE))
    found_alliance(
        settings, ORIGIN, trial_constitution(TIME_ZONE, four_eyes=True), OPERATORS, instant_of(first_morning)
    )


def set_up(settings: Settings, connection: GatewayConnection) -> Demo:
    """Admit the merchants, open their stores, register everybody's keys, and agree on one pair's own price."""
    home = home_of(settings)
    operators = [home.key_file("operator", holder) for holder in OPERATORS]
    instructor = Instructor(connection, signing_keys(settings, operators))
    merchant_keys: dict[str, PrivateKey] = {}
    for shop in SHOPS:
        instructor.require(admission(shop.merchant, shop.legal_name))
        instructor.require(opening(shop.merchant, f"{shop.merchant}-1"))
        registration = RegisterKey(role=ROLE_MERCHANT, merchant=shop.merchant, holder=shop.merchant)
        merchant_keys[shop.merchant] = register_new_key(instructor, registration)
    second_month = first_day(next_window(window_of_date(FIRST_DAY))).isoformat()
    instructor.require(setting(Terms("grocer", "fuel", second_month, "", "0.0085")))
    finance = []
    for holder in FINANCE_OFFICERS:
        key = register_new_key(instructor, RegisterKey(role=ROLE_FINANCE, holder=holder))
        finance.append(home.key_file("finance", holder))
        write_private_key(finance[-1], key, None)
    auditor_key = register_new_key(instructor, RegisterKey(role=ROLE_AUDITOR, holder="auditor"))
    return Demo(operators, finance, auditor_key, merchant_keys)
