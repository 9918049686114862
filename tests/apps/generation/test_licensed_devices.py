"""A licence for one device: the second one lives, takes no jobs and says why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client

from apps.generation.licensed import workers_beyond_licence
from apps.generation.models import GpuWorker
from apps.generation.workers import register_worker
from apps.plans.models import Licence
from tests.apps.generation.paying import publish_prices
from tests.cast import Cast
from tests.clocks import FrozenClock

FIRST, SECOND = "host/cuda:0", "host/cuda:1"


@pytest.fixture
def workers(cast: Cast, clock: FrozenClock) -> None:
    """Two live ones, in the order in which they were first seen."""
    for name in (FIRST, SECOND):
        register_worker(name=name, now=clock.now())
    GpuWorker.objects.update(state="ready")


def license_devices(cast: Cast, clock: FrozenClock, devices: int | None) -> None:
    Licence.objects.create(
        number="DR-1",
        customer="Ada",
        plan=cast.plan,
        devices=devices,
        valid_from=clock.now(),
        valid_until=clock.now() + timedelta(days=365),
        document="{}",
        installed_at=clock.now(),
    )


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("devices", ["no licence", None, 2])
def test_within_the_licence_all_work(cast: Cast, clock: FrozenClock, devices: int | str | None) -> None:
    if not isinstance(devices, str):
        license_devices(cast, clock, devices)
    assert workers_beyond_licence(now=clock.now()) == {}


@pytest.mark.usefixtures("workers")
def test_the_device_beyond_the_licence_says_so_in_health_and_console(cast: Cast, clock: FrozenClock) -> None:
    license_devices(cast, clock, 1)
    publish_prices()
    refusal = "the licence covers no more devices than 1, and others were here first: this one takes no jobs"
    assert workers_beyond_licence(now=clock.now()) == {SECOND: refusal}
    assert Client().get("/readyz").json()["checks"]["gpu_worker"]["state"] == "ready"
    GpuWorker.objects.filter(name=FIRST).update(state="draining")
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["gpu_worker"]["reason"]) == (503, refusal)
    console = Client()
    console.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    assert refusal in console.get("/console/").content.decode()


@pytest.mark.usefixtures("workers")
def test_a_silent_device_makes_room(cast: Cast, clock: FrozenClock) -> None:
    license_devices(cast, clock, 1)
    clock.advance(seconds=settings.LEASE_S)
    GpuWorker.objects.filter(name=SECOND).update(heartbeat_at=clock.now())
    assert workers_beyond_licence(now=clock.now()) == {}
    GpuWorker.objects.filter(name=FIRST).update(heartbeat_at=clock.now())
    assert set(workers_beyond_licence(now=clock.now())) == {SECOND}
