"""How far an import is: counted by the threads that work on it, read by the one that writes the row."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from apps.catalog.choices import ImportPhase
from apps.catalog.imports.failures import Stopped
from apps.catalog.imports.lifecycle import Snapshot

SPEED_WINDOW_S: Final = 5.0


class Progress:
    """Thread-safe counters and the flag that stops everybody."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque()
        self._moved = 0
        self.stop = threading.Event()
        self.phase = ImportPhase.LISTING
        self.bytes_done = 0
        self.bytes_total = 0
        self.files_done = 0
        self.files_total = 0

    def enter(self, phase: ImportPhase) -> None:
        """Raises Stopped instead of beginning something new. The figures of the phase before are gone."""
        self.check()
        with self._lock:
            self.phase = phase
            self.bytes_done = self.bytes_total = self.files_done = self.files_total = 0
            self._samples.clear()

    def expect(self, *, files: int, total_bytes: int, done_bytes: int = 0) -> None:
        """What the phase is about to do; `done_bytes` of it were done earlier."""
        with self._lock:
            self.files_total, self.files_done = files, 0
            self.bytes_total, self.bytes_done = total_bytes, done_bytes
            self._samples.clear()

    def learn_size(self, more_bytes: int) -> None:
        """A file turned out to have this many bytes that nobody knew of."""
        with self._lock:
            self.bytes_total += more_bytes

    def add(self, count: int) -> None:
        """Bytes that arrived or were worked through; negative when they have to be done again."""
        with self._lock:
            self.bytes_done += count
            if count > 0:
                self._moved += count

    def finish_file(self) -> None:
        with self._lock:
            self.files_done += 1

    def place(self, *, done_bytes: int, total_bytes: int) -> None:
        """Absolute figures, for whoever reports them like that."""
        with self._lock:
            self._moved += max(0, done_bytes - self.bytes_done)
            self.bytes_done, self.bytes_total = done_bytes, total_bytes

    def check(self) -> None:
        """Raises Stopped once the import is to stop."""
        if self.stop.is_set():
            raise Stopped

    def snapshot(self) -> Snapshot:
        """The present state; the speed is that of the last seconds."""
        now = self._monotonic()
        with self._lock:
            self._samples.append((now, self._moved))
            while len(self._samples) > 2 and self._samples[1][0] <= now - SPEED_WINDOW_S:
                self._samples.popleft()
            since, moved = self._samples[0]
            elapsed = now - since
            return Snapshot(
                phase=self.phase,
                bytes_done=max(0, self.bytes_done),
                bytes_total=max(0, self.bytes_total),
                speed_bps=(self._moved - moved) / elapsed if elapsed > 0 else 0.0,
                files_done=self.files_done,
                files_total=self.files_total,
            )
