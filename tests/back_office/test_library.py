"""A month by the library alone, as a console would work it: no command, a real gateway and PostgreSQL."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from back_office.client.connection import GatewayConnection
from back_office.client.drafts import read_draft, sign_draft, write_draft
from back_office.client.expiry import overview
from back_office.client.home import home_of, signing_keys
from back_office.client.instructing import Instructor, RefusedError, send
from back_office.client.keys import Registration, list_keys, registering, revoking
from back_office.client.log_copy import export_log
from back_office.client.merchants import admission, list_members
from back_office.client.payments import (
    find_payment,
    list_payments,
    record_all,
    recording,
    was_recorded_before,
)
from back_office.client.settlements import approving, computed_settlement, proposed_settlement, proposing
from back_office.client.statements import download_statement, owner_of, proposed_entry, write_statement
from back_office.client.stores import opening
from back_office.client.terms import Terms, list_terms, setting
from back_office.client.verifiers import verifier_of
from back_office.client.windows import closing, find_window
from back_office.client.wording import words
from back_office.demonstration.trial import trial_constitution
from back_office.errors import BackOfficeError
from back_office.host.assembly import Gateway
from back_office.host.database import migrated_database
from back_office.host.founding import found_alliance
from clearing.calendar import moment_of
from clearing.card_token import random_token
from clearing.model import MerchantId, Outcome, Role, StoreId
from clearing.rules.directory import WindowStatus
from clearing.runtime.settings import Settings
from clearing.signing.keys import PrivateKey
from merchant_gateway.client import MerchantClient, burn, earn, open_card
from settlement.auditing.audit import verify_export
from tests.integration.alliance import local_instant

ORIGIN = "console.example/log"
WINDOW = "2026-01"


@pytest.fixture
def connection(database_url: str) -> Iterator[GatewayConnection]:
    """To a gateway of an alliance that anna and ben have founded on the first of January."""
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        settings = Settings(home=Path(folder) / "home", database_url=SecretStr(database_url), address="127.0.0.1:0")
        founded_at = local_instant("2026-01-01 06:00:00")
        found_alliance(settings, ORIGIN, trial_constitution("Europe/Berlin"), ["anna", "ben"], founded_at)
        signer = home_of(settings).log_signer(None)
        with (
            migrated_database(settings, "test") as engine,
            Gateway(engine, signer, settings.address) as gateway,
            GatewayConnection(settings.model_copy(update={"address": gateway.server.address})) as connected,
        ):
            yield connected


def test_a_month_is_worked_without_the_command(connection: GatewayConnection, tmp_path: Path) -> None:
    home = home_of(connection.settings)
    anna = Instructor(connection, signing_keys(connection.settings, [home.key_file("operator", "anna")]))

    tills = {merchant: PrivateKey.generate() for merchant in ("bakery", "cinema")}
    for merchant, till in tills.items():
        anna.require(admission(merchant, f"{merchant.title()} Ltd"))
        anna.require(opening(merchant, f"{merchant}-1"))
        anna.require(registering(Registration(till.public_key, Role.MERCHANT, merchant, merchant), till))
    assert [(each.merchant, each.stores) for each in list_members(connection, anna.reader)] == [
        ("bakery", ("bakery-1",)),
        ("cinema", ("cinema-1",)),
    ]
    finance_key, auditor_key = PrivateKey.generate(), PrivateKey.generate()
    anna.require(registering(Registration(finance_key.public_key, Role.FINANCE, "carla"), finance_key))
    anna.require(registering(Registration(auditor_key.public_key, Role.AUDITOR, "dora"), auditor_key))
    finance = Instructor(connection, [finance_key])
    with pytest.raises(RefusedError) as refused:
        anna.require(opening("fuel", "fuel-1"))
    assert refused.value.decided.outcome is Outcome.UNKNOWN_MERCHANT

    agreed = Terms("bakery", "cinema", "2026-02-01", "", "0.0085")
    anna.require(setting(agreed))
    assert list_terms(connection, anna.reader)[1:] == [agreed]

    _trade(connection, tills)
    assert overview(connection, anna.reader).points == 0

    closed = anna.require(closing(connection, WINDOW))
    assert closed.window_range is not None
    anna.require(proposing(computed_settlement(connection, anna.reader, WINDOW)))
    proposal = proposed_settlement(connection, finance_key, WINDOW)
    with pytest.raises(BackOfficeError, match="has the SHA-256"):
        proposed_settlement(connection, finance_key, WINDOW, digest="00" * 32)
    finance.require(approving(proposal))

    payments = list_payments(connection, finance_key, WINDOW)
    payment = find_payment(payments, WINDOW, "bakery", "cinema")
    with pytest.raises(BackOfficeError, match="pays bakery nothing"):
        find_payment(payments, WINDOW, "cinema", "bakery")
    finance.require(recording(WINDOW, payment, "2026-02-03", "BANK-1"))
    again = list(record_all(finance, WINDOW, payments, "2026-02-03", "BANK"))
    assert [was_recorded_before(each) for each in again] == [True]
    window = find_window(connection, finance_key, WINDOW)
    assert (window.status, window.payments_recorded, window.payments_proposed) == (WindowStatus.SETTLED, 1, 1)
    assert (window.first_index, window.end_index) == (closed.window_range.first_index, closed.window_range.end_index)

    files = [
        (write_statement(tmp_path / WINDOW, name, content), content)
        for name, content in download_statement(connection, finance_key, WINDOW, None)
    ]
    assert [path.name for path, _ in files] == ["alliance.json", "alliance.csv", "alliance.xlsx"]
    proposed = proposed_entry(connection, finance_key, WINDOW)
    assert proposed is not None
    assert owner_of(files[0][1]) is None
    proposed.require_alliance_statement(files[0][1])
    # 200 points of the bakery at the alliance's price: the pair's own holds for points issued from February on.
    assert b'"1.80"' in files[0][1]

    seen: list[tuple[int, int]] = []
    exported = export_log(connection, auditor_key, tmp_path / "log", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (exported.checkpoint.size, exported.checkpoint.size)
    report = verify_export(tmp_path / "log", verifier_of(str(home.alliance_file)), lambda done, total: None)
    assert report.entries == exported.checkpoint.size
    assert report.windows_proposed == (WINDOW,)


def test_a_draft_is_signed_by_a_second_person_and_sent(connection: GatewayConnection, tmp_path: Path) -> None:
    home = home_of(connection.settings)
    anna, ben = signing_keys(connection.settings, [home.key_file("operator", holder) for holder in ("anna", "ben")])
    lost = PrivateKey.generate()
    instructor = Instructor(connection, [anna])
    instructor.require(registering(Registration(lost.public_key, Role.AUDITOR, "dora"), lost))

    draft = tmp_path / "revocation.draft"
    write_draft(draft, instructor.sign(revoking(lost.key_id)))
    envelope, _ = read_draft(draft)
    assert words(envelope.payload)[0] == ("revoke the key", lost.key_id)
    sign_draft(draft, envelope, [ben])
    signed, _ = read_draft(draft)
    assert {each.keyid for each in signed.signatures} == {anna.key_id, ben.key_id}

    assert send(connection, signed).outcome is Outcome.ACCEPTED
    assert send(connection, signed).replayed
    (found,) = [each for each in list_keys(connection, anna) if each.key_id == lost.key_id]
    assert found.revoked_at is not None


def test_the_library_brings_no_terminal_along() -> None:
    program = (
        "import importlib, pkgutil, sys, back_office.client as library\n"
        "names = [each.name for each in pkgutil.iter_modules(library.__path__)]\n"
        "for name in names: importlib.import_module(f'back_office.client.{name}')\n"
        "unwanted = {'typer', 'rich', 'back_office.cli', 'merchant_gateway.server', 'sqlalchemy', 'psycopg2'}\n"
        "print(len(names), sorted(unwanted & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    count, found = done.stdout.strip().split(" ", 1)
    assert int(count) > 15
    assert found == "[]"


def _trade(connection: GatewayConnection, tills: dict[str, PrivateKey]) -> None:
    """A customer earns 300 points at the bakery and burns 200 of them at the cinema."""
    card = random_token()
    clients = {
        name: MerchantClient(connection.address, connection.alliance, MerchantId(name), key)
        for name, key in tills.items()
    }
    morning, evening = (moment_of(local_instant(f"2026-01-05 {hour}:00:00")) for hour in ("09", "20"))
    bakery, cinema = StoreId("bakery-1"), StoreId("cinema-1")
    try:
        receipts = clients["bakery"].submit(
            [open_card("b-1", card, bakery, morning), earn("b-2", card, bakery, 300, morning)], presented_at=morning
        )
        receipts += clients["cinema"].submit([burn("c-1", card, cinema, 200, evening)], presented_at=evening)
    finally:
        for client in clients.values():
            client.close()
    assert {each.outcome for each in receipts} == {Outcome.ACCEPTED}
