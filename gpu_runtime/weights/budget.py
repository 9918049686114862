"""How many bytes of weights the device may hold, and which go first. Plain Python: no torch, no clock.

The budget
----------
Configured, or what the device has for this process less a reserve for activations. The reserve is the
largest measured peak times RESERVE_MARGIN, and FIRST_GUESS of the device before anything was measured, and
less what rows of the fast tier remember now. A peak is what one call allocated on top of what was held.
Shapes not seen for RECENT_S are forgotten, so one large request does not keep weights out for ever; a shape
that needs more than was reserved runs out of memory once, is computed in parts, and is measured.

What goes first
---------------
    score = bytes x idle seconds / seconds to load it again

the highest first: much memory, long unused, cheap to bring back. Seconds to load are a fixed part plus bytes
over the measured rates of copying and, for what is not staged, of staging. Among large staged components that
is least-recently-used; it differs where one that must come from disk competes, and for small ones, whose
reload costs mostly the fixed part.

Two things go before the score. What a held request needs leaves last. And leftovers leave first: once a
checkpoint has lost one component the others serve nobody, so one checkpoint is given up and not two.

Assumptions a reader may attack: rates of one device and disk are alike for all components; the past idle time
is the best guess of the future one; a component is as idle as the most recently used checkpoint that has it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

MIB = 2**20

CPU_SHARE = 0.6
"""Of the free memory when the engine starts: the rest is for activations, images and the page cache."""

CPU_MOST = 0.9
"""Of the free memory when the engine starts: above it the machine would swap or kill the process."""

STAGING_SHARE = 0.5
"""Of the free memory, for staged weights, when nothing is configured."""

FIRST_GUESS = 0.25
"""Share of a device's memory that activations are expected to need before any were measured: a decode of four
1024-pixel images by SDXL's autoencoder in float32 takes about 20 of 80 GB."""

RESERVE_MARGIN = 1.25
"""From a measured peak to a reserve: allocators round up and memory fragments."""

RECENT_S = 600.0
"""For how long a shape counts after it was last used."""

FIXED_RELOAD_S = 0.01
"""What loading any component takes besides moving its bytes."""

ASSUMED_COPY_RATE = 5e9
"""Bytes a second from host memory to the device before any copy was timed."""

ASSUMED_STAGING_RATE = 1e9
"""Bytes a second from disk to host memory before any was timed."""

RATE_SMOOTHING = 0.3
"""Weight of the newest rate."""

IDLE_FLOOR_S = 1e-3
"""Components used at the same instant are told apart by bytes and reload time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One component that could leave the device."""

    key: Hashable
    size_bytes: int
    idle_s: float
    """Since the most recently used checkpoint with this component was used."""
    reload_s: float
    """Seconds that loading it again would take from where it would then be."""
    is_wanted: bool
    """Whether a held request needs it."""
    is_leftover: bool
    """Whether no checkpoint that could be used as it is has it."""

    @property
    def score(self) -> float:
        """Bytes freed per second of reloading, times idle seconds; see the module's docstring."""
        return self.size_bytes * max(self.idle_s, IDLE_FLOOR_S) / self.reload_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """How many bytes of weights the device may hold."""

    target_bytes: int
    """Above this, whatever may leave leaves."""
    most_bytes: int
    """What must stay together may grow to this and no further; at least `target_bytes`."""
    spare_bytes: int = 0
    """Taken off the target for what is given up before weights: it is made again sooner than they load."""


def eviction_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """First to last; see the module's docstring."""
    return sorted(candidates, key=lambda each: (each.is_wanted, not each.is_leftover, -each.score))


class ReloadCost:
    """How long loading takes, learned from the loads that were made."""

    def __init__(self) -> None:
        self._copy_rate = ASSUMED_COPY_RATE
        self._staging_rate = ASSUMED_STAGING_RATE

    def record_copy(self, size_bytes: int, seconds: float) -> None:
        """One component was copied to the device."""
        self._copy_rate = _smoothed(self._copy_rate, size_bytes, seconds)

    def record_staging(self, size_bytes: int, seconds: float) -> None:
        """One component was read into host memory."""
        self._staging_rate = _smoothed(self._staging_rate, size_bytes, seconds)

    def seconds(self, size_bytes: int, *, is_staged: bool) -> float:
        """To bring so much to the device."""
        copy_s = FIXED_RELOAD_S + size_bytes / self._copy_rate
        return copy_s if is_staged else copy_s + size_bytes / self._staging_rate


def _smoothed(rate: float, size_bytes: int, seconds: float) -> float:
    # What the fixed part dominates says nothing about the rate.
    if seconds <= FIXED_RELOAD_S:
        return rate
    return rate + RATE_SMOOTHING * (size_bytes / (seconds - FIXED_RELOAD_S) - rate)


def configured_bytes(megabytes: float) -> int | None:
    """A budget from the configuration; None where 0 leaves it to be derived."""
    return round(megabytes * MIB) if megabytes else None


@dataclass(slots=True)
class _Peak:
    size_bytes: int
    seen_at: float


class ActivationPeaks:
    """Measured peaks of denoiser calls and decodes, and the reserve that follows from them."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[str, int, int, int], _Peak] = {}

    def record(self, family: str, *, width: int, height: int, rows: int, size_bytes: int, now: float) -> None:
        """One call of `rows` rows that allocated at most `size_bytes` at once beyond what was held."""
        shape = (family, width, height, rows)
        known = self._peaks.get(shape)
        self._peaks[shape] = _Peak(max(size_bytes, known.size_bytes if known else 0), now)
        self._peaks = {key: peak for key, peak in self._peaks.items() if now - peak.seen_at <= RECENT_S}

    def reserve(self, device_bytes: int, *, now: float) -> int:
        """Bytes to keep free of weights on a device of this size."""
        recent = [peak.size_bytes for peak in self._peaks.values() if now - peak.seen_at <= RECENT_S]
        if not recent:
            return round(FIRST_GUESS * device_bytes)
        return min(round(RESERVE_MARGIN * max(recent)), device_bytes)
