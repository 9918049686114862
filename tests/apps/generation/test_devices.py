"""A device that is kept for one account: nobody else's jobs run there, and theirs nowhere else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core.errors import Conflict
from apps.generation.devices import (
    KeptDevice,
    give_back_unentitled,
    give_device_back,
    keep_device,
    kept_devices,
)
from apps.generation.lifecycle import reap_expired
from apps.generation.models import DedicatedDevice, GpuWorker
from apps.generation.selectors import estimate_s, queue_position
from apps.plans.models import Contract
from tests.apps.generation.studio import OTHER_WORKER, WORKER, Studio, claim, states, usage
from tests.cast import Cast
from tests.clocks import FrozenClock


def worker_row(clock: FrozenClock, name: str = WORKER, **fields: Any) -> GpuWorker:
    rest = {
        "host": "host",
        "pid": 1,
        "state": "ready",
        "started_at": clock.now(),
        "heartbeat_at": clock.now(),
    }
    return GpuWorker.objects.create(name=name, **rest | fields)


def agree(account: Account, clock: FrozenClock, **limits: Any) -> Contract:
    return Contract.objects.create(
        account=account,
        name="C-1",
        limits={"dedicated_device": True} | limits,
        starts_at=clock.now(),
        created_at=clock.now(),
    )


def keep(account: Account, clock: FrozenClock, worker: GpuWorker | None = None) -> DedicatedDevice:
    agree(account, clock)
    return keep_device(account=account, worker=worker or worker_row(clock), actor=SYSTEM, now=clock.now())


def test_a_kept_device_runs_one_accounts_jobs_and_no_other_device_does(
    studio: Studio, clock: FrozenClock
) -> None:
    keep(studio.account, clock)
    ours, theirs = studio.submit(), studio.submit(by_stranger=True)
    assert claim(OTHER_WORKER) == [theirs]
    assert claim(WORKER) == [ours]
    assert AuditEvent.objects.filter(name="generation.device.kept", account_id=studio.account.pk).count() == 1


def test_while_the_device_is_away_jobs_wait_and_their_account_is_told(
    studio: Studio, clock: FrozenClock
) -> None:
    keep(studio.account, clock)
    assert kept_devices(account=studio.account, now=clock.now()) == [KeptDevice(name=WORKER, is_online=True)]
    job = studio.submit()
    clock.advance(seconds=60)
    assert claim(OTHER_WORKER) == []
    reap_expired(actor=SYSTEM, now=clock.now())
    assert states(job) == ["queued"]
    assert kept_devices(account=studio.account, now=clock.now()) == [KeptDevice(name=WORKER, is_online=False)]
    # It is back.
    assert claim(WORKER) == [job]


def test_a_job_that_waited_too_long_for_its_device_gives_its_call_back(
    studio: Studio, clock: FrozenClock
) -> None:
    keep(studio.account, clock)
    job = studio.submit()
    clock.advance(seconds=int((job.deadline_at - clock.now()).total_seconds()) + 1)
    reap_expired(actor=SYSTEM, now=clock.now())
    assert states(job) == ["expired"]
    assert usage(studio.account) == (0, 0)


def test_a_device_given_back_runs_everybodys_jobs(studio: Studio, clock: FrozenClock) -> None:
    device = keep(studio.account, clock)
    ours, theirs = studio.submit(), studio.submit(by_stranger=True)
    assert give_device_back(device=device, actor=SYSTEM, now=clock.now())
    assert not give_device_back(device=device, actor=SYSTEM, now=clock.now())
    assert claim(OTHER_WORKER) == [ours, theirs]


def test_with_the_contract_the_device_ends(studio: Studio, clock: FrozenClock) -> None:
    keep(studio.account, clock)
    assert give_back_unentitled(actor=SYSTEM, now=clock.now()) == 0
    Contract.objects.update(ends_at=clock.now() + timedelta(seconds=1))
    clock.advance(seconds=1)
    assert give_back_unentitled(actor=SYSTEM, now=clock.now()) == 1
    assert not DedicatedDevice.objects.exists()


def test_who_has_no_contract_for_it_gets_no_device(studio: Studio, clock: FrozenClock) -> None:
    with pytest.raises(Conflict, match="has no dedicated device"):
        keep_device(account=studio.account, worker=worker_row(clock), actor=SYSTEM, now=clock.now())
    assert not DedicatedDevice.objects.exists()


def test_waiting_times_are_those_of_the_devices_that_may_run_the_job(
    studio: Studio, clock: FrozenClock
) -> None:
    keep(studio.account, clock, worker_row(clock, tflop_per_s=1.0))
    worker_row(clock, OTHER_WORKER, tflop_per_s=100.0)
    ours = studio.submit()
    theirs = studio.submit(by_stranger=True)
    assert queue_position(ours) == queue_position(theirs) == 0
    assert estimate_s(job=ours, now=clock.now()) > estimate_s(job=theirs, now=clock.now())


def test_the_console_keeps_known_devices_once_and_gives_them_back(cast: Cast, clock: FrozenClock) -> None:
    worker = worker_row(clock)
    add, overview = (reverse(f"admin:generation_dedicateddevice_{page}") for page in ("add", "changelist"))
    otto = Client()
    otto.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    for account, rows in ((cast.account, 0), (cast.account, 1), (cast.strangers_account, 1)):
        otto.post(add, {"worker": worker.pk, "account": account.pk})
        assert DedicatedDevice.objects.count() == rows
        agree(cast.account, clock)
        agree(cast.strangers_account, clock)
    assert otto.get(overview).status_code == otto.get(add).status_code == 200
    otto.post(add, {"worker": worker.pk + 1, "account": cast.account.pk})
    assert DedicatedDevice.objects.get().account == cast.account
    otto.post(overview, {"action": "give_back", "_selected_action": [DedicatedDevice.objects.get().pk]})
    assert not DedicatedDevice.objects.exists()
