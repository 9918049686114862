"""The console's first page and `/metrics` with 1,000,000 jobs and 100,000 models: how long an answer takes.

Regime: a database of its own (see bench_catalog), migrated and filled; Django's test client, an operator
signed in: session, queries, template, but no socket. One request at a time. Of the jobs all but 2,000 have
ended, over 30 days, some within the last hour; the rest are queued, of 50 accounts. Each job that ended
within 6 days has its image, and two events in the audit log. Housekeeping has counted and measured once,
which is timed apart; then it is timed with 6,000 jobs more. Filling and VACUUM ANALYZE are not counted.

- processor ms (in the JSON document): what this process and its database backend used, mean; unlike the times
  it says something on a busy machine, too
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from tests.bench.bench_catalog import own_database, processor_s
from tests.bench.bench_usage import took_ms
from tests.bench.reporting import Rounds, publish, read_arguments

JOBS: Final = 1_000_000
MODELS: Final = 100_000
QUEUED: Final = 2_000
LATER: Final = 6_000
BATCH: Final = 20_000
DAYS: Final = 30
HOME: Final = "GET /console/"
SCRAPE: Final = "GET /metrics"
FILL_JOBS: Final = """
INSERT INTO generation_generationjob (account_id, api_key_id, checkpoint_id, kind, request, client_options,
    num_images, artifact_group, state, attempt, crashes, fence, claimed_by, priority, weight,
    is_cancel_requested, progress_step, progress_total, quota_day, funding, queued_at, deadline_at,
    claimed_at, finished_at, timings, error_code, error_message)
SELECT (%(accounts)s::bigint[])[1 + n %% 50], NULL, %(checkpoint)s,
       (ARRAY['txt2img', 'txt2img', 'txt2img', 'img2img', 'inpaint', 'upscale'])[1 + n %% 6],
       '{"prompt": "a red fox in the snow", "tier": "standard", "steps": 25}', '{}', 1, gen_random_uuid(),
       CASE WHEN drawn.ends IS NULL THEN 'queued' WHEN n %% 200 = 0 THEN 'failed'
            WHEN n %% 5000 = 1 THEN 'quarantined' ELSE 'succeeded' END,
       1, 0, 1, 'box/cuda:0', 0, 1, false, 25, 25, %(now)s::date, 'plan',
       COALESCE(drawn.ends, %(now)s) - interval '3 seconds' * (1 + n %% 7),
       %(now)s + interval '1 hour', drawn.ends - interval '2 seconds', drawn.ends, '{}', '', ''
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
       LATERAL (SELECT CASE WHEN %(is_open)s THEN NULL
                            ELSE %(from)s::timestamptz + (%(until)s::timestamptz - %(from)s::timestamptz)
                                 * ((n - %(base)s)::float8 / %(all)s) END AS ends) AS drawn
"""
FILL_ARTIFACTS: Final = """
INSERT INTO artifacts_artifact (job_id, account_id, "group", index, media_type, extension, size_bytes,
    width, height, sha256, seed, created_at, expires_at)
SELECT id, account_id, artifact_group, 0, 'image/png', 'png', 400000, 512, 512, repeat('a', 64), 1,
       finished_at, %(now)s + interval '1 day'
  FROM generation_generationjob WHERE finished_at > %(now)s - interval '6 days'
"""
FILL_AUDIT: Final = """
INSERT INTO audit_auditevent (at, name, actor_kind, actor_id, actor_label, subject_kind, subject_id,
    subject_label, account_id, request_id, data)
SELECT finished_at, 'generation.job.' || what, 'gpu_worker', '1', 'box', 'generation_job', id::text, 'job',
       account_id, '', '{}'
  FROM generation_generationjob, unnest(ARRAY['submitted', 'succeeded']) AS what
 WHERE finished_at > %(now)s - interval '6 days' ORDER BY finished_at
"""
SEAL: Final = """
INSERT INTO audit_auditlink (seq, event_id, hash)
SELECT row_number() OVER (ORDER BY id), id, repeat('0', 64) FROM audit_auditevent
"""


def main() -> None:
    arguments = read_arguments(__doc__, rounds=30, jobs=JOBS, models=MODELS)
    with own_database():
        from_start = prepare(arguments.jobs, arguments.models)
        first_count_ms, acts = from_start
        figures = []
        used: dict[str, float] = {}
        for name, (act, target) in acts.items():
            act()
            before = processor_s()
            figure = Rounds(name, "ms", target)
            figure.values = [took_ms(act) for _ in range(arguments.rounds)]
            used[name] = round((processor_s() - before) * 1000 / arguments.rounds, 2)
            figures.append(figure)
        publish(
            "console_home",
            [*figures, *housekeeping(first_count_ms, arguments.jobs)],
            settings={"jobs": arguments.jobs, "models": arguments.models, "rounds": arguments.rounds},
            details={"processor_ms": used, "rows": counts()},
            target=arguments.json,
        )


def prepare(jobs: int, models: int) -> tuple[float, dict[str, tuple[Callable[[], object], str]]]:
    """Migrate, fill, count once; how long counting took, and what is measured by name with its target."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ["DARKROOM_LOG_LEVEL"] = "ERROR"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.test import Client

    from apps.core.clock import now
    from apps.metrics import tasks
    from tests.cast import assemble_cast

    settings.ALLOWED_HOSTS = ["*"]
    call_command("migrate", verbosity=0)
    cast = assemble_cast(now=now())
    started = time.monotonic()
    fill(jobs, models, now())
    print(f"{jobs} jobs and {models} models in {time.monotonic() - started:.0f} s", file=sys.stderr)
    counted_ms = took_ms(tasks.roll_up_jobs)
    browser = Client()
    browser.force_login(cast.otto)

    def get(path: str) -> None:
        assert browser.get(path).status_code == 200

    def measure() -> None:
        tasks.measure()

    measure()
    return counted_ms, {
        HOME: (lambda: get("/console/"), "<= 200"),
        SCRAPE: (lambda: get("/metrics"), "<= 500"),
        "housekeeping: measuring": (measure, "<= 10,000"),
    }


def fill(jobs: int, models: int, moment: datetime) -> None:
    """Everything that the two pages might have to look at."""
    from datetime import timedelta

    from django.db import connection

    from apps.catalog.models import CatalogEntry
    from apps.generation.models import GpuWorker
    from tests.bench.catalog_rows import Owners, make_rows
    from tests.factories import make_account

    tenants = [make_account(f"tenant-{number}") for number in range(50)]
    for batch in make_rows(models, Owners(mine=tenants[0], strangers=tenants)):
        CatalogEntry.objects.bulk_create(batch)
    GpuWorker.objects.create(
        name="box/cuda:0", host="box", pid=1, state="ready", started_at=moment, heartbeat_at=moment
    )
    add_jobs(1, jobs - QUEUED, since=moment - timedelta(days=DAYS), until=moment)
    add_jobs(jobs - QUEUED + 1, jobs, since=moment, until=moment, is_open=True)
    with connection.cursor() as cursor:
        for statement in (FILL_ARTIFACTS, FILL_AUDIT, SEAL):
            cursor.execute(statement, {"now": moment} if "%(now)s" in statement else None)
        cursor.execute("VACUUM ANALYZE")


def add_jobs(first: int, last: int, *, since: datetime, until: datetime, is_open: bool = False) -> None:
    """Numbered jobs that ended evenly between two moments, or wait."""
    from django.db import connection

    from apps.accounts.models import Account
    from apps.catalog.models import CatalogEntry
    from apps.core.clock import now

    given: dict[str, Any] = {
        "accounts": list(Account.objects.filter(slug__startswith="tenant-").values_list("pk", flat=True)),
        "checkpoint": CatalogEntry.objects.filter(kind="checkpoint").order_by("pk").first().pk,  # type: ignore[union-attr]  # filled before
        "now": now(),
        "from": since,
        "until": until,
        "is_open": is_open,
        "base": first - 1,
        "all": last - first + 1,
    }
    with connection.cursor() as cursor:
        for start in range(first, last + 1, BATCH):
            cursor.execute(FILL_JOBS, given | {"first": start, "last": min(start + BATCH - 1, last)})


def housekeeping(first_count_ms: float, jobs: int) -> list[Rounds]:
    """What counting ended jobs takes: all of them once, and those of a busy minute."""
    from datetime import timedelta

    from apps.core.clock import now
    from apps.metrics.job_rollup import roll_up_jobs

    first = Rounds(f"housekeeping: counting {jobs} jobs for the first time", "ms", values=[first_count_ms])
    moment = now()
    roll_up_jobs(now=moment + timedelta(minutes=2))
    add_jobs(1, LATER, since=moment + timedelta(minutes=1, seconds=1), until=moment + timedelta(minutes=2))
    later = Rounds(f"housekeeping: counting {LATER} jobs of a minute", "ms", "<= 1,000")
    later.values = [took_ms(lambda: roll_up_jobs(now=moment + timedelta(minutes=4)))]
    return [first, later]


def counts() -> dict[str, int]:
    """Rows of what grows."""
    from apps.artifacts.models import Artifact
    from apps.audit.models import AuditEvent
    from apps.catalog.models import CatalogEntry
    from apps.generation.models import GenerationJob
    from apps.metrics.models import JobMinute, Sample

    return {
        model.__name__: model._default_manager.count()
        for model in (GenerationJob, CatalogEntry, Artifact, AuditEvent, JobMinute, Sample)
    }


if __name__ == "__main__":
    main()
