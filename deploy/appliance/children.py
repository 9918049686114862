"""Which processes the appliance consists of, and how each is started and stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.appliance.environment import REPOSITORY, Environment
from deploy.appliance.postgres import PrivateCluster, clean_environment
from deploy.appliance.supervisor import ChildSpec

GPU_GRACE_S: Final = 15.0
"""Longer than DARKROOM_DRAIN_GRACE_S, after which the worker has handed its jobs back."""
IMPORTS_GRACE_S: Final = 3.0
"""An import goes on where it stopped, so nobody waits for a long one to end."""
WEB_GRACE_S: Final = 12.0
"""Longer than gunicorn's graceful_timeout."""
_WEB_POOL_SIZE: Final = "40"


def postgres_child(cluster: PrivateCluster) -> ChildSpec:
    """The private database; stops last, since all others write to it until they end."""
    return ChildSpec(
        name="pg",
        argv=cluster.command(),
        env=clean_environment(),
        cwd=cluster.data_dir.parent,
        stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for every client to leave
        stop_rank=1,
        before_start=cluster.clear_leftovers,
        is_bound=True,
    )


def application_children(environment: Environment, variables: Mapping[str, str]) -> list[ChildSpec]:
    """One GPU worker, web, housekeeping and imports, in the order of what the first image waits for."""
    python = sys.executable
    manage = str(REPOSITORY / "manage.py")
    gunicorn = [python, "-m", "gunicorn", "-c", str(REPOSITORY / "deploy" / "gunicorn.conf.py")]
    # Waiting requests hold no connection, so a small pool serves a thousand threads. The others fork, which a
    # pool does not survive.
    web = {"DARKROOM_DATABASE_POOL_SIZE": _WEB_POOL_SIZE} | dict(variables)
    unpooled = dict(variables) | {"DARKROOM_DATABASE_POOL_SIZE": "0"}
    # A queue of its own in Q_CLUSTER: a download of hours must not hold up webhooks or the reaper.
    imports = {"Q_CLUSTER_NAME": "imports"}
    worker = [python, manage, "gpu_cluster", "--device", environment.device]
    return [
        _child("gpu", worker, unpooled, GPU_GRACE_S),
        _child("web", [*gunicorn, "apps.config.wsgi:application"], web, WEB_GRACE_S),
        _child("house", [python, manage, "qcluster"], unpooled, WEB_GRACE_S),
        _child("imports", [python, manage, "qcluster"], unpooled | imports, IMPORTS_GRACE_S),
    ]


def _child(name: str, argv: list[str], env: Mapping[str, str], stop_grace_s: float) -> ChildSpec:
    return ChildSpec(name=name, argv=argv, env=env, cwd=Path(REPOSITORY), stop_grace_s=stop_grace_s)
