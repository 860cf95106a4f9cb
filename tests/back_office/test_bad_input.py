"""What users get wrong: a named reason in one line and exit code 1, or usage and exit code 2; never a traceback."""

import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy

from clearing.postgres.embedded.server import EmbeddedPostgres
from clearing.postgres.migration import MIGRATION_LOCK
from tests.back_office.conftest import ORIGIN
from tests.back_office.installation import Installation, stop
from tests.waiting import PATIENCE_SECONDS, wait_until

HEADER = "basket_id,household_id,store_id,purchased_at,amount,coupon_discount\n"


@pytest.fixture
def founded(home: Path, database_url: str) -> Installation:
    """A founded alliance without a gateway."""
    installed = Installation(home, settings={"CLEARING_DATABASE_URL": database_url})
    installed.done("init", ORIGIN, "--operator", "anna")
    return installed


@pytest.fixture(scope="module")
def served(postgres: EmbeddedPostgres) -> Iterator[Installation]:
    """A founded alliance and its gateway, for tests that change nothing another would mind."""
    name = f"test_{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix="clearing-tests-") as folder:
        installed = Installation(
            Path(folder) / "home", settings={"CLEARING_DATABASE_URL": postgres.create_database(name)}
        )
        installed.done("init", ORIGIN, "--operator", "anna")
        with installed.serving():
            yield installed
    postgres.drop_database(name)


def test_settings_that_cannot_be_used_are_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, value, told in (
        ("CLEARING_DATABASE", "x", "CLEARING_DATABASE is not a setting"),
        ("CLEARING_HOME", str(tmp_path / "file"), f"CLEARING_HOME or its option: {tmp_path / 'file'} is not a folder"),
    ):
        assert told in Installation(home, settings={name: value}).refused("merchant", "list")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://user:topsecret@localhost/x", "only postgresql+psycopg2:// is supported"),
        ("no url", "cannot be read"),
        ("postgresql+psycopg2://user:topsecret@127.0.0.1:1/x", "Connection refused"),
    ],
)
def test_a_wrong_or_unreachable_database_founds_nothing(installation: Installation, url: str, told: str) -> None:
    installation.settings = {"CLEARING_DATABASE_URL": url}

    complaint = installation.refused("init", ORIGIN)

    assert told in complaint
    assert "topsecret" not in complaint
    assert not installation.home.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("an origin",), "no key name"),
        ((ORIGIN, "--currency", "euro"), "create_alliance.currency"),
        ((ORIGIN, "--time-zone", "Mars/Olympus"), "create_alliance.time_zone"),
        ((ORIGIN, "--redemption-price", "1e9"), "create_alliance.redemption_price"),
        ((ORIGIN, "--operator", "Anna Miller"), "--operator"),
        ((ORIGIN, "--four-eyes"), "create_alliance.operator_keys"),
        ((ORIGIN, "--at", "2026-01-01"), "--clock presented"),
        ((ORIGIN, "--clock", "presented", "--at", "New Year"), "--at: 'New Year' is no time"),
    ],
)
def test_a_malformed_founding_names_what_is_wrong(
    installation: Installation, options: tuple[str, ...], told: str
) -> None:
    assert told in installation.refused("init", *options)
    assert not installation.home.exists()


def test_an_interrupted_founding_is_run_again_with_the_same_keys(founded: Installation, database_url: str) -> None:
    key = (founded.home / "keys" / "operator-anna.pem").read_bytes()
    with sqlalchemy.create_engine(database_url).begin() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    (founded.home / "alliance.json").unlink()

    founded.done("init", ORIGIN, "--operator", "anna")

    assert (founded.home / "keys" / "operator-anna.pem").read_bytes() == key


def test_of_foundings_at_once_in_one_home_one_succeeds_and_the_keys_are_its_own(home: Path, database_url: str) -> None:
    installed = Installation(home, settings={"CLEARING_DATABASE_URL": database_url})
    engine = sqlalchemy.create_engine(database_url)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(3) as operators:
        # All have looked for keys and found none when the first goes on.
        with engine.begin() as connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            foundings = [operators.submit(installed.run, "init", ORIGIN, "--operator", "anna") for _ in range(3)]
            wait_until(lambda: connection.scalar(sqlalchemy.text(waiting)) == len(foundings))
        ended = [founding.result() for founding in foundings]
    engine.dispose()
    assert sorted(each.returncode for each in ended) == [0, 1, 1], [each.stderr for each in ended]
    with installed.serving():
        installed.done("merchant", "admit", "bakery", "--name", "Bakery Ltd")


def test_usage_errors_exit_with_2(installation: Installation) -> None:
    for arguments in (("no-such-command",), ("merchant", "admit"), ("key", "register", "--role", "emperor")):
        assert "Usage" in installation.refused(*arguments, code=2)
    assert installation.done("--version").startswith("clearing")


def test_a_gateway_says_why_it_does_not_serve(founded: Installation, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "the port is in use" in founded.refused("gateway", "--address", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "is no address" in founded.refused("gateway", "--address", "here")
    assert "not loopback" in founded.refused("gateway", "--address", "0.0.0.0:0")

    log_key = founded.home / "keys" / "log.pem"
    log_key.chmod(0o644)
    assert "chmod 600" in founded.refused("gateway")
    log_key.chmod(0o600)
    pem = log_key.read_bytes()
    log_key.write_bytes(b"no key")
    assert "does not hold a private key" in founded.refused("gateway")
    log_key.unlink()
    assert "log.pem" in founded.refused("gateway")
    founded.done("key", "new", log_key)
    assert "founded with the log key" in founded.refused("gateway")
    log_key.unlink()
    log_key.write_bytes(pem)
    assert "there is no" in Installation(tmp_path / "empty").refused("gateway")


def test_a_second_gateway_stands_by_and_tells_its_operator_for_whom(founded: Installation) -> None:
    with founded.serving() as first:
        second = subprocess.Popen(
            [sys.executable, "-m", "back_office.cli", "gateway", "--address", "127.0.0.1:0"],
            env=founded.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert second.stderr is not None
            assert second.stderr.readline().startswith("Standing by: the writer is database session ")
            assert founded.json("merchant", "list") == []
            assert stop(first) == 0
            assert second.stdout is not None
            assert second.stdout.readline().startswith(f"Serving {ORIGIN} at ")
        finally:
            assert stop(second) == 0


def test_a_gateway_whose_writer_stops_ends_by_itself_and_says_why(founded: Installation, database_url: str) -> None:
    with founded.serving() as gateway:
        with sqlalchemy.create_engine(database_url).begin() as connection:
            connection.execute(sqlalchemy.text("UPDATE log_head SET size = size + 1"))
        assert "has stopped writing" in founded.refused("merchant", "admit", "bakery", "--name", "Bakery Ltd")
        _, errors = gateway.communicate(timeout=PATIENCE_SECONDS)

    assert gateway.returncode == 1
    assert "Error: the gateway has ended because its writer stopped" in errors
    assert "writer_stopped" in errors
    assert "tile 0 of level 0" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_that_is_told_to_stop_exits_with_0(founded: Installation, number: int) -> None:
    with founded.serving("--reflection") as gateway:
        assert stop(gateway, number) == 0


def test_malformed_files_name_the_line_and_change_nothing(served: Installation, tmp_path: Path) -> None:
    baskets, merchants = tmp_path / "baskets.csv", tmp_path / "merchants.csv"
    baskets.write_text(HEADER + "1,h1,b-1,2026-01-05T10:00:00,1.50,0.00\n2,h1,b-1,tomorrow,1.50,0.00\n")
    merchants.write_text("merchant,legal_name\nbakery\n")
    assert "line 3: purchased_at" in served.refused("store", "import", baskets)
    assert "line 2" in served.refused("merchant", "import", merchants)
    assert "no merchant-*.pem" in served.refused("submit", baskets)
    served.done("merchant", "admit", "bakery", "--name", "Bakery Ltd")
    served.done("key", "register", "--role", "merchant", "--merchant", "bakery", "--new")
    size = served.json("window", "list")[0]["end_index"]
    assert "line 3: purchased_at" in served.refused("submit", baskets)
    assert "cannot read" in served.refused("submit", tmp_path / "missing.csv")
    assert "points per major unit" in served.refused("submit", baskets, "--points-per-unit", "-1")
    assert "is no number" in served.refused("submit", baskets, "--points-per-unit", "many")
    assert served.json("window", "list")[0]["end_index"] == size


def test_wrong_instructions_are_explained(served: Installation, tmp_path: Path) -> None:
    for arguments, told in (
        (("store", "open", "nobody", "b-1"), "UNKNOWN_MERCHANT: no merchant of this identifier is a member"),
        (("merchant", "admit", "Bakery!", "--name", "B"), "admit_merchant.merchant"),
        (("merchant", "admit", "Bäckerei", "--name", "B"), "admit_merchant.merchant"),
        (("merchant", "admit", "b", "--name", "B", "--reference", "two words"), "reference"),
        (("merchant", "admit", "b", "--name", "B", "--at", "2099-01-01T00:00Z"), "CLOCK_SKEW"),
        (("terms", "set", "--from", "2020-01-01", "--redemption-price", "1", "--issuance-price", "1"), "BACKDATED"),
        (("key", "revoke", "0" * 32), "KEY_NOT_REGISTERED"),
        (("key", "register", "--role", "merchant", "--holder", "x"), "--merchant goes with --role merchant and"),
        (("key", "register", "--role", "auditor", "--holder", "x"), "auditor-x.pem"),
        (("window", "show", "January"), "must be a month as YYYY-MM"),
        (("statement", "1999-01"), "1999-01"),
        (("merchant", "list", "--key", tmp_path / "missing.pem"), "missing.pem"),
        (("merchant", "list", "--key", served.home / "alliance.json"), "the alliance's name and public key"),
        (("audit", "verify", tmp_path, "--key", served.home / "keys" / "operator-anna.pem"), "holds a private key"),
    ):
        assert told in served.refused(*arguments)
    served.done("merchant", "admit", "b", "--name", "B")
    assert served.json("store", "open", "b", "b-1")["reference"] == "open-b-1-2", "the mistyped name is corrected"
    stranger = tmp_path / "stranger.pem"
    served.done("key", "new", stranger)
    assert "exists and is not overwritten" in served.refused("key", "new", stranger)
    assert "UNKNOWN_KEY" in served.refused("merchant", "list", "--key", stranger)
    assert "UNKNOWN_KEY" in served.refused("merchant", "admit", "b", "--name", "B", "--key", stranger)


def test_encrypted_keys_need_their_passphrase(home: Path, database_url: str) -> None:
    with_passphrase = {"CLEARING_DATABASE_URL": database_url, "CLEARING_PASSPHRASE": "open sesame"}
    Installation(home, settings=with_passphrase).done("init", ORIGIN)
    assert b"ENCRYPTED" in (home / "keys" / "log.pem").read_bytes()

    for passphrase, told in (("", "give its passphrase"), ("wrong", "does not open the key")):
        wrong = {**with_passphrase, "CLEARING_PASSPHRASE": passphrase}
        assert told in Installation(home, settings=wrong).refused("gateway")


def test_secrets_in_the_home_are_readable_by_their_owner_only(founded: Installation) -> None:
    secrets = [founded.home / "card-token.secret", *(founded.home / "keys").iterdir()]

    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600] * 3
    assert (founded.home / "keys").stat().st_mode & 0o777 == 0o700


def test_a_private_key_given_for_the_verifier_key_is_not_shown(founded: Installation) -> None:
    secret = founded.home / "keys" / "log.pem"
    told = founded.refused("audit", "verify", founded.home, "--key", secret)
    assert "holds a private key" in told
    assert not any(line in told for line in secret.read_text().splitlines())


def test_a_reader_that_goes_away_is_no_failure(served: Installation) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m back_office.cli terms list | true', sys.executable],
        env=served.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )

    assert done.stderr == ""
