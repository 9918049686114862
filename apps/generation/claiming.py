"""How a worker takes jobs from the queue: whose turn it is, how many may run at once, and on which device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from apps.core.db import lock_key
from apps.generation.models import GenerationJob

CLAIM_LOCK: Final = "generation.claim"
CLAIM_TRIES: Final = 10
CLAIM_PAUSE_S: Final = 0.002

# One statement: locking, choosing and marking in one round trip, skipping rows other workers are claiming.
# MATERIALIZED, because a plain subquery may be run once for each row of the table it is joined to, and
# finds other rows each time: its LIMIT would then limit nothing.
# Jobs of an account or a key that has as many running as it may are passed over, as are those of one batch
# that would be too many; they keep their places. The first found of an account is the first of its key, so
# that something is picked as long as anything is found.
# A device that is kept for an account takes that account's jobs alone, and no other device takes them.
# Two statements in one round trip: the second sees what whoever held the lock before has committed. Without
# the lock, jobs with such limits are left alone.
CLAIM_SQL = """
SELECT set_config('darkroom.may_count', pg_try_advisory_xact_lock(%(lock)s)::text, true);
WITH running AS MATERIALIZED (
    SELECT account_id, api_key_id, max_parallel, key_max_parallel FROM generation_generationjob
     WHERE state = 'running'),
busy AS MATERIALIZED (
    SELECT account_id, count(*) AS jobs, max(max_parallel) AS most FROM running GROUP BY account_id),
busy_keys AS MATERIALIZED (
    SELECT api_key_id, count(*) AS jobs, max(key_max_parallel) AS most FROM running
     WHERE api_key_id IS NOT NULL GROUP BY api_key_id),
kept AS MATERIALIZED (
    SELECT device.account_id, worker.name = %(worker)s AS is_ours
      FROM generation_dedicateddevice AS device JOIN generation_gpuworker AS worker
        ON worker.id = device.worker_id),
found AS MATERIALIZED (
    SELECT id, account_id, api_key_id, max_parallel, key_max_parallel, priority, queue_tag
      FROM generation_generationjob
     WHERE state = 'queued' AND deadline_at > %(now)s AND (crashes > 0) = %(suspects)s
       AND (current_setting('darkroom.may_count')::boolean
            OR max_parallel IS NULL AND key_max_parallel IS NULL)
       AND account_id NOT IN (SELECT account_id FROM busy WHERE jobs >= most)
       AND COALESCE(api_key_id, 0) NOT IN (SELECT api_key_id FROM busy_keys WHERE jobs >= most)
       AND CASE WHEN EXISTS (SELECT 1 FROM kept WHERE is_ours)
                THEN account_id IN (SELECT account_id FROM kept WHERE is_ours)
                ELSE account_id NOT IN (SELECT account_id FROM kept) END
     ORDER BY priority DESC, queue_tag, id
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
placed AS (
    SELECT found.id, found.max_parallel, found.key_max_parallel,
           COALESCE(busy.jobs, 0) + row_number() OVER (
               PARTITION BY found.account_id ORDER BY priority DESC, queue_tag, found.id) AS place,
           COALESCE(busy_keys.jobs, 0) + row_number() OVER (
               PARTITION BY found.account_id, found.api_key_id
               ORDER BY priority DESC, queue_tag, found.id) AS key_place
      FROM found LEFT JOIN busy USING (account_id) LEFT JOIN busy_keys USING (api_key_id)),
picked AS MATERIALIZED (
    SELECT id FROM placed
     WHERE (max_parallel IS NULL OR place <= max_parallel)
       AND (key_max_parallel IS NULL OR key_place <= key_max_parallel))
UPDATE generation_generationjob AS job
   SET state = 'running', attempt = attempt + 1, fence = fence + 1, claimed_by = %(worker)s,
       claimed_at = %(now)s, started_at = COALESCE(started_at, %(now)s),
       lease_expires_at = %(lease)s, progress_step = 0
  FROM picked
 WHERE job.id = picked.id
RETURNING job.id, COALESCE(job.max_parallel, job.key_max_parallel)
"""


def claim_jobs(
    *, worker: str, limit: int, now: datetime, suspects: bool = False, lease_s: float | None = None
) -> list[GenerationJob]:
    """Take up to `limit` queued jobs, within a priority in the order of their accounts' shares (`queueing`).

    `suspects` selects the jobs whose worker has crashed before; the pump runs those alone, so that
    a poisonous request does not take its neighbours with it.
    """
    lease = now + timedelta(seconds=settings.LEASE_S if lease_s is None else lease_s)
    parameters = {"worker": worker, "now": now, "lease": lease, "suspects": suspects}
    ids: list[int] = []
    tries = CLAIM_TRIES
    while len(ids) < limit and tries:
        may_count, more = _claim(parameters | {"limit": limit - len(ids)})
        ids += more
        if may_count and not any(more.values()):
            # Nothing was passed over that would leave room for others.
            break
        if not may_count:
            tries -= 1
            time.sleep(CLAIM_PAUSE_S)
    claimed = GenerationJob.objects.in_bulk(ids).values() if ids else ()
    return sorted(claimed, key=lambda job: (-job.priority, job.queue_tag, job.pk))


def _claim(parameters: Mapping[str, Any]) -> tuple[bool, dict[int, int | None]]:
    """Claimed jobs, each with a limit of how many may run beside it, and whether running ones were counted.

    `parameters` (Any) are the statement's. One claimer counts at a time: two that counted an account's
    running jobs at once would both find room. False where somebody else is counting, which takes a
    millisecond or two; then only jobs without such a limit are claimed.
    """
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_SQL, {**parameters, "lock": lock_key(CLAIM_LOCK)})
        may_count = cursor.fetchone()[0] == "true"
        cursor.nextset()
        return may_count, dict(cursor.fetchall())
