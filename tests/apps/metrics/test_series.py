"""Every series keeps the rules of Prometheus' names, so that boards and rules can rely on them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import apps
from apps.core.counters import Series, SeriesKind
from apps.metrics.series import ALL_SERIES, COLLECTED, STORED

# Base units, and what dimensionless figures count.
UNITS = {"seconds", "bytes", "celsius", "ratio", "dollars", "info", "tflops"}
COUNTED = re.compile(
    r"jobs|open|leases|workers|up|checkpoints|deliveries|endpoints|mails|messages|"
    r"events|images|connections|limit|queued|imports|requests|refusals|progress|ended|"
    r"delivered|rows|operations|loads|attempts|artifacts|models|accounts|violations"
)
LABEL = re.compile(r"[a-z]+")


@pytest.mark.parametrize("series", ALL_SERIES, ids=lambda series: series.name)
def test_names_say_what_and_in_which_unit(series: Series) -> None:
    assert series.name.startswith("darkroom_")
    assert (series.kind == SeriesKind.COUNTER) == series.name.endswith("_total")
    last = series.name.removesuffix("_total").split("_")[-1]
    assert last in UNITS or COUNTED.fullmatch(last)
    assert series.help.endswith(".") and len(series.help) > 12
    assert all(LABEL.fullmatch(label) for label in series.labels) and "le" not in series.labels
    assert (series.kind == SeriesKind.HISTOGRAM) == bool(series.bounds)
    assert list(series.bounds) == sorted(set(series.bounds))


def test_no_name_stands_for_two() -> None:
    names = [series.name for series in ALL_SERIES]
    assert len(names) == len(set(names)) >= 60


def test_every_declared_series_is_listed() -> None:
    declared = set()
    for module in walk_packages(apps.__path__, "apps."):
        file = Path(str(module.module_finder.path)) / f"{module.name.rpartition('.')[2]}.py"  # type: ignore[union-attr]
        if file.is_file() and re.search(
            r"\b(counter|gauge|histogram)\($|= (counter|gauge|histogram)\(", file.read_text(), re.MULTILINE
        ):
            found = vars(import_module(module.name)).values()
            declared |= {value for value in found if isinstance(value, Series)}
    assert declared == set(ALL_SERIES) == {*COLLECTED, *STORED}
