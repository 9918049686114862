"""`/metrics`: who may read it, what it says, and what it costs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from apps.core.counters import SeriesKind, Tally
from apps.generation.models import GpuWorker
from apps.metrics import tasks
from apps.metrics.readings import shown_series
from tests.apps.generation.studio import Studio
from tests.cast import Cast
from tests.clocks import FrozenClock

QUERIES = 20
"""However much there is to tell."""

pytestmark = pytest.mark.django_db


def scrape(client: Client, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the page by its name and labels."""
    response = client.get("/metrics", headers=headers)
    assert response.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("token", "headers", "address", "status"),
    [
        ("", {}, "127.0.0.1", 200),
        ("", {}, "::1", 200),
        ("", {}, "192.0.2.7", 403),
        ("", {}, "", 403),
        ("", {"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1", 403),
        ("", {"Authorization": "Bearer "}, "192.0.2.7", 403),
        ("s3cret", {}, "127.0.0.1", 403),
        ("s3cret", {"Authorization": "Bearer s3cret"}, "192.0.2.7", 200),
        ("s3cret", {"Authorization": "Bearer s3cre"}, "127.0.0.1", 403),
        ("s3cret", {"Authorization": "Basic s3cret"}, "127.0.0.1", 403),
        ("s3cret", {"Authorization": "Bearer s3crét"}, "127.0.0.1", 403),
    ],
)
def test_who_may_read(
    client: Client, settings: Any, token: str, headers: dict[str, str], address: str, status: int
) -> None:
    settings.METRICS_TOKEN = token
    response = client.get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert response.status_code == status
    assert ("darkroom_" in response.content.decode()) == (status == 200)


def test_nothing_can_be_sent_to_it(client: Client) -> None:
    assert client.post("/metrics").status_code == 405


def test_every_series_is_on_the_page_with_help_and_type(client: Client) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(client.get("/metrics").content.decode())
    }
    for series in shown_series():
        name = series.name.removesuffix("_total") if series.kind == SeriesKind.COUNTER else series.name
        assert (families[name].documentation, families[name].type) == (series.help, series.kind.value)
    assert len(families) == len(shown_series()) >= 40


def test_openmetrics_is_spoken_to_those_who_ask(client: Client) -> None:
    response = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response["Content-Type"].startswith("application/openmetrics-text")
    assert len(list(openmetrics_families(response.content.decode()))) == len(shown_series())


def test_the_queue_and_its_oldest_job(studio: Studio, clock: FrozenClock, client: Client) -> None:
    studio.submit()
    studio.submit(now=clock.now() - timedelta(seconds=90))
    found = scrape(client)
    assert found["darkroom_queue_jobs", (("class", "interactive"),)] == 2
    assert found["darkroom_queue_jobs", (("class", "training"),)] == 0
    assert found["darkroom_queue_oldest_age_seconds", (("class", "interactive"),)] == 90
    assert found["darkroom_jobs_open", (("kind", "txt2img"), ("state", "queued"))] == 2


def test_a_silent_worker_is_down_and_says_nothing_else(client: Client, clock: FrozenClock) -> None:
    for name, silent_s in (("box/cuda:0", 1), ("box/cuda:1", 60)):
        GpuWorker.objects.create(
            name=name,
            host="box",
            pid=1,
            state="ready",
            weights_bytes=7,
            weights=[{"residency": "resident"}],
            started_at=clock.now(),
            heartbeat_at=clock.now() - timedelta(seconds=silent_s),
        )
    found = scrape(client)
    assert found["darkroom_worker_up", (("worker", "box/cuda:0"),)] == 1
    assert found["darkroom_worker_up", (("worker", "box/cuda:1"),)] == 0
    assert found["darkroom_workers", (("state", "ready"),)] == 1
    assert found["darkroom_workers", (("state", "silent"),)] == 1
    assert found["darkroom_worker_weights_bytes", (("worker", "box/cuda:0"),)] == 7
    assert ("darkroom_worker_weights_bytes", (("worker", "box/cuda:1"),)) not in found


def test_what_housekeeping_measures(cast: Cast, client: Client, clock: FrozenClock) -> None:
    tasks.measure()
    tasks.check_invariants()
    found = scrape(client)
    assert found["darkroom_ledger_sum_dollars", ()] == 0
    assert found["darkroom_accounts", (("state", "open"),)] == 2
    assert found["darkroom_measured_timestamp_seconds", ()] == clock.now().timestamp()
    checks = {labels: value for (name, labels), value in found.items() if "violations" in name}
    assert checks[("check", "the ledger sums to zero"),] == 0
    assert set(checks.values()) == {0}


def test_the_date_of_the_last_backup(client: Client, settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_STAMP = tmp_path / "done"
    assert not any("backup" in name for name, _ in scrape(client))
    settings.BACKUP_STAMP.touch()
    written = settings.BACKUP_STAMP.stat().st_mtime
    assert scrape(client)["darkroom_backup_last_success_timestamp_seconds", ()] == written


def test_a_scrape_takes_the_same_queries_however_much_there_is(
    studio: Studio, client: Client, clock: FrozenClock
) -> None:
    with CaptureQueriesContext(connection) as empty:
        client.get("/metrics")
    for _ in range(3):
        studio.submit()
    GpuWorker.objects.create(
        name="box/cpu", host="box", pid=1, state="ready", started_at=clock.now(), heartbeat_at=clock.now()
    )
    with CaptureQueriesContext(connection) as filled:
        client.get("/metrics")
    assert (len(empty), len(filled)) == (QUERIES, QUERIES), [query["sql"][:90] for query in filled]


def test_probes_and_scrapes_are_not_counted(client: Client, counted: Tally) -> None:
    client.get("/metrics")
    client.get("/healthz")
    assert counted.take().added == {}
