"""Leases of imports: one runner at a time, and what becomes of those that fall silent."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ

from apps.audit.refs import SYSTEM
from apps.catalog.choices import ImportPhase
from apps.catalog.imports import lifecycle, tasks
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.lifecycle import (
    MAX_ATTEMPTS,
    LeaseLost,
    Snapshot,
    claim_import,
    lease_of,
    reap_expired,
)
from apps.catalog.imports.secrets import find_token
from apps.catalog.imports.services import cancel_import
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core.listen import Listener
from tests.apps.catalog.imports.studio import OPERATOR, WORKER, hub, submit, trail
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

pytestmark = pytest.mark.django_db
REAL_COMMITS = pytest.mark.django_db(transaction=True)

HALF = Snapshot(
    phase=ImportPhase.DOWNLOADING,
    bytes_done=50,
    bytes_total=100,
    speed_bps=10.0,
    files_done=1,
    files_total=2,
)


def claim(clock: FrozenClock, worker: str = "imports a:1") -> ModelImport:
    row = claim_import(worker=worker, now=clock.now())
    assert row is not None
    return row


def test_the_oldest_import_is_claimed_first_and_once(clock: FrozenClock) -> None:
    first, second = submit(hub("lab/one")), submit(hub("lab/two"))
    assert claim(clock).pk == first.pk
    assert claim_import(worker="other", now=clock.now(), import_id=first.pk) is None
    row = claim(clock)
    assert (row.pk, row.state, row.attempt, row.fence, row.claimed_by) == (
        second.pk,
        "running",
        1,
        1,
        "imports a:1",
    )
    assert claim_import(worker="other", now=clock.now()) is None


@REAL_COMMITS
def test_many_runners_at_once_get_an_import_each(clock: FrozenClock) -> None:
    rows = {submit(hub(f"lab/model-{number}")).pk for number in range(8)}
    found: list[int] = []
    gate = threading.Barrier(12)

    def work() -> None:
        gate.wait()
        row = claim_import(worker="thread", now=clock.now())
        if row is not None:
            found.append(row.pk)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(rows)


def test_a_beat_writes_how_far_it_is_and_hears_of_a_cancel(clock: FrozenClock) -> None:
    submit(hub())
    row = claim(clock)
    clock.advance(seconds=3)
    assert lifecycle.beat(lease=lease_of(row), snapshot=HALF, now=clock.now()) is False
    row.refresh_from_db()
    assert (row.phase, row.bytes_done, row.bytes_total, row.files_done, row.eta_s) == (
        "downloading",
        50,
        100,
        1,
        5.0,
    )
    assert row.lease_expires_at is not None
    assert (row.lease_expires_at - clock.now()).total_seconds() == 10
    cancel_import(model_import=row, actor=OPERATOR, now=clock.now())
    assert lifecycle.beat(lease=lease_of(row), snapshot=HALF, now=clock.now()) is True


@REAL_COMMITS
def test_followers_are_told_of_news_alone(clock: FrozenClock) -> None:
    submit(hub())
    row = claim(clock)
    with Listener(["darkroom_import"]) as listener:
        lifecycle.beat(lease=lease_of(row), snapshot=HALF, now=clock.now(), is_news=False)
        assert listener.wait(0.1) == []
        lifecycle.beat(lease=lease_of(row), snapshot=HALF, now=clock.now())
        assert listener.wait(2.0) == [str(row.pk)]


def test_a_runner_whose_lease_is_gone_writes_nothing(clock: FrozenClock) -> None:
    submit(hub())
    row = claim(clock)
    clock.advance(seconds=11)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    successor = claim(clock, "imports b:2")
    before = ModelImport.objects.values().get()
    old = lease_of(row)
    with pytest.raises(LeaseLost):
        lifecycle.beat(lease=old, snapshot=HALF, now=clock.now())
    with pytest.raises(LeaseLost):
        lifecycle.fail_import(
            lease=old, failure=ImportFailure("timeout", "Too long."), worker=WORKER, now=clock.now()
        )
    with pytest.raises(LeaseLost):
        lifecycle.finish_cancel(lease=old, worker=WORKER, now=clock.now())
    with pytest.raises(LeaseLost):
        lifecycle.finish_import(
            lease=old, register=lambda: make_checkpoint("never"), worker=WORKER, now=clock.now()
        )
    assert ModelImport.objects.values().get() == before
    assert not CatalogEntry.objects.exists()
    assert lease_of(successor).fence == 2


def test_the_entry_and_the_state_are_one_transaction(clock: FrozenClock) -> None:
    submit(hub())
    row = claim(clock)

    def broken() -> CatalogEntry:
        make_checkpoint("half-way")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        lifecycle.finish_import(lease=lease_of(row), register=broken, worker=WORKER, now=clock.now())
    row.refresh_from_db()
    assert row.state == "running"
    assert not CatalogEntry.objects.exists()


def test_a_lease_lasts_until_its_last_moment(clock: FrozenClock) -> None:
    submit(hub(token="secret"))
    row = claim(clock)
    clock.advance(seconds=10)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 0
    assert reap_expired(actor=SYSTEM, now=clock.advance(microseconds=1)) == 1
    row.refresh_from_db()
    assert (row.state, row.claimed_by, row.lease_expires_at) == ("queued", "", None)
    assert find_token(row.pk) == "secret"
    assert trail(row) == ["submitted", "requeued"]


def test_an_import_that_was_to_be_canceled_ends_with_its_runner(clock: FrozenClock, model_dir: Path) -> None:
    submit(hub(token="secret"))
    row = claim(clock)
    (model_dir / "staging" / str(row.pk)).mkdir(parents=True)
    cancel_import(model_import=row, actor=OPERATOR, now=clock.now())
    reap_expired(actor=SYSTEM, now=clock.advance(seconds=11))
    row.refresh_from_db()
    assert row.state == "canceled"
    assert find_token(row.pk) == ""
    assert not (model_dir / "staging" / str(row.pk)).exists()


def test_an_import_that_always_kills_its_runner_is_given_up(clock: FrozenClock, model_dir: Path) -> None:
    row = submit(hub(token="secret"))
    (model_dir / "staging" / str(row.pk)).mkdir(parents=True)
    for _ in range(MAX_ATTEMPTS):
        claim(clock)
        reap_expired(actor=SYSTEM, now=clock.advance(seconds=11))
    row.refresh_from_db()
    assert (row.state, row.error_code) == ("failed", "import_interrupted")
    assert "ended 5 times without a result" in row.error_message
    assert find_token(row.pk) == ""
    # For the retry.
    assert (model_dir / "staging" / str(row.pk)).exists()
    assert claim_import(worker="x", now=clock.now()) is None


def test_the_reaper_rings_for_what_nobody_heard(clock: FrozenClock, settings: Any) -> None:
    row = submit(hub())
    # Taken by a cluster that has died since: locked until long after.
    OrmQ.objects.update(lock=clock.now() + timedelta(hours=25))
    taken = OrmQ.objects.get().pk
    clock.advance(seconds=30)
    tasks.reap()
    assert OrmQ.objects.count() == 1
    clock.advance(seconds=1)
    tasks.reap()
    # q2 writes the lock by its own clock, which a test does not hold.
    OrmQ.objects.exclude(pk=taken).update(lock=clock.now())
    tasks.reap()
    [ring] = OrmQ.objects.exclude(pk=taken)
    assert (ring.key, row.pk in ring.task["args"]) == ("imports", True)
