"""Jobs that one thread does in the order of their coming, unless somebody withdraws them before."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
J = TypeVar("J")


class WaitingLine(Generic[K, J]):
    """Between one thread that gives jobs, each under a key of its own, and one that does them."""

    def __init__(self) -> None:
        self._jobs: dict[K, J] = {}
        self._changed = threading.Condition()
        self._is_busy = False

    def put(self, key: K, job: J) -> None:
        """One more, behind all others."""
        with self._changed:
            self._jobs[key] = job
            self._changed.notify_all()

    def withdraw(self, key: K) -> bool:
        """Have a job not done; False where it is done already, or being done."""
        with self._changed:
            return self._jobs.pop(key, None) is not None

    def keys(self) -> list[K]:
        """Of the jobs that nobody has begun, the oldest first."""
        with self._changed:
            return list(self._jobs)

    def take(self) -> J:
        """The oldest job, waited for if there is none. `done` must be called before the next one."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs)
            self._is_busy = True
            return self._jobs.pop(next(iter(self._jobs)))

    def done(self) -> None:
        """The job that was taken is done."""
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()

    def is_idle(self) -> bool:
        """Whether every job is done or withdrawn."""
        with self._changed:
            return not self._jobs and not self._is_busy

    def join(self) -> None:
        """Wait until every job is done or withdrawn."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs and not self._is_busy)
