"""The console's first page: what needs attention first, and how the appliance is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.catalog.models import CatalogEntry
from apps.console.attention import RULES, Facts, notices
from apps.console.dashboard import get_dashboard
from apps.core.counters import Series
from apps.generation import device_figures
from apps.generation.models import GenerationJob, GpuWorker
from apps.metrics import measuring, tasks
from apps.metrics.collecting import keeping, messages, operations, work
from apps.metrics.last_hour import KindHour, LastHour, quantile_s
from apps.metrics.readings import Readings
from apps.metrics.storing import replace
from apps.quotas.models import DailyUsage
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_artifact, make_checkpoint

QUERIES = 28
"""Of everything that the page asks, however much there is."""


@pytest.fixture
def otto(cast: Cast, client: Client) -> Client:
    """A browser in which Otto is signed in."""
    client.force_login(cast.otto)
    return client


def make_job(cast: Cast, clock: FrozenClock, **fields: Any) -> GenerationJob:
    values: dict[str, Any] = {
        "account": cast.account,
        "api_key": cast.key,
        "checkpoint": CatalogEntry.objects.filter(name="tiny").first() or make_checkpoint("tiny"),
        "kind": "txt2img",
        "request": {"prompt": "a red fox"},
        "num_images": 1,
        "artifact_group": uuid4(),
        "quota_day": clock.now().date(),
        "queued_at": clock.now(),
        "deadline_at": clock.now() + timedelta(hours=1),
    }
    return GenerationJob.objects.create(**(values | fields))


def make_worker(name: str, clock: FrozenClock, *, silent_s: float = 1, **fields: Any) -> GpuWorker:
    heartbeat = clock.now() - timedelta(seconds=silent_s)
    return GpuWorker.objects.create(
        name=name, host="box", pid=1, state="ready", started_at=heartbeat, heartbeat_at=heartbeat, **fields
    )


def text_of(html: str) -> str:
    """What a reader sees, blanks as one."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def page(otto: Client) -> str:
    response = otto.get("/console/")
    assert response.status_code == 200
    return text_of(response.content.decode())


def test_devices_queue_images_and_calls(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    held = [{"name": "tiny", "residency": "resident"}, {"name": "sdxl", "residency": "staged"}]
    make_worker("box/cuda:0", clock, weights=held, weights_bytes=2 * 1024**3, device_name="H100")
    make_worker("box/cuda:1", clock, silent_s=60)
    replace(
        {
            (device_figures.USED.name, ("box/cuda:0",)): 20.0 * 1024**3,
            (device_figures.SIZE.name, ("box/cuda:0",)): 80.0 * 1024**3,
            (device_figures.LOAD.name, ("box/cuda:0",)): 0.5,
            (device_figures.TEMPERATURE.name, ("box/cuda:0",)): 61.0,
        },
        process="box:7",
        now=clock.now(),
    )
    make_job(cast, clock, queued_at=clock.now() - timedelta(seconds=40))
    artifact = make_artifact(cast.account)
    DailyUsage.objects.create(account=cast.account, day=clock.now().date(), reserved=3, settled=4)
    html = otto.get("/console/").content.decode()
    text = text_of(html)
    assert "box/cuda:0 H100 ready 20.0 GB of 80.0 GB 50 %, 61 °C 2.0 GB tiny and 1 in memory" in text
    assert re.search(r"box/cuda:1 silent since 2026-03-02 11:59:00 UTC", text)
    assert "interactive 1 40 s" in text and "background 0 –" in text
    assert "Calls today 7" in text
    [path] = re.findall(r'<img src="(/media/[^"]+)"', html)
    assert str(artifact.group) in path
    assert otto.get(path).status_code == 200


def test_an_empty_appliance(otto: Client) -> None:
    text = page(otto)
    assert "None has ever started" in text and "None yet." in text and "No job ended" in text
    assert "now No GPU worker takes jobs; 0 jobs wait." in text


def test_jobs_of_the_last_hour(cast: Cast, otto: Client, clock: FrozenClock) -> None:
    for seconds in (1.0, 3.0):
        end = clock.now() + timedelta(seconds=seconds)
        make_job(cast, clock, state="succeeded", finished_at=end, num_images=2)
    make_job(cast, clock, state="failed", finished_at=clock.now() + timedelta(seconds=1))
    make_job(cast, clock, state="canceled", finished_at=clock.now() + timedelta(seconds=1))
    clock.advance(minutes=3)
    tasks.roll_up_jobs()
    text = page(otto)
    assert "Images 4 Jobs ended 3 Failed 33.3 % 1 job " in text
    # Half of the two took at most a second; 95 % end within nine tenths of what lies between 2 and 3.
    assert "txt2img 3 1 1.0 s 2.9 s" in text
    clock.advance(hours=1)
    assert "No job ended within the last hour" in page(otto)


def test_the_page_asks_the_same_however_much_there_is(cast: Cast, clock: FrozenClock) -> None:
    with CaptureQueriesContext(connection) as empty:
        get_dashboard(now=clock.now())
    for number in range(4):
        make_worker(f"box/cuda:{number}", clock)
        make_job(cast, clock)
        make_artifact(cast.account)
    tasks.measure()
    with CaptureQueriesContext(connection) as filled:
        get_dashboard(now=clock.now())
    found = [query["sql"][:100] for query in filled.captured_queries]
    assert (len(empty), len(filled)) == (QUERIES, QUERIES), found


# --- What needs attention ---

WELL: Mapping[Series, Mapping[tuple[str, ...], float]] = {
    work.WORKERS: {("ready",): 1, ("silent",): 0},
    operations.BACKUP: {(): 1000.0},
}


def told(
    clock: FrozenClock, figures: Mapping[Series, Mapping[tuple[str, ...], float]], **facts: Any
) -> list[str]:
    """`tone text` of every notice for these figures, all others being well."""
    at = clock.now().timestamp()
    together = {**WELL, **figures}
    if operations.BACKUP not in figures:
        together[operations.BACKUP] = {(): at - 3600}
    given = {series.name: dict(values) for series, values in together.items()}
    hour = facts.pop("hour", LastHour(all=KindHour(), by_kind={}))
    found = notices(
        Facts(readings=Readings(given), hour=hour, quarantined=facts.pop("quarantined", 0), now=clock.now())
    )
    return [f"{notice.tone} {notice.text}" for notice in found]


def test_nothing_needs_attention_where_all_is_well(clock: FrozenClock) -> None:
    assert told(clock, {}) == []


@pytest.mark.parametrize(
    ("figures", "begins"),
    [
        (
            {work.WORKERS: {("ready",): 0}, work.QUEUED: {("interactive",): 1}},
            "bad No GPU worker takes jobs; 1 job wait",
        ),
        ({work.WORKERS: {("ready",): 1, ("silent",): 2}}, "warn 2 GPU workers fell silent"),
        ({work.OLDEST: {("interactive",): 121}}, "warn The oldest interactive job has waited 2 minutes."),
        ({operations.SCHEDULE_LAG: {(): 601}}, "bad Housekeeping is 10 minutes late"),
        ({keeping.RETENTION_LAG: {(): 7200}}, "warn Images that should be deleted are kept"),
        ({keeping.SEAL_LAG: {(): 901}}, "warn The audit log's hash chain is behind by 15 minutes."),
        ({measuring.LEDGER_SUM: {(): -0.25}}, "bad The ledger sums to -0.250000 USD"),
        ({measuring.VIOLATIONS: {("x",): 3, ("y",): 0}}, "bad An invariant is broken (x: 3)"),
        ({messages.EVENTS: {("failed",): 1}}, "warn 1 message of Stripe's could not"),
        (
            {messages.OUTBOX_LAG: {("usage",): 90_000}},
            "warn Stripe has not been told of something for 25 hours.",
        ),
        ({messages.RECONCILED: {(): 0.5}}, "warn Our books and Stripe's differ by 0.50 USD"),
        ({messages.MAILS: {("queued",): 2}}, "warn 2 mails wait: no mail server is set"),
        ({messages.MAILS: {("dead",): 1}}, "warn 1 mail could not be delivered."),
        ({messages.WEBHOOKS_FAILED: {(): 3}}, "warn 3 webhooks could not be delivered within a day."),
        ({messages.WEBHOOK_LAG: {(): 1000}}, "warn Webhooks have been due for 16 minutes."),
        ({operations.IMPORTS: {("failed",): 1}}, "warn 1 import failed within a day."),
        (
            {keeping.DISK_SIZE: {("home",): 1e12}, keeping.DISK_FREE: {("home",): 9e10}},
            "warn The disk of home is nearly full: 90.0 GB of 1000.0 GB are free.",
        ),
        ({keeping.DISK_SIZE: {("home",): 1e12}, keeping.DISK_FREE: {("home",): 1e9}}, "bad The disk of home"),
        ({operations.BACKUP: {(): 0.0}}, "warn The last backup succeeded"),
        ({operations.BACKUP: {}}, "note No backup is on record."),
    ],
)
def test_what_needs_attention_is_said(
    db: None, clock: FrozenClock, figures: Mapping[Series, Mapping[tuple[str, ...], float]], begins: str
) -> None:
    [line] = told(clock, figures)
    assert line.startswith(begins)


@pytest.mark.parametrize("series", [operations.LICENCE_END, operations.CERTIFICATE_END])
def test_ends_are_told_of_two_weeks_before(clock: FrozenClock, series: Series) -> None:
    at = clock.now().timestamp()
    assert told(clock, {series: {(): at + 14 * 86_400}}) == []
    [soon] = told(clock, {series: {(): at + 13 * 86_400}})
    assert soon.startswith("warn The ") and soon.endswith("ends in 13 days.")
    [ended] = told(clock, {series: {(): at - 7200}})
    assert ended.startswith("bad The ") and ended.endswith("ended 2 hours ago.")


def test_a_certificate_that_cannot_be_read_is_told_of(clock: FrozenClock, settings: Any) -> None:
    settings.TLS_CERTIFICATE = "/nowhere.pem"
    assert told(clock, {}) == [
        "warn The certificate /nowhere.pem cannot be read: nobody would warn of its end."
    ]


def test_failures_count_from_ten_jobs_on(db: None, clock: FrozenClock) -> None:
    few = LastHour(all=KindHour(succeeded=4, failed=5), by_kind={})
    many = LastHour(all=KindHour(succeeded=18, failed=2), by_kind={})
    assert told(clock, {}, hour=few) == []
    assert told(clock, {}, hour=many) == ["warn 10% of the jobs of the last hour failed (2 of 20)."]


def test_quarantined_jobs_are_told_of_with_a_way_to_them(
    cast: Cast, otto: Client, clock: FrozenClock
) -> None:
    end = clock.now() + timedelta(seconds=1)
    make_job(cast, clock, state="quarantined", finished_at=end)
    clock.advance(minutes=3)
    tasks.roll_up_jobs()
    html = otto.get("/console/").content.decode()
    assert "1 job crashed its worker twice within a day" in html
    assert "/console/generation/generationjob/?state__exact=quarantined" in html


def test_the_worst_comes_first(db: None, clock: FrozenClock) -> None:
    figures = {operations.BACKUP: {}, messages.MAILS: {("dead",): 1}, measuring.LEDGER_SUM: {(): 1.0}}
    assert [line.split()[0] for line in told(clock, figures)] == ["bad", "warn", "note"]
    assert len(RULES) > 8


def test_two_folders_of_one_disk_are_one_notice(clock: FrozenClock) -> None:
    size = {("home",): 1e12, ("models",): 1e12}
    free = {("home",): 5e10, ("models",): 5e10}
    assert len(told(clock, {keeping.DISK_SIZE: size, keeping.DISK_FREE: free})) == 1


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        ({}, 0.5, None),
        ({"1": 10}, 0.5, 0.75),
        ({"1": 5, "2": 5}, 0.5, 1.0),
        ({"0.25": 1, "60": 1}, 0.95, 57.0),
        ({"+Inf": 3}, 0.5, 3600.0),
    ],
)
def test_quantiles_lie_within_their_bucket(
    buckets: Mapping[str, int], share: float, seconds: float | None
) -> None:
    assert quantile_s(buckets, share) == (seconds if seconds is None else pytest.approx(seconds))


def test_a_certificate_is_read(tmp_path: Path) -> None:
    assert operations.certificate_end("") is None
    broken = tmp_path / "x.pem"
    broken.write_text("no certificate")
    assert operations.certificate_end(str(broken)) is None
