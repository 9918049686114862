from __future__ import annotations

from datetime import date
from itertools import count
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import Sum

from apps.billing.choices import Source
from apps.billing.models import UsageDay, UsageEvent
from apps.billing.services import record_usage
from apps.billing.usage import Totals, usage_lines, usage_report
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_key

MARCH_2, MARCH_3 = date(2026, 3, 2), date(2026, 3, 3)
_jobs = count(1)


def use(cast: Cast, clock: FrozenClock, **change: Any) -> None:
    values: dict[str, Any] = {
        "job_id": next(_jobs),
        "account_id": cast.account.pk,
        "api_key_id": cast.key.pk,
        "day": MARCH_2,
        "calls": 1,
        "images": 2,
        "pixels": 100,
        "checkpoint": "tiny",
        "kind": "txt2img",
        "funding": Source.WALLET,
        "price_micro": 4000,
        "now": clock.now(),
    }
    with transaction.atomic():
        record_usage(**(values | change))


def test_a_report_adds_up_by_each_dimension(cast: Cast, clock: FrozenClock) -> None:
    other = make_key(cast.account).key
    use(cast, clock)
    use(cast, clock, checkpoint="large", api_key_id=other.pk)
    use(cast, clock, day=MARCH_3, kind="upscale", checkpoint="", funding=Source.PLAN, price_micro=0)
    use(cast, clock, api_key_id=None, price_micro=1)
    use(cast, clock, account_id=cast.strangers_account.pk, api_key_id=cast.strangers_key.pk)
    use(cast, clock, day=date(2026, 3, 4))

    report = usage_report(account=cast.account, first=MARCH_2, last=MARCH_3)

    assert report.total == Totals(calls=4, images=8, pixels=400, price_micro=8001)
    assert {day: totals.calls for day, totals in report.by_day.items()} == {MARCH_2: 3, MARCH_3: 1}
    assert {key: totals.price_micro for key, totals in report.by_key.items()} == {
        cast.key.pk: 4000,
        other.pk: 4000,
        None: 1,
    }
    assert {name: totals.calls for name, totals in report.by_model.items()} == {"": 1, "large": 1, "tiny": 2}
    assert {name: totals.images for name, totals in report.by_kind.items()} == {"txt2img": 6, "upscale": 2}
    assert {name: totals.calls for name, totals in report.by_funding.items()} == {"plan": 1, "wallet": 3}


def test_a_report_may_be_of_one_key(cast: Cast, clock: FrozenClock) -> None:
    other = make_key(cast.account).key
    use(cast, clock)
    use(cast, clock, api_key_id=other.pk, images=5)

    report = usage_report(account=cast.account, first=MARCH_2, last=MARCH_3, api_key_id=other.pk)

    assert (report.total.images, list(report.by_key)) == (5, [other.pk])


def test_nothing_used_is_zero(cast: Cast) -> None:
    report = usage_report(account=cast.account, first=MARCH_2, last=MARCH_3)

    assert (report.total, report.by_day, report.by_key) == (Totals(), {}, {})


def test_a_range_ends_after_it_begins(cast: Cast) -> None:
    with pytest.raises(ValueError, match="before it begins"):
        usage_report(account=cast.account, first=MARCH_3, last=MARCH_2)


def test_lines_are_as_fine_as_days_are_kept_and_in_one_order(cast: Cast, clock: FrozenClock) -> None:
    for change in ({"kind": "upscale"}, {}, {}, {"day": MARCH_3}, {"api_key_id": None}):
        use(cast, clock, **change)

    lines = usage_lines(account=cast.account, first=MARCH_2, last=MARCH_3)

    found = [(line.day, line.api_key_id, line.kind, line.totals.calls) for line in lines]
    key = cast.key.pk
    assert found == [
        (MARCH_2, None, "txt2img", 1),
        (MARCH_2, key, "txt2img", 2),
        (MARCH_2, key, "upscale", 1),
        (MARCH_3, key, "txt2img", 1),
    ]


def test_days_add_up_to_their_events_however_those_came(cast: Cast, clock: FrozenClock) -> None:
    use(cast, clock)
    # As the version before writes them, many in one statement, and without what it does not know.
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO billing_usageevent (job_id, account_id, day, calls, images, pixels, checkpoint, at)
            SELECT 1000 + n, %s, '2026-03-02', 1, n %% 3, 7, 'tiny', now() FROM generate_series(1, 10) AS n
            """,
            [cast.account.pk],
        )

    sums = {name: Sum(name) for name in ("calls", "images", "pixels", "price_micro")}
    assert UsageDay.objects.aggregate(**sums) == UsageEvent.objects.aggregate(**sums)
    assert UsageDay.objects.count() == 2


def test_what_is_rolled_back_is_not_added_up(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        use(cast, clock)
        raise ZeroDivisionError
    assert not UsageDay.objects.exists()
