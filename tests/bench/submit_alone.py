"""The baselines of `bench_submit`, inside the appliance's environment: rates of one process without HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

SECONDS = 2.0


def per_minute(act: Callable[[], object]) -> float:
    """How often `act` can be done, one after another."""
    for _ in range(5):
        act()
    count = 0
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        act()
        count += 1
    return count / (time.monotonic() - started) * 60


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    from django.db import transaction

    from apps.accounts.models import Account
    from apps.apikeys.models import ApiKey
    from apps.audit.services import record
    from apps.core.clock import now
    from apps.generation.request import GenerationRequest
    from apps.generation.services import submit_generation
    from tests.harness.seed import CHECKPOINT

    account = Account.objects.get(slug="studio-0")
    key = ApiKey.objects.get(account=account)
    request = GenerationRequest(prompt="a lighthouse", checkpoint=CHECKPOINT, width=64, height=64, steps=1)

    def submit() -> None:
        submit_generation(
            account=account, api_key=key, request=request, client_options={}, track_id=None, now=now()
        )

    def insert() -> None:
        with transaction.atomic(durable=True):
            record("bench.inserted", actor=account.ref, subject=account.ref, now=now())

    print(json.dumps({"submit_per_minute": per_minute(submit), "insert_per_minute": per_minute(insert)}))


if __name__ == "__main__":
    main()
