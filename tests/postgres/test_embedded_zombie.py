"""A killed server that stays listed as nobody takes leave of it: as where a gateway is the first of a container."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt what others leave")

ADOPTING = textwrap.dedent("""
    import ctypes
    import os
    import signal
    import sys
    import time
    from pathlib import Path

    import psutil
    import psycopg2

    from clearing.postgres.embedded import cluster as postgres_cluster
    from clearing.postgres.embedded import server as embedded

    PR_SET_CHILD_SUBREAPER = 36
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    folder = Path(sys.argv[1])

    def connect():
        return psycopg2.connect(host=str(folder / "cluster"), user="postgres", dbname="postgres")

    def kill_first_process():
        process = psutil.Process(int((folder / "cluster" / "postmaster.pid").read_text().split()[0]))
        assert process.ppid() == os.getpid()
        process.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)

    def rows():
        session = connect()
        with session.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM kept")
            return cursor.fetchone()[0]

    server = embedded.start(folder)
    session = connect()
    with session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1")
""")

STARTED_AGAIN = ADOPTING + textwrap.dedent("""
    for _ in range(2):
        kill_first_process()
        assert server.start_again()
        assert rows() == 1
    server.stop()
    assert not (folder / "cluster" / "postmaster.pid").exists()
""")

STILL_IN_USE = ADOPTING + textwrap.dedent("""
    frozen = psutil.Process(session.info.backend_pid)
    frozen.suspend()
    kill_first_process()
    postgres_cluster.GIVE_WAY_SECONDS = 0
    try:
        server.start_again()
    except embedded.EmbeddedPostgresError as error:
        assert "is still in use" in str(error), error
    else:
        raise AssertionError("a second server beside a process of the first")
    frozen.resume()
    while frozen.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert server.start_again()
    assert rows() == 1
    server.stop()
""")


@pytest.mark.parametrize(
    "program",
    [pytest.param(STARTED_AGAIN, id="is_started_again"), pytest.param(STILL_IN_USE, id="not_beside_a_live_process")],
)
def test_a_killed_server_that_stays_listed(program: str) -> None:
    with tempfile.TemporaryDirectory(prefix="clearing-embedded-") as folder:
        finished = subprocess.run(
            [sys.executable, "-c", program, str(Path(folder) / "data")],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert (finished.returncode, finished.stderr) == (0, "")
