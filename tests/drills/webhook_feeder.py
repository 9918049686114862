"""`python -m tests.drills.webhook_feeder URL PATHS`: queues events, one transaction each, as ending jobs do.

Runs in the appliance's environment. Reads one number a line, queues as many events for its accounts in turn
and for so many paths of the receiver, and answers with a JSON line: their ids. First it says which secrets it
made for the accounts.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from itertools import count


def main(url: str, paths: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.drills.webhook_settings")
    import django

    django.setup()
    from django.db import transaction

    from apps.accounts.models import Account
    from apps.audit.refs import SYSTEM
    from apps.core.clock import now
    from apps.webhooks.secrets import rotate_secret
    from apps.webhooks.services import queue_delivery
    from apps.webhooks.wishes import WebhookWish

    accounts = list(Account.objects.order_by("pk"))
    secrets = {
        account.slug: rotate_secret(account=account, overlap=timedelta(0), actor=SYSTEM, now=now()).text
        for account in accounts
    }
    _say(secrets)
    numbers = count()
    for line in sys.stdin:
        ids = []
        for number, _ in zip(numbers, range(int(line)), strict=False):
            account = accounts[number % len(accounts)]
            wish = WebhookWish(url=f"{url}/{account.slug}/{number % paths}?event={number}", dialect="test")
            with transaction.atomic(durable=True):
                delivery = queue_delivery(
                    account_id=account.pk,
                    job_id=None,
                    event="webhook.test",
                    target=wish.target,
                    expires_at=now() + timedelta(days=1),
                    now=now(),
                )
            ids.append(delivery.event_id)
        _say(ids)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
