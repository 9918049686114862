"""Checks that this machine can run the appliance, before anything is changed on it.

Standard library only: `python -m deploy.appliance.preflight` runs before the venv exists.
Every fault is one line that says what to do.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.appliance import minimums
from deploy.appliance.environment import REPOSITORY, Environment, SettingError, read_environment
from deploy.appliance.terminal import Terminal

_TCP_LISTEN = "0A"
_OTHER_HOME = "name a folder: DARKROOM_HOME=/some/folder deploy/quickstart"


def main() -> int:
    """Print the outcome; 0 if the machine will do, 1 otherwise."""
    terminal = Terminal()
    terminal.heading("Checking this machine", "nothing has been changed yet")
    try:
        environment = read_environment()
    except SettingError as error:
        terminal.failed(str(error))
        return 1
    faults = list(list_faults(environment))
    for fault in faults:
        terminal.failed(fault)
    if faults:
        return 1
    terminal.done(describe_machine())
    return 0


def list_faults(environment: Environment) -> Iterator[str]:
    """Everything that stands in the way, cheapest check first; nothing if the machine will do."""
    yield from python_faults(sys.version_info[:2])
    yield from processor_faults(platform.machine(), os.cpu_count() or 1)
    yield from memory_faults(total_memory(), available_memory())
    owner = find_owner(environment)
    if owner is not None:
        yield (
            f"Darkroom is already running on {environment.home} (process {owner}); "
            f"stop it with `kill {owner}`, or start a second one with another DARKROOM_HOME and DARKROOM_PORT"
        )
        return
    yield from home_faults(environment.home)
    yield from disk_faults(environment.home)
    yield from port_faults(environment.bind, environment.port)


def python_faults(version: tuple[int, ...]) -> Iterator[str]:
    """Python's version, as (major, minor)."""
    if version < minimums.PYTHON:
        needed, found = (".".join(map(str, parts)) for parts in (minimums.PYTHON, version))
        yield f"Python {needed} is needed, this is {found}; install python{needed} and run this again"


def processor_faults(architecture: str, cores: int) -> Iterator[str]:
    """Architecture and number of cores."""
    if architecture not in minimums.ARCHITECTURES:
        known = " and ".join(minimums.ARCHITECTURES)
        yield f"this processor is {architecture}; torch is published for {known}"
    if cores < minimums.CPU_CORES:
        yield f"{minimums.CPU_CORES} CPU cores are needed, this machine has {cores}"


def memory_faults(total_bytes: int, available_bytes: int) -> Iterator[str]:
    """Total and available memory."""
    if total_bytes < minimums.MEMORY_BYTES:
        yield (
            f"{_gib(minimums.MEMORY_BYTES)} of memory are needed, this machine has {_gib(total_bytes)}; "
            "use a larger machine or raise the container's memory limit"
        )
    elif available_bytes < minimums.FREE_MEMORY_BYTES:
        yield (
            f"{_gib(minimums.FREE_MEMORY_BYTES)} of free memory are needed, {_gib(available_bytes)} are; "
            "stop something large and try again (`ps aux --sort=-rss | head` shows what)"
        )


def home_faults(home: Path) -> Iterator[str]:
    """Whether state can be written where it shall go."""
    existing = nearest_existing(home)
    if home.exists() and not home.is_dir():
        yield f"DARKROOM_HOME={home} is a file; {_OTHER_HOME}"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield f"{existing} cannot be written; {_OTHER_HOME}"


def disk_faults(home: Path) -> Iterator[str]:
    """Free disk for state, and for the packages if they are not installed yet."""
    home_place = nearest_existing(home)
    state = f"choose another disk with DARKROOM_HOME=/some/folder deploy/quickstart (now {home})"
    packages = "move this checkout to another disk"
    if (REPOSITORY / ".venv").exists():
        needs = [(home_place, minimums.HOME_DISK_BYTES, state)]
    elif REPOSITORY.stat().st_dev == home_place.stat().st_dev:
        both = minimums.HOME_DISK_BYTES + minimums.INSTALL_DISK_BYTES
        needs = [(home_place, both, f"{packages}, or {state}")]
    else:
        needs = [
            (home_place, minimums.HOME_DISK_BYTES, state),
            (REPOSITORY, minimums.INSTALL_DISK_BYTES, packages),
        ]
    for place, needed, remedy in needs:
        free = shutil.disk_usage(place).free
        if free < needed:
            yield (
                f"{_gib(needed)} of free disk are needed at {place}, {_gib(free)} are there; "
                f"free some, or {remedy}"
            )


def port_faults(bind: str, port: int) -> Iterator[str]:
    """Whether the web process can listen where it shall."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As gunicorn does; without it a port whose last connections are still closing would look busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except PermissionError:
            yield f"port {port} is for root; pick another: DARKROOM_PORT={port + 8000} deploy/quickstart"
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == 99:  # EADDRNOTAVAIL
                yield f"DARKROOM_BIND={bind} is no address of this machine; 127.0.0.1 and 0.0.0.0 always are"
                return
            holder = find_port_holder(port)
            by = f" by {holder}" if holder else ""
            other = port + 10 if port + 10 <= 65535 else 8010
            yield f"port {port} is in use{by}; pick another: DARKROOM_PORT={other} deploy/quickstart"


def find_port_holder(port: int, proc: Path = Path("/proc")) -> str | None:
    """`name (process id)` of who listens on `port`, as far as this user may see it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _TCP_LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        except OSError:  # another user's, or gone
            continue
    return None


def find_owner(environment: Environment) -> int | None:
    """Process id of the supervisor that runs on this home; None if there is none."""
    try:
        with environment.lock_file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0)
    except OSError:
        pass
    return None


def total_memory() -> int:
    """Bytes of memory: the machine's, or the container's limit if lower."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _read_number(Path("/sys/fs/cgroup/memory.max"))
    return machine if limit is None else min(machine, limit)


def available_memory() -> int:
    """Bytes that can be used without pushing something else out."""
    rows = dict(row.split(":", 1) for row in Path("/proc/meminfo").read_text().splitlines())
    machine = int(rows["MemAvailable"].split()[0]) * 1024
    limit = _read_number(Path("/sys/fs/cgroup/memory.max"))
    used = _read_number(Path("/sys/fs/cgroup/memory.current"))
    return machine if limit is None or used is None else min(machine, limit - used)


def nearest_existing(path: Path) -> Path:
    """`path`, or the closest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def describe_machine() -> str:
    """One line for the reader: Python, cores and memory."""
    return f"Python {platform.python_version()}, {os.cpu_count()} CPU cores, {_gib(total_memory())} of memory"


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no cgroup, or "max"
        return None


def _gib(size: int) -> str:
    return f"{size / minimums.GIB:.1f} GiB"


if __name__ == "__main__":
    raise SystemExit(main())
