from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from apps.audit.append_only import AppendOnly
from apps.billing.models import UsageEvent
from apps.billing.services import record_usage
from apps.core.db import NotInTransaction
from tests.cast import Cast
from tests.clocks import FrozenClock


def _record(cast: Cast, clock: FrozenClock, **change: Any) -> UsageEvent:
    values: dict[str, Any] = {
        "job_id": 1,
        "account_id": cast.account.pk,
        "api_key_id": cast.key.pk,
        "day": date(2026, 3, 2),
        "calls": 1,
        "images": 2,
        "pixels": 2 * 512 * 512,
        "checkpoint": "tiny",
        "now": clock.now(),
    }
    with transaction.atomic():
        return record_usage(**(values | change))


def test_a_delivered_job_is_one_event(cast: Cast, clock: FrozenClock) -> None:
    _record(cast, clock)
    event = UsageEvent.objects.get()
    assert (event.job_id, event.account, event.api_key, event.images, event.pixels, event.at) == (
        1,
        cast.account,
        cast.key,
        2,
        524288,
        clock.now(),
    )


def test_a_job_cannot_be_charged_twice(cast: Cast, clock: FrozenClock) -> None:
    _record(cast, clock)
    with pytest.raises(IntegrityError):
        _record(cast, clock, images=1)
    assert UsageEvent.objects.get().images == 2


def test_nothing_called_is_nothing_to_charge(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(IntegrityError):
        _record(cast, clock, calls=0)
    assert UsageEvent.objects.count() == 0


def test_a_call_without_images_is_one_all_the_same(cast: Cast, clock: FrozenClock) -> None:
    _record(cast, clock, images=0, pixels=0)
    assert UsageEvent.objects.get().calls == 1


def test_events_cannot_be_changed(cast: Cast, clock: FrozenClock) -> None:
    event = _record(cast, clock)
    with pytest.raises(AppendOnly):
        event.save()
    with pytest.raises(AppendOnly):
        UsageEvent.objects.update(images=0)
    for sql in ("UPDATE billing_usageevent SET images = 1", "DELETE FROM billing_usageevent"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    assert UsageEvent.objects.get().images == 2


@pytest.mark.django_db(transaction=True)
def test_recording_needs_a_transaction(clock: FrozenClock) -> None:
    with pytest.raises(NotInTransaction):
        record_usage(
            job_id=1,
            account_id=1,
            api_key_id=None,
            day=date(2026, 3, 2),
            calls=1,
            images=1,
            pixels=1,
            checkpoint="tiny",
            now=clock.now(),
        )
