"""One round of `bench_claim`, inside the appliance's environment: prints the milliseconds as JSON."""

from __future__ import annotations

import json
import os
import random
import sys
import time

WARM_UP = 5
LARGEST_PAUSE_S = 0.05


def main(jobs: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    from apps.accounts.models import Account
    from apps.apikeys.models import ApiKey
    from apps.core.clock import now
    from apps.core.db import notify
    from apps.core.listen import Listener
    from apps.generation.models import GenerationJob
    from apps.generation.request import GenerationRequest
    from apps.generation.services import submit_generation
    from apps.generation.waiting import wait_for_job
    from tests.harness.seed import CHECKPOINT

    account = Account.objects.get(slug="studio-0")
    key = ApiKey.objects.get(account=account)
    request = GenerationRequest(prompt="a lighthouse", checkpoint=CHECKPOINT, width=64, height=64, steps=1)

    def measure() -> tuple[float, float]:
        job = submit_generation(
            account=account, api_key=key, request=request, client_options={}, track_id=None, now=now()
        )
        committed = now()
        wait_for_job(job, timeout_s=30)
        job = GenerationJob.objects.get(pk=job.pk)
        assert job.claimed_at is not None
        claimed = job.claimed_at
        return (
            (claimed - committed).total_seconds() * 1000,
            (claimed - job.queued_at).total_seconds() * 1000,
        )

    def pause() -> None:
        time.sleep(random.uniform(0, LARGEST_PAUSE_S))

    for _ in range(WARM_UP):
        measure()
    pairs = []
    for _ in range(jobs):
        pause()
        pairs.append(measure())
    notify_ms = []
    with Listener(["bench"]) as listener:
        for _ in range(jobs):
            started = time.perf_counter()
            notify("bench", "x")
            listener.wait(5)
            notify_ms.append((time.perf_counter() - started) * 1000)
    print(
        json.dumps(
            {
                # Negative when the worker was faster than the submitter's own return from COMMIT.
                "from_commit_ms": [max(0.0, pair[0]) for pair in pairs],
                "from_queued_ms": [pair[1] for pair in pairs],
                "notify_ms": notify_ms,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
