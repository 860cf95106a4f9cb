"""What processes use of the machine, and which machine it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any, Final

import psutil
import sqlalchemy

MIB: Final = 1024 * 1024


def cpu_seconds(process_id: int) -> float:
    """User and system time of a process so far; 0 once it is gone."""
    try:
        times = psutil.Process(process_id).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def cpu_seconds_with_children(process_id: int) -> float:
    """The same of a process and of those that it has started and that are still there."""
    try:
        children = psutil.Process(process_id).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0.0
    return cpu_seconds(process_id) + sum(cpu_seconds(child.pid) for child in children)


def postgres_main_process(engine: sqlalchemy.Engine) -> psutil.Process:
    """The server's first process, whose children do the work."""
    with engine.connect() as connection:
        backend: int = connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar_one()
    server = psutil.Process(backend).parent()
    assert server is not None, "an embedded server's backends are children of its first process"
    return server


def postgres_cpu_seconds(server: psutil.Process) -> float:
    """User and system time of all of PostgreSQL so far, of processes that have ended too."""
    times = server.cpu_times()
    # Where the system counts them, ended children are in the parent's own figures (POSIX times(), tms_cutime).
    ended = float(getattr(times, "children_user", 0.0)) + float(getattr(times, "children_system", 0.0))
    return cpu_seconds(server.pid) + ended + sum(cpu_seconds(child.pid) for child in server.children())


def describe_machine(engine: sqlalchemy.Engine, directory: Path) -> dict[str, Any]:
    """The machine, and the software that decides how fast it is."""
    with engine.connect() as connection:
        version = str(connection.execute(sqlalchemy.text("SHOW server_version")).scalar_one())
        fsync = str(connection.execute(sqlalchemy.text("SHOW fsync")).scalar_one())
    return {
        "cpu": _cpu_model(),
        "cores": len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count(),
        "memory_mib": psutil.virtual_memory().total // MIB,
        "kernel": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(directory),
        "python": platform.python_version(),
        "postgresql": version,
        "fsync": fsync,
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _file_system(directory: Path) -> str:
    """The type of the file system that holds the folder: what fsync costs depends on it."""
    path = directory.resolve()
    mounted = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounted[folder] for folder in (path, *path.parents) if folder in mounted), "unknown")
