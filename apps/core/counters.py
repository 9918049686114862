"""What a process counts for the metrics: in memory, handed over every few seconds, never on the hot path.

Series are declared where they are counted and listed in `apps.metrics.series`. What all processes add meets
in one table (settings.COUNTERS_STORE writes it): a killed process takes only its last seconds with it, and
totals never fall. Knows nothing of what is counted.
"""

from __future__ import annotations

import bisect
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from django.conf import settings
from django.utils.module_loading import import_string

INFINITY: Final = "+Inf"
Key: TypeAlias = tuple[str, tuple[str, ...]]
"""A stored name and the values of its labels, in the order of their declaration."""


class SeriesKind(StrEnum):
    """Prometheus' types that we use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric as it is shown. Its name ends in its unit; a counter's in `_total` after that."""

    name: str
    help: str
    kind: SeriesKind
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper ends of a histogram's buckets, ascending, without infinity."""

    @property
    def sum_name(self) -> str:
        """Under which a histogram's sum is stored."""
        return f"{self.name}_sum"


def counter(name: str, help_text: str, *labels: str) -> Series:
    """Something that only grows."""
    return Series(name=name, help=help_text, kind=SeriesKind.COUNTER, labels=labels)


def gauge(name: str, help_text: str, *labels: str) -> Series:
    """Something as it is now."""
    return Series(name=name, help=help_text, kind=SeriesKind.GAUGE, labels=labels)


def histogram(name: str, help_text: str, *labels: str, bounds: tuple[float, ...]) -> Series:
    """How often values fell between bounds."""
    return Series(name=name, help=help_text, kind=SeriesKind.HISTOGRAM, labels=labels, bounds=bounds)


def bucket_label(bound: float) -> str:
    """The value of `le`, the same for 1 and 1.0."""
    return f"{bound:g}"


def bucket_of(series: Series, value: float) -> str:
    """The `le` of the one bucket that a value is stored in; showing adds up those below."""
    place = bisect.bisect_left(series.bounds, value)
    return bucket_label(series.bounds[place]) if place < len(series.bounds) else INFINITY


@dataclass(slots=True)
class Taken:
    """What was counted since the last hand-over, and the latest state of gauges."""

    added: dict[Key, float] = field(default_factory=dict)
    present: dict[Key, float] = field(default_factory=dict)


Store: TypeAlias = Callable[[Taken, str], None]
"""Writes it down, for the process of that name. Raises django.db.Error, having written nothing."""


class Tally:
    """One process's counts. Thread-safe; an addition takes about a microsecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = Taken()

    def count(self, series: Series, *labels: str, by: float = 1.0) -> None:
        """Add to a counter."""
        self._add({(series.name, labels): by})

    def observe(self, series: Series, value: float, *labels: str) -> None:
        """Add one value to a histogram."""
        bucket = (*labels, bucket_of(series, value))
        self._add({(series.name, bucket): 1.0, (series.sum_name, labels): value})

    def note(self, series: Series, value: float, *labels: str) -> None:
        """Say how things stand; forgotten when the process is silent for a minute."""
        with self._lock:
            self._taken.present[series.name, labels] = value

    def _add(self, amounts: Mapping[Key, float]) -> None:
        with self._lock:
            added = self._taken.added
            for key, amount in amounts.items():
                added[key] = added.get(key, 0.0) + amount

    def take(self) -> Taken:
        """What there is to hand over; additions are gone from here afterwards."""
        with self._lock:
            taken = self._taken
            self._taken = Taken(present=dict(taken.present))
        return taken

    def give_back(self, taken: Taken) -> None:
        """It could not be handed over: it joins what was counted meanwhile."""
        self._add(taken.added)

    def clear(self) -> None:
        """Forget everything: after a fork the parent hands over what it counted."""
        self._lock = threading.Lock()
        self._taken = Taken()


tally: Final = Tally()
"""This process's. Module state like a logger's: what counts cannot be handed a tally through every call."""
os.register_at_fork(after_in_child=tally.clear)


def flush(process: str) -> None:
    """Hand over what this process has counted. Raises django.db.Error, with nothing lost."""
    taken = tally.take()
    if not taken.added and not taken.present:
        return
    store: Store = import_string(settings.COUNTERS_STORE)
    try:
        store(taken, process)
    except BaseException:
        tally.give_back(taken)
        raise
