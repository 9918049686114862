"""A django-q2 cluster that hosts one device's pump and stays alive through the death of its parts.

q2 alone is not enough (measured on 1.11.1): a killed worker's task is redelivered only after
`retry` seconds, a worker killed while idle takes the queue's lock with it for ever, and killing the
main process leaves the others running. So the main process watches, rings the doorbell when no
pump runs, and replaces the whole cluster when ringing does not help.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import logging
import os
import signal
import tempfile
import time
from contextlib import suppress
from multiprocessing import Event, Process
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO, cast

import psutil
from django.conf import settings
from django.db import Error, connection
from django_q import pusher as pusher_module
from django_q.cluster import Cluster, Sentinel, get_mp_context
from django_q.conf import Conf

from apps.core.clock import now
from apps.generation import doorbell, drain, workers
from apps.generation.models import GpuWorker

log = logging.getLogger(__name__)

WATCH_INTERVAL_S = 0.25
START_INTERVAL_S = 0.02
# From ringing to the first sign of a pump; longer than a fork and q2's polling, far shorter than a lease.
RING_PATIENCE_S = 6.0
# Beyond the pump's own grace, for the last files and rows.
STOP_MARGIN_S = 5.0
PUSHER_RETRY_S = 0.5
PR_SET_PDEATHSIG = 1


class DeviceTaken(Exception):
    """Another gpu_cluster on this machine serves the device."""


def take_device_lock(device: str) -> IO[str]:
    """Hold the returned file for the life of the process. Raises DeviceTaken.

    The database's own lock protects the rows; this one answers before anything is started, and is per
    installation, so that two appliances may share a device if their operator wants it.
    """
    mark = hashlib.sha256(f"{settings.HOME_DIR}:{device}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"darkroom-gpu-{os.getuid()}-{mark}.lock"
    handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise DeviceTaken(device) from None
    return handle


def follow_parent() -> None:
    """In a forked child: be killed when the parent dies, and leave stopping to it. Linux only, as we are.

    A service manager signals the whole group: were the children to end at once, running jobs would be
    lost that the main process is about to drain.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class GpuSentinel(Sentinel):  # type: ignore[misc]  # django-q2 has no type information
    """q2's sentinel, which would otherwise end at a SIGTERM that is meant for the main process."""

    def start(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        super().start()

    def spawn_pusher(self) -> Process:
        return cast(Process, self.spawn_process(prompt_pusher, self.task_queue, self.event_out, self.broker))


def prompt_pusher(*arguments: object) -> None:
    """q2's pusher, which sleeps ten seconds when the database is away: a whole lease without a new slice."""
    pusher_module.sleep = lambda _: time.sleep(PUSHER_RETRY_S)
    keep_connection()
    pusher_module.pusher(*arguments)


def keep_connection() -> None:
    """This process's next connection stays open, and is replaced once it turns out to be dead.

    q2 asks for a new one at every look into its queue. Twenty a second, each with its own backend and a
    password to check, took a sixth of a core from an appliance that had nothing to do.
    """
    connection.settings_dict |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}


class GpuCluster(Cluster):  # type: ignore[misc]  # django-q2 has no type information
    """q2's cluster for one device, with a watch of its own in the main process."""

    def __init__(self, *, device: str) -> None:
        super().__init__()
        self.device = device
        self.queue = doorbell.queue_name(device)
        # q2 reads its queue's name from here in every process it forks.
        Conf.CLUSTER_NAME = self.queue
        self.stop_requested = False
        self.rung_at = 0.0

    def start(self) -> int:
        """Fork the sentinel and wait until it has its processes. Raises RuntimeError when it dies first."""
        self.stop_event = Event()
        self.start_event = Event()
        self.sentinel = get_mp_context().Process(
            target=GpuSentinel, args=(self.stop_event, self.start_event, self.cluster_id), name=self.queue
        )
        self.sentinel.start()
        while not self.start_event.is_set():
            if not self.sentinel.is_alive():
                raise RuntimeError(f"the sentinel of {self.queue} ended with {self.sentinel.exitcode}")
            time.sleep(START_INTERVAL_S)
        return int(self.pid)

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM and SIGINT: let the pump finish or hand back first; `watch` then stops the cluster."""
        self.stop_requested = True
        drain.request_drain()

    def watch(self) -> bool:
        """Until told to stop: keep a pump running. False when the cluster must be replaced."""
        while not self.stop_requested:
            if not self.sentinel.is_alive():
                return False
            try:
                if not self._keep_pump():
                    return False
            except Error as error:
                log.warning("the database is away: %s", str(error).strip())
                connection.close()
            time.sleep(WATCH_INTERVAL_S)
        return True

    def _keep_pump(self) -> bool:
        """Ring when no pump runs; False when it was rung and nobody came."""
        if self._has_pump():
            self.rung_at = 0.0
            return True
        if not self.rung_at:
            self.rung_at = time.monotonic()
            doorbell.silence(self.device)
            doorbell.ring(self.device)
            return True
        return time.monotonic() - self.rung_at < RING_PATIENCE_S

    def _has_pump(self) -> bool:
        """Whether the slot's row belongs to a living process of this cluster that runs slice after slice."""
        worker = GpuWorker.objects.filter(name=workers.worker_name(self.device)).first()
        if worker is None or worker.state == "stopped" or worker.pid not in self._descendants():
            return False
        # A living process whose slice has ended gives no signs of life and takes no jobs. The bell's row
        # alone does not tell: q2 keeps it for long when the database was away as the slice ended.
        is_alive = worker.is_fresh(now=now(), lease_s=settings.LEASE_S)
        return is_alive and doorbell.has_rung(self.device)

    def _descendants(self) -> set[int]:
        return {child.pid for child in psutil.Process().children(recursive=True) if _is_alive(child)}

    def stop_gracefully(self) -> None:
        """Wait for the pump to drain, then stop q2; kill what does not stop in time."""
        deadline = time.monotonic() + settings.DRAIN_GRACE_S + STOP_MARGIN_S
        # From a thread, because setting an event waits for whoever listens, and may find it dead.
        Thread(target=self.stop_event.set, daemon=True).start()
        while self.sentinel.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill_everything()

    def kill_everything(self) -> None:
        """Kill every process this one started; what they held, a later reap recovers."""
        children = psutil.Process().children(recursive=True)
        for child in children:
            # It may be gone already, with its parent.
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=5)
        self.sentinel.join(timeout=5)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def run_cluster(*, device: str) -> None:
    """Serve one device until SIGTERM or SIGINT. Raises DeviceTaken."""
    lock = take_device_lock(device)
    # Everything forked from here on dies with its parent: no orphan goes on generating.
    os.register_at_fork(after_in_child=follow_parent)
    with lock:
        while True:
            connection.close()
            # What an earlier process left in this device's queue is a doorbell that nobody hears any more.
            doorbell.silence(device)
            connection.close()
            cluster = GpuCluster(device=device)
            cluster.start()
            if cluster.watch():
                cluster.stop_gracefully()
                return
            log.error("the GPU cluster of %s is stuck or dead; replacing it", device)
            cluster.kill_everything()
