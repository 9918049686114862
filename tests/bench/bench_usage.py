"""Usage of 1,000,000 events of one account: how long a report, an export and `GET /v1/usage` take.

Regime: a database of its own (see bench_catalog), migrated, and filled with 10,000 events a statement;
one account has all of them over 365 days, with 4 keys, 5 models, 3 kinds and 2 fundings, every combination of
them on every day. Filling and VACUUM ANALYZE are not counted. One request at a time.

- report: `billing.usage.usage_report`, what pages draw; of 30 days, and of the whole year
- GET /v1/usage: through Django's test client, without a socket
- lines: `usage_lines` of 30 days, what an export writes
- events (baseline): the same year summed from the events themselves
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final

from tests.bench.bench_catalog import own_database
from tests.bench.reporting import Rounds, publish, read_arguments

EVENTS: Final = 1_000_000
BATCH: Final = 10_000
DAYS: Final = 365
TARGET: Final = "<= 100"
FILL: Final = """
INSERT INTO billing_usageevent (job_id, account_id, api_key_id, day, calls, images, pixels, checkpoint, kind,
                                funding, price_micro, at)
SELECT n, %(account)s, (%(keys)s::bigint[])[1 + floor(random() * 4)], drawn.day, 1, 1, 262144,
       'model-' || floor(random() * 5), 'kind-' || floor(random() * 3),
       (ARRAY['wallet', 'promo'])[1 + floor(random() * 2)], 2000, drawn.day
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
       LATERAL (SELECT %(today)s::date - (n %% %(days)s)::int AS day) AS drawn
"""
FROM_EVENTS: Final = """
SELECT day, count(*), sum(price_micro) FROM billing_usageevent WHERE account_id = %s GROUP BY 1
"""


def main() -> None:
    arguments = read_arguments(__doc__, rounds=20, events=EVENTS)
    with own_database():
        kinds = prepare(arguments.events)
        figures = []
        for name, act in kinds.items():
            figure = Rounds(name, "ms", "" if "baseline" in name else TARGET)
            act()
            figure.values = [took_ms(act) for _ in range(arguments.rounds)]
            figures.append(figure)
        publish(
            "usage",
            figures,
            settings={"events": arguments.events, "rounds": arguments.rounds, "days": DAYS},
            details={"rows": counts()},
            target=arguments.json,
        )


def took_ms(act: Callable[[], object]) -> float:
    started = time.monotonic()
    act()
    return (time.monotonic() - started) * 1000


def prepare(events: int) -> dict[str, Callable[[], Any]]:
    """Migrate and fill; what is measured, by name."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ["DARKROOM_LOG_LEVEL"] = "ERROR"
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from apps.billing.usage import usage_lines, usage_report
    from apps.core.clock import now
    from tests.apps.api.client import ApiClient
    from tests.factories import make_account, make_key, make_plan

    call_command("migrate", verbosity=0)
    make_plan(included_calls_per_month=0)
    account = make_account("mine")
    issued = [make_key(account) for _ in range(4)]
    today = now().date()
    started = time.monotonic()
    with connection.cursor() as cursor:
        for first in range(1, events + 1, BATCH):
            last = min(first + BATCH - 1, events)
            given: dict[str, Any] = {
                "account": account.pk,
                "keys": [each.key.pk for each in issued],
                "today": today,
            }
            cursor.execute(FILL, given | {"first": first, "last": last, "days": DAYS})
        cursor.execute("VACUUM ANALYZE")
    print(f"{events} events in {time.monotonic() - started:.0f} s", file=sys.stderr)
    client = ApiClient(issued[0].plaintext)

    def ago(days: int) -> date:
        return today - timedelta(days=days)

    def from_events() -> None:
        with connection.cursor() as cursor:
            cursor.execute(FROM_EVENTS, [account.pk])
            cursor.fetchall()

    def get_usage() -> None:
        assert client.get("/v1/usage").status_code == 200

    return {
        "report of 30 days": lambda: usage_report(account=account, first=ago(29), last=today),
        "report of 365 days": lambda: usage_report(account=account, first=ago(DAYS - 1), last=today),
        "GET /v1/usage": get_usage,
        "lines of 30 days": lambda: usage_lines(account=account, first=ago(29), last=today),
        "365 days from the events (baseline)": from_events,
    }


def counts() -> dict[str, int]:
    """Rows of both tables."""
    from apps.billing.models import UsageDay, UsageEvent

    return {"events": UsageEvent.objects.count(), "days": UsageDay.objects.count()}


if __name__ == "__main__":
    main()
