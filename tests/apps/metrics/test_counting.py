"""Counts of processes: they meet in one table, totals never fall, and what the dead said is forgotten."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import Client, RequestFactory

from apps.core.counters import Taken, Tally, counter, flush, gauge, histogram, tally
from apps.core.flushing import flush_now
from apps.metrics import middleware, tasks
from apps.metrics.middleware import HttpCountersMiddleware
from apps.metrics.models import Sample
from apps.metrics.storing import add, list_stored, store_taken
from tests.clocks import FrozenClock

CALLS = counter("darkroom_test_calls_total", "Calls.", "who")
STATE = gauge("darkroom_test_state_bytes", "State.")
TOOK = histogram("darkroom_test_took_seconds", "Took.", "who", bounds=(0.1, 1.0))

pytestmark = pytest.mark.django_db


def stored(clock: FrozenClock) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(row.series, row.labels): row.value for row in list_stored(now=clock.now())}


def test_two_processes_add_up(clock: FrozenClock) -> None:
    for process in ("web:1", "web:2"):
        each = Tally()
        each.count(CALLS, "ada", by=2)
        each.observe(TOOK, 0.1, "ada")
        each.observe(TOOK, 5.0, "ada")
        store_taken(each.take(), process)
    assert stored(clock) == {
        (CALLS.name, ("ada",)): 4,
        (TOOK.name, ("ada", "0.1")): 2,
        (TOOK.name, ("ada", "+Inf")): 2,
        (TOOK.sum_name, ("ada",)): pytest.approx(10.2),
    }


def test_what_was_handed_over_once_is_not_handed_over_again(clock: FrozenClock, counted: Tally) -> None:
    counted.count(CALLS, "ada")
    flush("web:1")
    flush("web:1")
    assert stored(clock) == {(CALLS.name, ("ada",)): 1}


def test_totals_outlive_their_process_and_gauges_do_not(clock: FrozenClock, counted: Tally) -> None:
    counted.count(CALLS, "ada")
    counted.note(STATE, 7.0)
    flush("web:1")
    assert stored(clock) == {(CALLS.name, ("ada",)): 1, (STATE.name, ()): 7}
    clock.advance(seconds=61)
    assert stored(clock) == {(CALLS.name, ("ada",)): 1}
    clock.advance(hours=1)
    tasks.prune()
    assert list(Sample.objects.values_list("series", flat=True)) == [CALLS.name]
    # Its successor begins with nothing and adds to what there is.
    counted.clear()
    counted.count(CALLS, "ada")
    flush("web:2")
    assert stored(clock) == {(CALLS.name, ("ada",)): 2}


def test_what_could_not_be_written_is_kept(
    clock: FrozenClock, counted: Tally, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(taken: Taken, process: str) -> None:
        counted.count(CALLS, "ada")
        raise OperationalError("no connection")

    counted.count(CALLS, "ada")
    with monkeypatch.context() as patched:
        patched.setattr("apps.metrics.storing.store_taken", away)
        # Closing the connection would end the test's transaction.
        patched.setattr("apps.core.flushing.connection.close", lambda: None)
        flush_now("web")
    assert "counts could not be written, they are kept: no connection" in caplog.text
    flush("web:1")
    assert stored(clock)[CALLS.name, ("ada",)] == 2


def test_nothing_is_lost_between_threads() -> None:
    one = Tally()

    def work() -> None:
        for _ in range(2000):
            one.count(CALLS, "ada")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    taken = [one.take() for _ in range(50)]
    for thread in threads:
        thread.join()
    taken.append(one.take())
    assert sum(each.added.get((CALLS.name, ("ada",)), 0) for each in taken) == 8000


def test_a_child_does_not_hand_over_what_its_parent_counted(counted: Tally) -> None:
    counted.count(CALLS, "ada")
    child = os.fork()
    if child == 0:
        os._exit(int(bool(tally.take().added)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counted.take().added == {(CALLS.name, ("ada",)): 1}


def test_the_page_shows_both_processes(client: Client, clock: FrozenClock) -> None:
    for status in ("200", "200", "503"):
        add({(middleware.REQUESTS.name, ("native", "GET", status)): 1.0}, now=clock.now())
    page = client.get("/metrics").content.decode()
    line = 'darkroom_http_requests_total{dialect="native",method="GET",status="%s"} %s'
    assert line % (200, 2.0) in page and line % (503, 1.0) in page


def test_buckets_are_shown_with_all_below(client: Client, clock: FrozenClock, counted: Tally) -> None:
    for seconds in (0.004, 0.005, 0.3, 500.0):
        counted.observe(middleware.DURATION, seconds, "native")
    flush("web:1")
    page = client.get("/metrics").content.decode()
    start = 'darkroom_http_request_duration_seconds_bucket{dialect="native",le="'
    shown = dict(
        line.removeprefix(start).split('"} ') for line in page.splitlines() if line.startswith(start)
    )
    assert {bound: float(count) for bound, count in shown.items()} == {
        **dict.fromkeys(("0.005", "0.01", "0.025", "0.05", "0.1", "0.25"), 2),
        **dict.fromkeys(("0.5", "1", "2.5", "5", "10", "30", "120"), 3),
        "+Inf": 4,
    }
    assert 'darkroom_http_request_duration_seconds_count{dialect="native"} 4.0' in page
    assert 'darkroom_http_request_duration_seconds_sum{dialect="native"} 500.309' in page


def test_series_of_another_version_are_left_alone(client: Client, clock: FrozenClock) -> None:
    add({("darkroom_of_tomorrow_total", ("x", "y")): 1.0}, now=clock.now())
    assert "tomorrow" not in client.get("/metrics").content.decode()


@pytest.mark.parametrize(
    ("path", "method", "answer", "counts"),
    [
        ("/v1/jobs", "GET", HttpResponse(), [("native", "GET", "200")]),
        ("/v1/images/generations", "POST", HttpResponse(), [("openai", "POST", "200")]),
        ("/api/v6/images/text2img", "POST", HttpResponse(), [("modelslab", "POST", "200")]),
        ("/sdapi/v1/txt2img", "BREW", HttpResponse(status=404), [("a1111", "other", "404")]),
        ("/docs", "GET", HttpResponse(), [("pages", "GET", "200")]),
        (
            "/v1/jobs",
            "POST",
            JsonResponse({"code": "queue_full"}, status=429, content_type="application/problem+json"),
            [("native", "POST", "429"), ("native", "queue_full")],
        ),
        (
            "/api/v6/images/text2img",
            "POST",
            HttpResponse(headers={"X-Darkroom-Error": "daily_quota_exhausted"}),
            [("modelslab", "POST", "200"), ("modelslab", "daily_quota_exhausted")],
        ),
    ],
)
def test_requests_are_counted_by_dialect_and_refusal(
    counted: Tally, path: str, method: str, answer: HttpResponse, counts: list[Any]
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return answer

    HttpCountersMiddleware(view)(RequestFactory().generic(method, path))
    added = counted.take().added
    names = {middleware.REQUESTS.name, middleware.REFUSED.name}
    assert sorted(labels for name, labels in added if name in names) == sorted(counts)
    assert added[middleware.DURATION.sum_name, (counts[0][0],)] > 0


def test_a_view_that_breaks_leaves_nothing_in_progress(counted: Tally) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        HttpCountersMiddleware(view)(RequestFactory().get("/v1/jobs"))
    [(key, value)] = counted.take().present.items()
    assert (key[0], value) == (middleware.PRESENT.name, 0)


def test_a_gauge_of_an_old_measure_stays_until_it_is_measured_again(clock: FrozenClock) -> None:
    tasks.measure()
    clock.advance(hours=30)
    tasks.prune()
    names = {name for name, _ in stored(clock)}
    assert "darkroom_artifacts" in names
    assert clock.advance(seconds=0) - timedelta(hours=30) < clock.now()
