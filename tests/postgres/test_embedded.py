"""The embedded PostgreSQL: shared by processes, stopped by the last one, and never lost by a killed one."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from structlog.testing import capture_logs

from clearing.errors import ClearingError
from clearing.postgres.embedded import server as embedded
from clearing.postgres.embedded.watch import LOOK_SECONDS, kept_running
from tests.open_files import STANDARD_STREAMS, open_files_at_most
from tests.waiting import PATIENCE_SECONDS, wait_until

USER_PROCESS = textwrap.dedent("""
    import sys
    from pathlib import Path
    from clearing.postgres.embedded import server as embedded

    server = embedded.start(Path(sys.argv[1]), durable=False)
    print(server.url("postgres"), flush=True)
    sys.stdin.readline()
""")

FORKING_PROCESS = textwrap.dedent("""
    import os
    import sys
    from pathlib import Path
    from clearing.postgres.embedded import server as embedded

    server = embedded.start(Path(sys.argv[1]), durable=False)
    child = os.fork()
    if child == 0:
        sys.exit()
    os.waitpid(child, 0)
    server.create_database("after_the_child_has_left")
""")


@pytest.fixture
def data_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="clearing-embedded-") as folder:
        yield Path(folder) / "made" / "when needed"


def query(url: str, statement: str) -> object:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sqlalchemy.text(statement))
        return result.scalar() if result.returns_rows else None


def server_process_id(data_directory: Path) -> int:
    return int((data_directory / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def server_runs(data_directory: Path) -> bool:
    try:
        os.kill(server_process_id(data_directory), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


class UserProcess:
    """Another process that holds the server until it is told to leave, or killed."""

    def __init__(self, data_directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "always", "-c", USER_PROCESS, str(data_directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_started(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> str:
        """End the process in good order; returns what it wrote to standard error."""
        _, complaints = self.process.communicate("\n", timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0, complaints
        return complaints

    def kill(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == -number


def test_a_new_folder_becomes_a_durable_postgresql_18_without_a_network_address(data_directory: Path) -> None:
    with embedded.start(data_directory) as server:
        url = server.url("postgres")
        settings = ("fsync", "synchronous_commit", "full_page_writes", "listen_addresses", "server_encoding")
        assert [query(url, f"SHOW {name}") for name in settings] == ["on", "on", "on", "", "UTF8"]
        assert str(query(url, "SHOW server_version")).startswith("18.")
        assert query(url, "SHOW data_checksums") == "on"
        assert server_runs(data_directory)
    assert not server_runs(data_directory)


def test_committed_rows_are_there_after_a_restart(data_directory: Path) -> None:
    with embedded.start(data_directory, durable=False) as server:
        query(server.create_database("ledger"), "CREATE TABLE kept AS SELECT 41 AS number")
    with embedded.start(data_directory, durable=False) as server:
        assert query(server.create_database("ledger"), "SELECT number FROM kept") == 41


def test_the_first_process_to_leave_does_not_stop_the_server_of_the_other(data_directory: Path) -> None:
    first, second = UserProcess(data_directory), UserProcess(data_directory)
    assert first.wait_until_started() == second.wait_until_started() != ""
    process_id = server_process_id(data_directory)
    first.leave()
    assert server_process_id(data_directory) == process_id
    assert server_runs(data_directory)
    second.leave()
    assert not server_runs(data_directory)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_the_server_to_the_next_which_stops_it(
    data_directory: Path, number: signal.Signals
) -> None:
    user = UserProcess(data_directory)
    query(user.wait_until_started(), "CREATE TABLE kept AS SELECT 42 AS number")
    process_id = server_process_id(data_directory)
    user.kill(number)
    assert server_runs(data_directory)
    with embedded.start(data_directory, durable=False) as server:
        assert server_process_id(data_directory) == process_id
        assert query(server.url("postgres"), "SELECT number FROM kept") == 42
    assert not server_runs(data_directory)


def test_the_last_live_process_stops_the_server_though_another_was_killed(data_directory: Path) -> None:
    killed, live = UserProcess(data_directory), UserProcess(data_directory)
    assert killed.wait_until_started() == live.wait_until_started()
    killed.kill(signal.SIGKILL)
    live.leave()
    assert not server_runs(data_directory)


def test_committed_rows_survive_a_killed_server(data_directory: Path) -> None:
    with embedded.start(data_directory) as server:
        query(server.url("postgres"), "CREATE TABLE kept AS SELECT 43 AS number")
        os.kill(server_process_id(data_directory), signal.SIGKILL)
        with embedded.start(data_directory) as restarted:
            assert query(restarted.url("postgres"), "SELECT number FROM kept") == 43
    assert not server_runs(data_directory)


def test_a_server_that_is_kept_running_is_there_again_after_it_was_killed(data_directory: Path) -> None:
    with embedded.start(data_directory) as server, capture_logs() as logs, kept_running(server):
        query(server.url("postgres"), "CREATE TABLE kept AS SELECT 44 AS number")
        os.kill(server_process_id(data_directory), signal.SIGKILL)
        wait_until(lambda: logs != [])
        assert query(server.url("postgres"), "SELECT number FROM kept") == 44
        assert logs == [
            {"event": "embedded_database_restarted", "log_level": "warning", "log": str(server.log_path)},
        ]
    assert not server_runs(data_directory)


def test_a_server_that_does_not_start_again_is_told_and_tried_again(data_directory: Path) -> None:
    control = data_directory / "cluster" / "global" / "pg_control"
    with embedded.start(data_directory) as server, capture_logs() as logs:
        os.kill(server_process_id(data_directory), signal.SIGKILL)
        control.rename(control.with_suffix(".hidden"))
        with kept_running(server):
            wait_until(lambda: logs != [])
            assert logs[0]["event"] == "embedded_database_not_restarted"
            assert "does not start: " in logs[0]["error"]
            control.with_suffix(".hidden").rename(control)
            wait_until(lambda: logs[-1]["event"] == "embedded_database_restarted")
        assert query(server.url("postgres"), "SELECT 1") == 1


def test_a_server_is_kept_running_also_after_a_time_without_room_for_open_files(data_directory: Path) -> None:
    with embedded.start(data_directory) as server, capture_logs() as logs, kept_running(server):
        with open_files_at_most(STANDARD_STREAMS):
            wait_until(lambda: [each["event"] for each in logs] == ["embedded_database_not_restarted"])
        assert "Too many open files" in logs[0]["error"]
        os.kill(server_process_id(data_directory), signal.SIGKILL)
        wait_until(lambda: logs[-1]["event"] == "embedded_database_restarted")


def test_of_two_processes_that_keep_a_server_running_one_starts_it(data_directory: Path) -> None:
    with (
        embedded.start(data_directory) as first,
        embedded.start(data_directory) as second,
        capture_logs() as logs,
        kept_running(first),
        kept_running(second),
    ):
        os.kill(server_process_id(data_directory), signal.SIGKILL)
        wait_until(lambda: logs != [] and first.is_listening())
        time.sleep(2 * LOOK_SECONDS)
        assert [line["event"] for line in logs] == ["embedded_database_restarted"]
        assert query(second.url("postgres"), "SELECT 1") == 1


def test_a_forked_process_does_not_stop_the_server_of_its_parent(data_directory: Path) -> None:
    command = [sys.executable, "-c", FORKING_PROCESS, str(data_directory)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert not server_runs(data_directory)


def test_starting_and_stopping_writes_nothing_to_the_terminal(data_directory: Path) -> None:
    user = UserProcess(data_directory)
    user.wait_until_started()
    assert user.leave() == ""


def test_a_server_in_use_is_not_restarted_with_other_settings(data_directory: Path) -> None:
    with embedded.start(data_directory, durable=False):
        with pytest.raises(embedded.EmbeddedPostgresError, match="in use by another process with other set"):
            embedded.start(data_directory, durable=True)
        assert server_runs(data_directory)


def test_a_left_over_server_is_restarted_with_the_settings_asked_for(data_directory: Path) -> None:
    user = UserProcess(data_directory)
    assert query(user.wait_until_started(), "SHOW fsync") == "off"
    user.kill(signal.SIGKILL)
    with embedded.start(data_directory, durable=True) as server:
        assert query(server.url("postgres"), "SHOW fsync") == "on"


def test_a_folder_name_too_long_or_odd_for_a_socket_still_works(data_directory: Path) -> None:
    odd = data_directory / ("long" * 20) / """quote'"$(comma), ü"""
    with embedded.start(odd, durable=False) as server:
        assert query(server.url("postgres"), "SELECT 1") == 1
    assert not server_runs(odd)


def test_a_data_folder_that_is_a_file_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClearingError, match=r"cannot be used: .*Choose a folder"):
        embedded.start(tmp_path / "file")
    with pytest.raises(embedded.EmbeddedPostgresError, match="cannot be used: Not a directory"):
        embedded.start(tmp_path / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(embedded.EmbeddedPostgresError, match="Permission denied"):
        embedded.start(tmp_path / "data")


def test_a_data_folder_of_another_postgresql_version_is_a_named_error(data_directory: Path) -> None:
    embedded.start(data_directory, durable=False).stop()
    (data_directory / "cluster" / "PG_VERSION").write_text("16\n")
    with pytest.raises(embedded.EmbeddedPostgresError, match="was written by PostgreSQL 16"):
        embedded.start(data_directory, durable=False)


def test_a_damaged_cluster_is_reported_in_the_words_of_the_server(data_directory: Path) -> None:
    embedded.start(data_directory, durable=False).stop()
    (data_directory / "cluster" / "global" / "pg_control").unlink()
    with pytest.raises(embedded.EmbeddedPostgresError, match=r"does not start: .*server\.log"):
        embedded.start(data_directory, durable=False)


def test_an_interrupted_creation_leaves_nothing_in_the_way(data_directory: Path) -> None:
    half_made = data_directory / "initialising-killed"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with embedded.start(data_directory, durable=False) as server:
        assert query(server.url("postgres"), "SELECT 1") == 1
    assert not half_made.exists()


def test_creating_a_database_twice_keeps_what_is_in_it(postgres: embedded.EmbeddedPostgres) -> None:
    url = postgres.create_database('odd "name"')
    query(url, "CREATE TABLE kept AS SELECT 1 AS number")
    assert postgres.create_database('odd "name"') == url
    assert query(url, "SELECT number FROM kept") == 1
    postgres.drop_database('odd "name"')
    postgres.drop_database('odd "name"')


def test_each_test_gets_an_empty_database(database_url: str) -> None:
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert query(database_url, tables) == 0
    query(database_url, "CREATE TABLE own AS SELECT 1 AS number")


def test_a_stopped_server_is_stopped_again_without_harm(data_directory: Path) -> None:
    server = embedded.start(data_directory, durable=False)
    server.stop()
    server.stop()
    with pytest.raises(embedded.EmbeddedPostgresError, match="No such file or directory"):
        server.create_database("late")
