"""Runs slow work on a thread of its own while this one keeps the lease and writes the progress.

The database belongs to this thread alone; the work never touches it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.catalog.imports.failures import Stopped
from apps.catalog.imports.lifecycle import Lease, LeaseLost, Snapshot, beat
from apps.catalog.imports.progress import Progress
from apps.core.clock import now

log = logging.getLogger(__name__)

Result = TypeVar("Result")

BEAT_S: Final = 0.25
# Work that does not notice the flag in this time is left behind; it ends by itself later.
STOP_PATIENCE_S: Final = 0.6


class _Task(Generic[Result]):
    """One piece of work and what became of it."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._result: Result | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="import-work", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Thread edge: the problem is raised where the result is asked for."""
        try:
            self._result = self._work()
        except BaseException as problem:  # noqa: BLE001
            self._problem = problem

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> Result:
        if self._problem is not None:
            raise self._problem
        return self._result  # type: ignore[return-value]  # set by every run that raised nothing


class Keeper:
    """Holds one lease while work goes on aside."""

    def __init__(self, lease: Lease, progress: Progress, *, on_beat: Callable[[Snapshot], None]) -> None:
        self._lease = lease
        self._progress = progress
        self._on_beat = on_beat
        self._told: Snapshot | None = None
        self._kept_at = time.monotonic()
        self.interrupt: Callable[[], None] = lambda: None
        """Called when work has to stop at once: tears down connections that nobody else would wake."""
        self.is_canceled = False
        self.is_lost = False

    def aside(self, work: Callable[[], Result]) -> Result:
        """The work's result. Raises what it raises, and Stopped when canceled or out of lease."""
        self._beat()
        self._progress.check()
        task = _Task(work)
        while not task.wait(BEAT_S):
            self._beat()
            if self._progress.stop.is_set():
                self.interrupt()
                task.wait(STOP_PATIENCE_S)
                raise Stopped
        return task.result()

    def _beat(self) -> None:
        snapshot = self._progress.snapshot()
        self._on_beat(snapshot)
        try:
            is_canceled = beat(
                lease=self._lease, snapshot=snapshot, now=now(), is_news=snapshot != self._told
            )
        except LeaseLost:
            self.is_lost = True
        except (OperationalError, InterfaceError) as error:
            log.warning("import %d: no heartbeat: %s", self._lease.import_id, str(error).strip())
            connection.close()
            # Somebody else may hold the lease by now: two must not write to one folder.
            self.is_lost = time.monotonic() - self._kept_at > settings.LEASE_S
        else:
            self._told, self._kept_at = snapshot, time.monotonic()
            self.is_canceled = self.is_canceled or is_canceled
        if self.is_lost or self.is_canceled:
            self._progress.stop.set()
