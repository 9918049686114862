"""The worker's signs of life, from a thread of its own: a long denoising step must not cost it its leases."""

from __future__ import annotations

import logging
import threading

from django.conf import settings
from django.db import Error, connection

from apps.core.clock import now
from apps.core.flushing import flush_now
from apps.generation.device_figures import note_device
from apps.generation.lifecycle import Lease, renew_leases
from apps.generation.workers import beat
from gpu_runtime.messages import EngineInfo

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews the leases it holds and the worker's row every HEARTBEAT_S. Thread-safe."""

    def __init__(self, *, worker_id: int, name: str = "") -> None:
        self._worker_id = worker_id
        self._name = name
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._lost: set[int] = set()
        self._canceled: set[int] = set()
        self._state = "starting"
        self._info: EngineInfo | None = None
        self._step_ms = 0.0
        self._tflop_per_s = 0.0
        self._is_resting = False
        self._stop = threading.Event()
        self._soon = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; leases stay as they are."""
        self._stop.set()
        self._soon.set()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._leases.add(lease)

    def remove(self, lease: Lease) -> None:
        with self._lock:
            self._leases.discard(lease)
            self._lost.discard(lease.job_id)
            self._canceled.discard(lease.job_id)

    def publish(self, *, state: str, info: EngineInfo) -> None:
        """Say what the worker is now; written with the next beat, which comes at once."""
        with self._lock:
            self._state = state
            self._info = info
        self._soon.set()

    def describe(self, *, info: EngineInfo) -> None:
        """Say what the engine holds now; written with the next beat."""
        with self._lock:
            self._info = info

    def measure(self, *, step_ms: float, tflop_per_s: float) -> None:
        """Say how long one row-step takes and how much is computed a second; written with the next beat."""
        self._step_ms = step_ms
        self._tflop_per_s = tflop_per_s

    def rest(self) -> None:
        """Between two slices: keep the leases, but give no sign of life; the next slice may never come."""
        self._is_resting = True

    def wake(self) -> None:
        """A slice runs: give signs of life again."""
        self._is_resting = False

    def take_findings(self) -> tuple[frozenset[int], frozenset[int]]:
        """Jobs whose lease was found lost, and jobs whose owner wants them stopped, since the last call."""
        with self._lock:
            found = frozenset(self._lost), frozenset(self._canceled)
            self._lost.clear()
            self._canceled.clear()
        return found

    def _run(self) -> None:
        """Thread edge: a database that is away is tried again; the leases run out if it stays away."""
        while True:
            # Asked before the beat: what was published before stopping is then part of the last one.
            is_last = self._stop.is_set()
            try:
                self.beat_once()
            except Error as error:
                log.warning("heartbeat could not be written: %s", str(error).strip())
                connection.close()
            self._hand_over()
            if is_last:
                connection.close()
                return
            self._soon.wait(settings.HEARTBEAT_S)
            self._soon.clear()

    def _hand_over(self) -> None:
        """What this process has counted, and how its device is."""
        with self._lock:
            info = self._info
        if info is not None:
            note_device(self._name, info.device)
        flush_now("gpu")

    def beat_once(self) -> None:
        """Renew and report, once."""
        with self._lock:
            leases = list(self._leases)
            state, info = self._state, self._info
        moment = now()
        renewal = renew_leases(leases=leases, now=moment)
        if not self._is_resting:
            beat(
                worker_id=self._worker_id,
                state=state,
                info=info,
                step_ms=self._step_ms,
                tflop_per_s=self._tflop_per_s,
                now=moment,
            )
        with self._lock:
            held = {lease.job_id for lease in leases if lease in self._leases}
            self._lost |= held - renewal.kept
            self._canceled |= renewal.canceled
