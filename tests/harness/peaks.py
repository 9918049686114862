"""How much memory something takes at most, whatever this process took before.

`getrusage` knows the highest mark of the process's whole life: after one large test it sees nothing any more.
Linux puts the mark of /proc/self/status back to what is in use when it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RESET_PEAK: Final = "5"
"""What proc(5) says to write into clear_refs."""


@dataclass(slots=True)
class Peak:
    """Of a block of code; known when it has ended."""

    growth_kb: int = 0
    """KiB at its highest, above what was in use when it began."""


@contextmanager
def measured_peak() -> Iterator[Peak]:
    """Of the whole process, all threads."""
    peak = Peak()
    Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
    before_kb = _highest_kb()
    try:
        yield peak
    finally:
        peak.growth_kb = _highest_kb() - before_kb


def _highest_kb() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [mark] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(mark)
