"""Readings in Prometheus' text format, or in OpenMetrics where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from apps.core.counters import INFINITY, Series, SeriesKind, bucket_label
from apps.metrics.readings import Readings, shown_series

TOTAL: Final = "_total"


class _Read(Collector):
    """Hands families that are made already to the library."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(readings: Readings, *, accept: str) -> tuple[bytes, str]:
    """The page and its media type, by the caller's Accept header."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Read([_family(series, readings) for series in shown_series()]))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


def _family(series: Series, readings: Readings) -> Metric:
    if series.kind == SeriesKind.HISTOGRAM:
        return _histogram(series, readings)
    family: CounterMetricFamily | GaugeMetricFamily
    if series.kind == SeriesKind.COUNTER:
        family = CounterMetricFamily(series.name.removesuffix(TOTAL), series.help, labels=series.labels)
    else:
        family = GaugeMetricFamily(series.name, series.help, labels=series.labels)
    for labels, value in sorted(readings.of(series).items()):
        family.add_metric(labels, value)
    return family


def _histogram(series: Series, readings: Readings) -> Metric:
    family = HistogramMetricFamily(series.name, series.help, labels=series.labels)
    for labels, counts in sorted(readings.buckets(series).items()):
        family.add_metric(labels, _cumulated(series, counts), sum_value=readings.sum_of(series, labels))
    return family


def _cumulated(series: Series, counts: Mapping[str, float]) -> list[tuple[str, float]]:
    """Each bucket with all below it, as the format has it; those that nothing fell into, too."""
    total = 0.0
    buckets = []
    for bound in [*map(bucket_label, series.bounds), INFINITY]:
        total += counts.get(bound, 0.0)
        buckets.append((bound, total))
    return buckets
