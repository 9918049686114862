"""Lets a request wait for its job without holding a database connection.

One thread a process LISTENs and wakes the waiters; a waiter re-reads the row, because the message
is only a hint. Waiters are capped below the number of web threads, so that other pages always
find one; above the cap the caller answers "processing" at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings
from django.db import connection

from apps.core.listen import Listener, ListenerLost
from apps.generation.channels import JOB
from apps.generation.models import GenerationJob

log = logging.getLogger(__name__)

# A waiter looks at its row at least this often, in case a message was lost with its connection.
RECHECK_S = 5.0
LISTEN_TIMEOUT_S = 30.0
RECONNECT_S = 0.5


class JobWatcher:
    """The listening thread of this process and the events of those it wakes, for the rows of one channel."""

    def __init__(self, *, max_waiters: int, channel: str = JOB) -> None:
        self._channel = channel
        self._slots = threading.BoundedSemaphore(max_waiters)
        self._lock = threading.Lock()
        self._events: dict[int, set[threading.Event]] = defaultdict(set)
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, job_id: int) -> Iterator[threading.Event | None]:
        """An event that is set whenever the job's row may have changed; None when no slot is free."""
        if not self._slots.acquire(blocking=False):
            yield None
            return
        event = threading.Event()
        try:
            with self._lock:
                self._events[job_id].add(event)
                self._ensure_thread()
            yield event
        finally:
            with self._lock:
                self._events[job_id].discard(event)
                if not self._events[job_id]:
                    del self._events[job_id]
            self._slots.release()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._listen_forever, name="job-watcher", daemon=True)
            self._thread.start()

    def _listen_forever(self) -> None:
        while True:
            try:
                with Listener([self._channel]) as listener:
                    # Whatever was said before the connection stood is lost: let everybody look.
                    self._wake_all()
                    while True:
                        for payload in listener.wait(LISTEN_TIMEOUT_S):
                            self._wake(payload)
            except ListenerLost as error:
                log.warning("lost the database while listening: %s; trying again", error)
                time.sleep(RECONNECT_S)

    def _wake(self, payload: str) -> None:
        if payload.isdigit():
            with self._lock:
                for event in self._events.get(int(payload), ()):
                    event.set()

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._events.values():
                for event in events:
                    event.set()


@cache
def job_watcher() -> JobWatcher:
    """The one watcher of this process."""
    return JobWatcher(max_waiters=settings.MAX_WAITERS)


def wait_for_job(job: GenerationJob, *, timeout_s: float) -> GenerationJob:
    """The job's row as it is once terminal, or as it stands after `timeout_s` or without a free slot.

    Releases this thread's database connection while waiting: a thousand waiters share a small pool.
    """
    if job.is_terminal or timeout_s <= 0:
        return job
    deadline = time.monotonic() + timeout_s
    with job_watcher().watch(job.pk) as event:
        if event is None:
            return job
        while True:
            # Cleared before the read: a change after the read sets it again.
            event.clear()
            job.refresh_from_db()
            connection.close()
            left_s = deadline - time.monotonic()
            if job.is_terminal or left_s <= 0:
                return job
            event.wait(min(left_s, RECHECK_S))


def follow_job(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
    """The job's row at once and after every change until it is terminal or `timeout_s` has passed."""
    deadline = time.monotonic() + timeout_s
    with job_watcher().watch(job.pk) as event:
        while True:
            if event is not None:
                event.clear()
            job.refresh_from_db()
            connection.close()
            yield job
            # Whoever follows may have looked at more of it.
            connection.close()
            left_s = deadline - time.monotonic()
            if event is None or job.is_terminal or left_s <= 0:
                return
            event.wait(min(left_s, RECHECK_S))
