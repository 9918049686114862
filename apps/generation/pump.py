"""The resident pump: the one django-q2 task of a GPU queue, and the only importer of the engine here.

A run lasts one slice and then returns, so that q2 sees a task that ends; what it works with stays
in this module's `_resident` until the next run, weights and running requests included.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.core.clock import now
from apps.core.listen import Listener, ListenerLost
from apps.generation import lifecycle, workers
from apps.generation.channels import GPU
from apps.generation.drain import is_draining
from apps.generation.faults import Failure, failure_of
from apps.generation.heartbeat import Heartbeat
from apps.generation.models import GpuWorker
from apps.generation.pump_session import PumpSession
from apps.generation.watchdog import EXIT_DEVICE_LOST, EXIT_RESTARTED, Watchdog
from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import DeviceLost
from gpu_runtime.messages import EngineProtocol

log = logging.getLogger(__name__)

RECONNECT_S = 0.5
DATABASE_GONE = (ListenerLost, OperationalError, InterfaceError)


def engine_config(device: str) -> EngineConfig:
    """The operator's settings as the runtime takes them."""
    return EngineConfig(
        runtime=settings.RUNTIME,
        device=device,
        max_rows=settings.MAX_ROWS,
        cpu_threads=settings.CPU_THREADS,
        fake_step_ms=settings.FAKE_STEP_MS,
        weights_budget_mb=settings.WEIGHTS_BUDGET_MB,
        staging_budget_mb=settings.STAGING_BUDGET_MB,
        lora_budget_mb=settings.LORA_BUDGET_MB,
        keep_alive_s=settings.KEEP_ALIVE_S,
        compile=settings.COMPILE,
        compile_cache=str(settings.HOME_DIR / "compiled"),
        learned=str(settings.HOME_DIR / "learned"),
        cuda_graphs=settings.CUDA_GRAPHS,
        fp8=settings.FP8,
        exact_rows=settings.EXACT_ROWS,
    )


class Pump:
    """One device's worker for the life of its process: keeps the engine, renews a lost session."""

    def __init__(self, *, device: str) -> None:
        self.device = device
        self.name = workers.worker_name(device)
        self.watchdog = Watchdog(minimum_s=settings.WATCHDOG_MIN_S, farewell=self._give_jobs_back)
        self.engine: EngineProtocol | None = None
        self.session: PumpSession | None = None
        self.failed = False
        self.is_cut_off = False
        """Whether the database was away when last tried."""

    def run_slice(self, *, seconds: float) -> bool:
        """Work until the slice ends or the cluster drains. False when another process holds the slot."""
        slice_end = time.monotonic() + seconds
        if self.session is not None:
            self.session.heartbeat.wake()
        # A slice that ended while draining would leave its jobs to be found as crashed; one that ended while
        # the database is away would leave them until somebody else finds them.
        while time.monotonic() < slice_end or is_draining() or self.is_cut_off:
            try:
                self.session = self.session or self._take_slot()
                self.is_cut_off = False
                if self.session is None:
                    return False
                if self.session.is_leaving and self.session.is_drained():
                    self.session.close()
                    self.session = None
                    if not is_draining():
                        log.info("%s: restarts at its operator's wish", self.name)
                        self.watchdog.leave(EXIT_RESTARTED)
                    return True
                self.session.turn()
            except DATABASE_GONE as error:
                log.warning("%s: lost the database (%s)", self.name, str(error).strip())
                self.is_cut_off = True
                self._end_session()
                time.sleep(RECONNECT_S)
            except DeviceLost as lost:
                log.exception("%s: the device is lost; this process ends and is replaced", self.name)
                self.watchdog.leave(EXIT_DEVICE_LOST, cause=failure_of(lost))
            except Exception:
                # Loop edge: a fault in here must neither end the worker nor keep its jobs alive for ever.
                log.exception("%s: the pump failed; its jobs count as crashed", self.name)
                self.failed = True
                self.is_cut_off = False
                self.engine = None
                self._end_session()
                time.sleep(RECONNECT_S)
        if self.session is not None:
            self.session.heartbeat.rest()
        return True

    def _take_slot(self) -> PumpSession | None:
        """Lock the slot, recover what its previous holder left, build the engine; None when it is taken."""
        with ExitStack() as undo:
            listener = Listener([GPU])
            undo.callback(listener.close)
            listener.connect()
            if not listener.try_lock(workers.lock_name(self.name)):
                return None
            worker = self._recover()
            heartbeat = Heartbeat(worker_id=worker.pk, name=worker.name)
            undo.callback(heartbeat.stop)
            heartbeat.start()
            self.engine = self.engine or self._build_engine()
            heartbeat.publish(state="ready", info=self.engine.info())
            self.watchdog.start()
            # From here on the session undoes it; without one, a lock would be left that nobody gives back.
            undo.pop_all()
        return self._open_session(worker, self.engine, listener, heartbeat)

    def _recover(self) -> GpuWorker:
        """Take back what the slot's last holder was running: crashes, unless it was this process itself."""
        was_here = workers.is_held_by_this_process(self.name) and not self.failed
        worker = workers.register_worker(name=self.name, now=now())
        recover = lifecycle.reap_released if was_here else lifecycle.reap_crashed
        recovered = recover(worker=self.name, actor=worker.ref, now=now())
        self.failed = False
        if recovered:
            log.warning("%s: took back %d jobs", self.name, recovered)
        return worker

    def _open_session(
        self, worker: GpuWorker, engine: EngineProtocol, listener: Listener, heartbeat: Heartbeat
    ) -> PumpSession:
        return PumpSession(
            actor=worker.ref, engine=engine, listener=listener, heartbeat=heartbeat, watchdog=self.watchdog
        )

    def _build_engine(self) -> EngineProtocol:
        # Not at the top of the file: this is where torch enters the process, after the fork.
        from gpu_runtime.factory import build_engine

        engine = build_engine(engine_config(self.device))
        log.info("%s: %s", self.name, engine.info().reason)
        return engine

    def _give_jobs_back(self, cause: Failure) -> None:
        """The watchdog's farewell."""
        if self.session is not None:
            self.session.give_back(cause)

    def _end_session(self) -> None:
        if self.session is not None:
            self.session.abandon(is_engine_sound=self.engine is not None)
            self.session = None
        connection.close()


# The pump of this worker process; a slice ends, this stays. One device a process.
_resident: Pump | None = None


def run_pump(*, device: str) -> bool:
    """One slice of this process's pump, made at the first call. False when another process holds the slot."""
    global _resident
    if _resident is None:
        _resident = Pump(device=device)
    return _resident.run_slice(seconds=settings.PUMP_SLICE_S)
