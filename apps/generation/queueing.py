"""Where a job goes in the queue: fair shares between accounts before the engine.

The engine is fair between the requests it holds. What is queued beyond that is claimed in the order of
`queue_tag`, so that an account that submits a thousand jobs at once does not hold up one that submits a
single one. It is self-clocked fair queueing (Golestani, 1994): a job's tag is that of the job before it in
its account, or the queue's present time if that is later, plus its work divided by the account's weight. The
present time is the tag of the next job to be claimed, or of the latest that was and still runs. Jobs of one
account keep their order; a higher priority goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from django.db import connection

from apps.generation.choices import JobState
from apps.generation.models import GenerationJob

# The running jobs keep the clock while nothing is queued, or a job is next that came back to the queue: those
# keep their tags, which are of the past. GREATEST passes over NULL.
NOW_SQL = """
SELECT (SELECT MAX(queue_tag) FROM generation_generationjob
         WHERE state = %(queued)s AND account_id = %(account)s AND priority = %(priority)s),
       GREATEST(
           (SELECT queue_tag FROM generation_generationjob
             WHERE state = %(queued)s AND priority = %(priority)s
             ORDER BY priority DESC, queue_tag, id LIMIT 1),
           (SELECT MAX(queue_tag) FROM generation_generationjob
             WHERE state = %(running)s AND priority = %(priority)s),
           0)
"""


def queue_tag(job: GenerationJob) -> float:
    """`queue_tags` of one job."""
    return queue_tags([job])[0]


def queue_tags(jobs: Sequence[GenerationJob]) -> list[float]:
    """The tags of jobs of one account and priority that are about to be queued, in this order.

    The caller's transaction holds the account's quota row, so that an account's submits come one by one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            NOW_SQL,
            {
                "queued": JobState.QUEUED,
                "running": JobState.RUNNING,
                "account": jobs[0].account_id,
                "priority": jobs[0].priority,
            },
        )
        before, present = cursor.fetchone()
    tag = float(max(before or 0.0, present))
    works = [job.work_tflop / job.weight for job in jobs]
    return [tag + passed for passed in accumulate(works)]
