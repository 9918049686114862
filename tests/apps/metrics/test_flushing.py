"""Several processes hand over at once, on real commits: nothing is lost, and nobody waits in a circle."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import Error, connection

from apps.core import clock
from apps.core.counters import Tally, counter
from apps.core.flushing import MEMORY, Flusher, process_name
from apps.metrics.storing import list_stored, store_taken

NAMES = [f"who-{number}" for number in range(20)]
CALLS = counter("darkroom_test_calls_total", "Calls.", "who")
ROUNDS = 30

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    connection.close()


def test_those_who_hand_over_at_once_lose_nothing() -> None:
    failures: list[Error] = []

    def hand_over(names: list[str]) -> None:
        try:
            for _ in range(ROUNDS):
                mine = Tally()
                for name in names:
                    mine.count(CALLS, name)
                store_taken(mine.take(), "web")
        except Error as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=hand_over, args=[order]) for order in (NAMES, NAMES[::-1], NAMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row.value for row in list_stored(now=clock.now())] == [3 * ROUNDS] * len(NAMES)


def test_a_thread_hands_over_for_as_long_as_its_process_lives(counted: Tally) -> None:
    flusher = Flusher("web", every_s=60.0)
    flusher.start()
    counted.count(CALLS, "ada")
    flusher.stop()
    found = {(row.series, row.labels): row.value for row in list_stored(now=clock.now())}
    assert found[CALLS.name, ("ada",)] == 1
    assert found[MEMORY.name, ("web", process_name())] > 10**6
