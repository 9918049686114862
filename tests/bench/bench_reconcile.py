"""The books of a day with 1,000,000 pay-as-you-go usage events of 200 tenants against Stripe's.

Regime: a database of its own on the server that DATABASE_URL names, migrated and filled (dropped at the
end); a fake Stripe in this process, which the real client asks over HTTP on this machine. The usage is put
into batches four times a day, as the schedule does more often, and told to the meter. Filling, telling and
VACUUM ANALYZE are not counted. The comparison must find nothing, and then a single micro-dollar that is
taken away.

- collecting: usage events into batches, 250,000 new ones at a time
- comparing: the whole of `manage.py stripe reconcile`, 200 questions to the meter included
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from tests.bench.bench_catalog import own_database
from tests.bench.reporting import Rounds, publish, read_arguments

EVENTS: Final = 1_000_000
TENANTS: Final = 200
TURNS: Final = 4
DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)

FILL = """
INSERT INTO billing_usageevent (job_id, account_id, day, calls, images, pixels, checkpoint, kind, funding,
                                price_micro, price_book_version, at)
SELECT %(first)s + number, (%(accounts)s::bigint[])[1 + number %% %(tenants)s], %(day)s, 1, 1, 1048576,
       'tiny', 'txt2img', 'pay_as_you_go', 2000 + number %% 7, 1, %(at)s
  FROM generate_series(1, %(count)s) AS number
"""


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, events=EVENTS, tenants=TENANTS)
    from tests.fake_stripe.server import fake_stripe

    with own_database(), fake_stripe() as fake:
        prepare(fake.url, fake.secret_key)
        collecting = Rounds("collecting, 1,000,000 events", "s")
        comparing = Rounds("comparing", "s", "<= 60 for 1,000,000")
        collecting.values.append(fill(arguments.events, arguments.tenants))
        # Sums of meters lag behind what they are told.
        fake.advance(hours=1)
        for _ in range(arguments.rounds):
            comparing.values.append(compare(difference=0))
        spoil()
        compare(difference=2)
        publish(
            "reconcile",
            [collecting, comparing],
            settings={"events": arguments.events, "tenants": arguments.tenants, "rounds": arguments.rounds},
            details={},
            target=arguments.json,
        )


def prepare(url: str, secret_key: str) -> None:
    """Migrate, with the fake behind the payments."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ |= {
        "DARKROOM_LOG_LEVEL": "ERROR",
        "DARKROOM_STRIPE_API_BASE": url,
        "DARKROOM_STRIPE_SECRET_KEY": secret_key,
    }
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def fill(events: int, tenants: int) -> float:
    """Usage, batches and what the meter has counted; seconds spent on putting it into batches."""
    from django.db import connection

    from apps.payments.metering import collect_usage, send_due_batches
    from apps.payments.models import MeterBatch

    accounts = make_customers(tenants)
    spent_s = 0.0
    for turn in range(TURNS):
        now = DAY + timedelta(hours=6 * turn + 3)
        with connection.cursor() as cursor:
            count = events // TURNS
            cursor.execute(
                FILL,
                {
                    "first": turn * count,
                    "count": count,
                    "accounts": accounts,
                    "tenants": tenants,
                    "day": DAY.date(),
                    "at": now,
                },
            )
            cursor.execute("VACUUM ANALYZE")
        started = time.monotonic()
        collected = collect_usage(now=now)
        spent_s += time.monotonic() - started
        if collected != count:
            raise SystemExit(f"{collected} of {count} events came into batches")
        print(f"turn {turn}: {collected} events collected", file=sys.stderr)
        while send_due_batches(now=now):
            pass
    if MeterBatch.objects.exclude(state="sent").exists():
        raise SystemExit("not every batch was told to the meter")
    return spent_s


def make_customers(tenants: int) -> list[int]:
    """Accounts that are customers at Stripe; their ids."""
    from apps.payments.calls.catalogue import ensure_meter
    from apps.payments.connection import open_api
    from apps.payments.customers import ensure_customer
    from tests.factories import make_account

    api = open_api()
    ensure_meter(api)
    accounts = [make_account(f"tenant-{number}-{uuid4().hex[:6]}", now=DAY) for number in range(tenants)]
    for account in accounts:
        ensure_customer(api, account=account, now=DAY)
    return [account.pk for account in accounts]


def compare(*, difference: int) -> float:
    """Seconds; ends the benchmark when the books differ by anything else."""
    from apps.payments.reconcile import reconcile

    started = time.monotonic()
    report = reconcile(day=DAY.date(), now=DAY + timedelta(days=1, hours=3))
    spent_s = time.monotonic() - started
    if report.difference_micro != difference:
        raise SystemExit(f"the books differ by {report.difference_micro}, not {difference}: {report.lines}")
    return spent_s


def spoil() -> None:
    """A micro-dollar disappears from a batch: from the usage it holds, and from the meter's."""
    from apps.payments.models import MeterBatch

    batch = MeterBatch.objects.order_by("pk").first()
    if batch is None:
        raise SystemExit("there is no batch")
    MeterBatch.objects.filter(pk=batch.pk).update(value_micro=batch.value_micro - 1)


if __name__ == "__main__":
    main()
