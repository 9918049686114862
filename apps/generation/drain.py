"""The drain flag: set by `gpu_cluster` when it is told to stop, seen by the pump in its forked worker.

A shared-memory event made before the fork, because a signal to the parent does not reach the
task that runs in its grandchild.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Event

_flag: Event = multiprocessing.get_context("fork").Event()


def request_drain() -> None:
    """Ask every pump forked from this process to finish or release its jobs and return."""
    _flag.set()


def is_draining() -> bool:
    """Whether the cluster is stopping."""
    return _flag.is_set()
