"""Ends the process when a tick hangs: a hung kernel cannot be interrupted, only replaced.

Its jobs are handed back first, with the cause, as having crashed a worker. Where that does not succeed
in time they come back through the reaper, as those of any other dead process.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from apps.generation.faults import HUNG, Failure

log = logging.getLogger(__name__)

# A tick that takes this many times what was expected hangs.
PATIENCE = 10.0
CHECK_INTERVAL_S = 0.2
EXIT_HUNG = 75
# Exit status of a worker whose device only a new process can use again.
EXIT_DEVICE_LOST = 70
# Exit status of a worker whose operator wants a new process in its place.
EXIT_RESTARTED = 72
# For the farewell: a database that is away must not delay the next process for long.
FAREWELL_S = 2.0


class Watchdog:
    """Watches the time since the last tick began. `busy` and `idle` are called by the loop it watches."""

    def __init__(self, *, minimum_s: float, farewell: Callable[[Failure], None]) -> None:
        """`farewell` is called with the cause before the process ends, on a thread of its own."""
        self._minimum_s = minimum_s
        self._farewell = farewell
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; further calls change nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
            self._thread.start()

    def busy(self, *, expected_s: float) -> None:
        """A tick begins now and is expected to take `expected_s`."""
        self._deadline = time.monotonic() + max(self._minimum_s, PATIENCE * expected_s)

    def idle(self) -> None:
        """No tick is running."""
        self._deadline = None

    def leave(self, status: int, *, cause: Failure | None = None) -> NoReturn:
        """End this process after a farewell of FAREWELL_S at most, without clean-up, which could hang.

        Without a cause there are no jobs to hand back.
        """
        if cause is not None:
            words = threading.Thread(target=self._farewell, args=(cause,), name="farewell", daemon=True)
            words.start()
            words.join(FAREWELL_S)
        sys.stderr.flush()
        os._exit(status)

    def _run(self) -> None:
        while True:
            time.sleep(CHECK_INTERVAL_S)
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                log.critical("no tick completed in time; stacks follow and this worker ends")
                faulthandler.dump_traceback(all_threads=True)
                self.leave(EXIT_HUNG, cause=HUNG)
