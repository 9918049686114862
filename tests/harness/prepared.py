"""One database cluster with every table in it, made once a run and copied for each appliance of a test.

Making one and migrating it takes a processor six seconds, copying it a fifth of one.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.appliance.postgres import PrivateCluster

SECRETS: Final = ("postgres_password", "postgres_admin_password")

folder: Path | None = None
"""Where the processes of a test run share it, set by tests/conftest.py; None: each makes its own."""


def start_with_tables(cluster: PrivateCluster, migrate: Callable[[], None]) -> None:
    """Starts `cluster`, whose folders exist not yet, with all tables; `migrate` makes them once it runs."""
    if folder is None:
        cluster.start()
        migrate()
        return
    with (folder / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "prepared").exists():
            cluster.start()
            migrate()
            cluster.stop()
            _keep(cluster, folder / "prepared")
            cluster.start()
            return
    _restore(cluster, folder / "prepared")
    cluster.start()


def _keep(cluster: PrivateCluster, prepared: Path) -> None:
    """Whole or not at all: somebody who is interrupted leaves nothing that looks like one."""
    draft = prepared.with_name("prepared.draft")
    shutil.rmtree(draft, ignore_errors=True)
    _copy(cluster.data_dir, draft / "data")
    for name in SECRETS:
        _copy(cluster.home / "secrets" / name, draft / "secrets" / name)
    draft.rename(prepared)


def _restore(cluster: PrivateCluster, prepared: Path) -> None:
    for name in SECRETS:
        _copy(prepared / "secrets" / name, cluster.home / "secrets" / name)
    cluster.make_folders()
    _copy(prepared / "data", cluster.data_dir)


def _copy(source: Path, target: Path) -> None:
    """With owner and modes: as root, PostgreSQL's files belong to another account."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(target)], check=True)
