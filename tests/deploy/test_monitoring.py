"""The board and the rules speak of series that there are, and promtool finds no fault with them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from apps.core.counters import SeriesKind
from apps.metrics.series import ALL_SERIES

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
RULES = (MONITORING / "alerts.yaml").read_text()
NAME = re.compile(r"\bdarkroom_[a-z0-9_]+")
RECORDED = re.compile(r"\bdarkroom:[a-z0-9_:]+")
ALERT = re.compile(r"alert: (\w+)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def known_names() -> set[str]:
    known = set()
    for series in ALL_SERIES:
        parts = ("_bucket", "_sum", "_count") if series.kind == SeriesKind.HISTOGRAM else ("",)
        known |= {series.name + part for part in parts}
    return known


def board_expressions() -> list[str]:
    board = json.loads((MONITORING / "grafana-board.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


def test_the_rules_speak_of_series_that_there_are() -> None:
    assert set(NAME.findall(RULES)) <= known_names()


def test_the_board_speaks_of_series_that_there_are() -> None:
    expressions = "\n".join(board_expressions())
    assert set(NAME.findall(expressions)) <= known_names()
    assert set(RECORDED.findall(expressions)) <= set(re.findall(r"record: (\S+)", RULES))


def test_panels_lie_side_by_side() -> None:
    panels = json.loads((MONITORING / "grafana-board.json").read_text())["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = "".join(file.read_text() for file in MONITORING.glob("*_test.yaml"))
    for alert in ALERT.findall(RULES):
        outcomes = set(re.findall(rf'alertname="{alert}".*\n.*value: ([01])', cases))
        assert outcomes == {"0", "1"}, alert


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--syntax-only", "prometheus.yaml"],
        ["check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml", "alerts_of_days_test.yaml"],
    ],
    ids=["scrape", "rules", "proof"],
)
def test_promtool_agrees(arguments: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
