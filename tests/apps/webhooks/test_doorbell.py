"""Whoever queues a delivery wakes a deliverer, once; nobody rings for what was rolled back."""

from __future__ import annotations

import pytest
from django_q.models import OrmQ

from apps.config.management.commands.install_schedules import SCHEDULES
from apps.core.listen import Listener
from apps.webhooks import tasks
from apps.webhooks.doorbell import CHANNEL, DELIVER_TASK, MAX_UNHEARD, TURN_LOCK, is_at_work
from tests.apps.webhooks.conftest import PostOffice, reread


def rung() -> list[str]:
    """Tasks that wait in housekeeping's queue."""
    return [row.task["func"] for row in OrmQ.objects.filter(key="default")]


def test_a_delivery_rings_for_housekeeping(office: PostOffice) -> None:
    office.queue()
    assert rung() == [DELIVER_TASK]


def test_whoever_is_at_work_is_told_instead(office: PostOffice) -> None:
    with Listener([CHANNEL]) as listener:
        assert listener.try_lock(TURN_LOCK)
        assert is_at_work()
        office.queue()
        assert listener.wait(5.0) == ["due"]
        listener.unlock(TURN_LOCK)
        assert not is_at_work()
    assert rung() == []


def test_a_queue_that_nobody_empties_does_not_grow(office: PostOffice) -> None:
    for _ in range(MAX_UNHEARD + 5):
        office.queue()
    assert len(rung()) == MAX_UNHEARD


def test_the_task_delivers_and_is_due_every_minute(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "run_deliverer", office.deliver)
    queued = office.queue()
    assert tasks.deliver() == 1
    assert reread(queued).state == "delivered"
    assert SCHEDULES[DELIVER_TASK] == 1
