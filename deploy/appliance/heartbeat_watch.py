"""Restarts the GPU worker when its process lives but its work does not: the last net below its own watchdog.

django-q2 can lose its worker and go on waiting for it; then the process is there, the heartbeat is not.
Looks at /readyz alone. Knows nothing about why a worker hangs.
"""

from __future__ import annotations

import time
from typing import Any, Final

from deploy.appliance.environment import Environment
from deploy.appliance.http_calls import NoAnswerError, get_json
from deploy.appliance.supervisor import Supervisor

PATIENCE_S: Final = 120.0
"""Silence of a worker that was ready before. The cluster first replaces a lost worker by itself, and the
new one is silent while it loads weights: giving up sooner would end it again and again."""
START_PATIENCE_S: Final = 600.0
"""Silence of a worker that has never been ready since it was started: it loads torch and weights."""
_POLL_S: Final = 5.0


class HeartbeatWatch:
    """Decides from a series of observations; `observe` says True when a restart is due."""

    def __init__(self) -> None:
        self._was_ready = False
        self._silent_since_s: float | None = None

    def observe(self, body: dict[str, Any], now_s: float) -> bool:
        """`body` is what /readyz said at `now_s`. With the database away it says nothing about workers."""
        checks = body.get("checks")
        if not isinstance(checks, dict) or checks.get("database") != "ok":
            self._silent_since_s = None
            return False
        worker = checks.get("gpu_worker")
        state = worker.get("state") if isinstance(worker, dict) else None
        if state != "absent":
            self._was_ready = self._was_ready or state == "ready"
            self._silent_since_s = None
            return False
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        patience_s = PATIENCE_S if self._was_ready else START_PATIENCE_S
        if now_s - self._silent_since_s < patience_s:
            return False
        self._was_ready, self._silent_since_s = False, None
        return True


def watch_heartbeat(environment: Environment, supervisor: Supervisor) -> None:
    """Restarts the child `gpu` when its heartbeat is missing for too long; returns when all stops."""
    watch = HeartbeatWatch()
    while not supervisor.is_stopping:
        time.sleep(_POLL_S)
        try:
            _, body = get_json(f"{environment.local_url}/readyz")
        except NoAnswerError:
            continue
        if watch.observe(body, time.monotonic()):
            supervisor.restart("gpu", "has sent no heartbeat")
