"""`kill -9` of each part while clients keep asking: nothing is lost or done twice, and work goes on soon.

DARKROOM_DRILL_COUNT=20 makes every drill kill twenty times; the normal suite does it a few times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.drills.counting import (
    Reruns,
    assert_promises_kept,
    assert_reruns_start_soon,
    drill_count,
    kill_and_follow,
    processor_share,
    report,
    running_jobs,
    wait_all_ended,
)
from tests.drills.submitting import has_ended, submit
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.http_client import FETCH, Client
from tests.harness.load import Load
from tests.harness.waits import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    settings = {"DARKROOM_WATCHDOG_MIN_S": "3", "DJANGO_SETTINGS_MODULE": "tests.drills.short_slices"}
    with drill_folder() as folder, Appliance(folder, step_ms=40, accounts=2, settings=settings) as appliance:
        yield appliance


def drill(appliance: Appliance, name: str, kills: list[Callable[[], None]]) -> None:
    """Kill in turn, under load, and hold the appliance to its contract."""
    reruns = Reruns()
    shares = [processor_share()]
    with Load(appliance) as load:
        for kill in kills:
            kill_and_follow(appliance, kill, reruns)
            wait_until(partial(load.has_heard, len(load.ledger.ids) + 6), what="answers after the kill")
    assert_promises_kept(appliance, load.ledger)
    report(name, appliance, load.ledger, reruns)
    shares.append(processor_share())
    assert_reruns_start_soon(reruns, share=min(shares))


def test_killed_pump(appliance: Appliance) -> None:
    drill(appliance, "pump", [appliance.kill_pump] * drill_count(2))


def test_killed_gpu_cluster(appliance: Appliance) -> None:
    drill(appliance, "gpu cluster", [appliance.kill_gpu_cluster] * drill_count(1))


def test_killed_web_worker(appliance: Appliance) -> None:
    drill(appliance, "web worker", [appliance.kill_web_worker] * drill_count(2))


def test_killed_web_master(appliance: Appliance) -> None:
    drill(appliance, "web master", [appliance.kill_web] * drill_count(1))


def test_killed_postgres(appliance: Appliance) -> None:
    kinds = [appliance.kill_postgres, appliance.kill_postmaster, appliance.kill_backend]
    count = drill_count(3)
    drill(appliance, "postgres", [kinds[number % len(kinds)] for number in range(count)])


def test_poison_is_quarantined_and_its_neighbours_succeed(appliance: Appliance) -> None:
    wait_all_ended(appliance)
    with Client(appliance.port, key=appliance.keys[0]) as client:
        ids = [submit(client, f"a harbour {number}") for number in range(4)]
        poison = submit(client, "[fault:crash@3]")
    wait_until(lambda: has_ended(appliance, [*ids, poison]), what="five ends")
    rows = dict(
        appliance.query("SELECT id, state FROM generation_generationjob WHERE id = ANY(%s)", [[*ids, poison]])
    )
    assert rows.pop(poison) == "quarantined"
    assert set(rows.values()) == {"succeeded"}
    assert appliance.query("SELECT crashes FROM generation_generationjob WHERE id = %s", [poison]) == [(2,)]
    assert appliance.invariants() == []


def test_hung_step_is_ended_by_the_watchdog(appliance: Appliance) -> None:
    wait_all_ended(appliance)
    with Client(appliance.port, key=appliance.keys[0]) as client:
        hung = submit(client, "[fault:hang@2]")
        neighbour = submit(client, "a mill")
        wait_until(lambda: has_ended(appliance, [hung, neighbour]), what="two ends")
        answer = client.post(f"{FETCH}/{hung}", {}).json()
    assert answer["status"] == "error"
    states = appliance.query(
        "SELECT state, error_code FROM generation_generationjob WHERE id = ANY(%s) ORDER BY id",
        [[hung, neighbour]],
    )
    assert states == [("quarantined", "worker_hung"), ("succeeded", "")]
    assert "no tick completed in time" in appliance.logs("gpu-cpu")
    assert running_jobs(appliance) == []
