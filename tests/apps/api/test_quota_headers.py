from __future__ import annotations

import pytest
from django.db import transaction

from apps.api import quota_headers as module
from apps.api.quota_headers import quota_headers
from apps.plans.entitlements import UNLIMITED
from apps.quotas.services import reserve_calls
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan

DAY = {
    "RateLimit-Policy": '"calls";q=10;w=86400',
    "RateLimit": '"calls";r=9;t=43200',
    "X-RateLimit-Limit": "10",
    "X-RateLimit-Remaining": "9",
    "X-RateLimit-Reset": "43200",
}
MONTH = {
    "RateLimit-Policy": '"month";q=100;w=2678400',
    "RateLimit": '"month";r=99;t=2548800',
    "X-RateLimit-Limit": "100",
    "X-RateLimit-Remaining": "99",
    "X-RateLimit-Reset": "2548800",
}
BOTH = {
    "RateLimit-Policy": '"calls";q=10;w=86400, "month";q=100;w=2678400',
    "RateLimit": '"calls";r=9;t=43200, "month";r=99;t=2548800',
}


@pytest.mark.parametrize(
    ("day", "month", "expected"),
    [
        (10, "unlimited", DAY),
        ("unlimited", 100, MONTH),
        (10, 100, DAY | BOTH),
        (
            10,
            5,
            MONTH
            | {
                "RateLimit-Policy": '"calls";q=10;w=86400, "month";q=5;w=2678400',
                "RateLimit": '"calls";r=9;t=43200, "month";r=4;t=2548800',
                "X-RateLimit-Limit": "5",
                "X-RateLimit-Remaining": "4",
            },
        ),
        ("unlimited", "unlimited", {}),
    ],
)
def test_headers_say_what_is_left_of_the_day_and_the_month(
    cast: Cast, clock: FrozenClock, day: int | str, month: int | str, expected: dict[str, str]
) -> None:
    module._remembered_entitlements.cache_clear()
    give_plan(cast.account, calls_per_day=day, calls_per_month=month)
    with transaction.atomic():
        reserve_calls(account=cast.account, count=1, limit=UNLIMITED, now=clock.now())
    assert quota_headers(cast.account, now=clock.now()) == expected
