"""Everything that `/metrics` and the console's first page show, read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from apps.core.counters import Series, SeriesKind
from apps.metrics.collecting.figures import Figure
from apps.metrics.collecting.keeping import collect_keeping
from apps.metrics.collecting.messages import collect_messages
from apps.metrics.collecting.operations import collect_operations
from apps.metrics.collecting.work import collect_work
from apps.metrics.series import ALL_SERIES, STORED
from apps.metrics.storing import list_stored

COLLECTORS: Final = (collect_work, collect_messages, collect_keeping, collect_operations)
Labels = tuple[str, ...]


class Readings:
    """Values by stored name and labels."""

    def __init__(self, values: Mapping[str, Mapping[Labels, float]]) -> None:
        self._values = values

    def of(self, series: Series) -> Mapping[Labels, float]:
        """Every labelled value of a counter or gauge; a counter without labels begins with 0."""
        found = self._values.get(series.name, {})
        if not found and series.kind == SeriesKind.COUNTER and not series.labels:
            return {(): 0.0}
        return found

    def find(self, series: Series, *labels: str) -> float | None:
        """One value; None where there is none."""
        return self._values.get(series.name, {}).get(labels)

    def value(self, series: Series, *labels: str) -> float:
        """One value; 0 where there is none."""
        return self.find(series, *labels) or 0.0

    def buckets(self, series: Series) -> Mapping[Labels, Mapping[str, float]]:
        """Of a histogram: how many values fell into each bucket alone, by its upper end."""
        grouped: defaultdict[Labels, dict[str, float]] = defaultdict(dict)
        for (*labels, bound), count in self._values.get(series.name, {}).items():
            grouped[tuple(labels)][bound] = count
        return grouped

    def sum_of(self, series: Series, labels: Labels) -> float:
        """Of a histogram's values."""
        return self._values.get(series.sum_name, {}).get(labels, 0.0)


def read_all(*, now: datetime) -> Readings:
    """As of `now`; its number of queries does not depend on how much there is."""
    values: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for each in _collected(now):
        values[each.series.name][each.labels] = each.value
    known = {name for series in STORED for name in (series.name, series.sum_name)}
    for stored in list_stored(now=now):
        # Another version may run beside this one, with series that this one does not know.
        if stored.series in known:
            values[stored.series][stored.labels] = stored.value
    return Readings(values)


def _collected(now: datetime) -> Iterator[Figure]:
    for collect in COLLECTORS:
        yield from collect(now)


def shown_series() -> Sequence[Series]:
    """In the order of the page: by name."""
    return sorted(ALL_SERIES, key=lambda series: series.name)
