"""Who hands over what a process has counted: a thread in web processes, loops that run anyway elsewhere."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from typing import Final

import psutil
from django.db import Error, connection

from apps.core.counters import flush, gauge, tally

log = logging.getLogger(__name__)

FLUSH_S: Final = 5.0

MEMORY: Final = gauge(
    "darkroom_process_resident_memory_bytes", "Memory that a process holds.", "role", "process"
)
STARTED: Final = gauge(
    "darkroom_process_start_time_seconds", "When a process began, in seconds since 1970.", "role", "process"
)
PROCESS_SERIES: Final = (MEMORY, STARTED)


def process_name() -> str:
    """This process among all that share the database."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}"


def flush_now(role: str) -> None:
    """Hand over, with what this process takes of the machine. Edge: what cannot be written now is kept."""
    name, process = process_name(), psutil.Process()
    tally.note(MEMORY, float(process.memory_info().rss), role, name)
    tally.note(STARTED, process.create_time(), role, name)
    try:
        flush(name)
    except Error as error:
        log.warning("counts could not be written, they are kept: %s", str(error).strip())
        connection.close()


class Flusher:
    """A thread that hands over every FLUSH_S for as long as its process lives, and once more at its end."""

    def __init__(self, role: str, *, every_s: float = FLUSH_S) -> None:
        self._role = role
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counts", daemon=True)

    def start(self) -> None:
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """Hand over a last time and end."""
        self._stop.set()
        self._thread.join(timeout=self._every_s)
        atexit.unregister(self.stop)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(self._every_s)
            flush_now(self._role)
            # Back to the pool: this thread is idle for all but a moment.
            connection.close()
