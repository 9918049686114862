"""What running jobs look like to those who follow them: steps and previews, written a few times a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from django.db import connection, transaction

from apps.generation.channels import notify_changed
from apps.generation.lifecycle import Lease
from gpu_runtime.messages import Preview

PROGRESS_INTERVAL_S: Final = 0.25
PREVIEW_INTERVAL_S: Final = 0.5


class ProgressBoard:
    """For one session of a pump; on its thread."""

    def __init__(self) -> None:
        self._steps: dict[Lease, tuple[int, int]] = {}
        self._previews: dict[Lease, Preview] = {}
        self._next_progress = 0.0
        self._next_preview = 0.0

    def note_steps(self, lease: Lease, *, done: int, total: int) -> None:
        """How far a job is; only the latest is written."""
        self._steps[lease] = (done, total)

    def note_preview(self, lease: Lease, preview: Preview) -> None:
        """How an image of a job looks; only the latest of a job is written."""
        self._previews[lease] = preview

    def forget(self, lease: Lease) -> None:
        """The job has ended."""
        self._steps.pop(lease, None)
        self._previews.pop(lease, None)

    def write(self) -> None:
        """Write what is due.

        Previews go with progress, which wakes those who follow the job; whoever sees a picture can see the
        steps behind it.
        """
        moment = time.monotonic()
        if self._previews and moment >= self._next_preview:
            with transaction.atomic():
                self._write_steps(moment)
                keep_previews(self._previews)
            self._previews = {}
            self._next_preview = moment + PREVIEW_INTERVAL_S
        elif moment >= self._next_progress:
            self._write_steps(moment)

    def _write_steps(self, moment: float) -> None:
        if not self._steps:
            return
        report_progress(
            steps={lease: done for lease, (done, _) in self._steps.items()},
            totals={lease: total for lease, (_, total) in self._steps.items()},
        )
        self._steps = {}
        self._next_progress = moment + PROGRESS_INTERVAL_S


def report_progress(*, steps: Mapping[Lease, int], totals: Mapping[Lease, int] | None = None) -> None:
    """Write how many row-steps are done and wake those who follow the jobs. Lost leases are left alone.

    `totals` has what the runtime counts them to, where it is not what was thought at submit.
    """
    totals = totals or {}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE generation_generationjob AS job
               SET progress_step = done.step, progress_total = COALESCE(done.total, progress_total)
              FROM unnest(%s::bigint[], %s::integer[], %s::integer[], %s::integer[])
                   AS done(id, fence, step, total)
             WHERE job.id = done.id AND job.fence = done.fence AND job.state = 'running'
            RETURNING job.id
            """,
            [
                [lease.job_id for lease in steps],
                [lease.fence for lease in steps],
                list(steps.values()),
                [totals.get(lease) for lease in steps],
            ],
        )
        notify_changed(*(row[0] for row in cursor.fetchall()))


def keep_previews(previews: Mapping[Lease, Preview]) -> None:
    """Replace what running jobs look like so far. Those whose lease was lost are left alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO generation_jobpreview (job_id, index, step, data)
            SELECT job.id, seen.index, seen.step, seen.data
              FROM unnest(%s::bigint[], %s::integer[], %s::smallint[], %s::integer[], %s::bytea[])
                   AS seen(id, fence, index, step, data)
              JOIN generation_generationjob AS job
                ON job.id = seen.id AND job.fence = seen.fence AND job.state = 'running'
                ON CONFLICT (job_id)
                DO UPDATE SET index = EXCLUDED.index, step = EXCLUDED.step, data = EXCLUDED.data
            """,
            [
                [lease.job_id for lease in previews],
                [lease.fence for lease in previews],
                [preview.index for preview in previews.values()],
                [preview.step for preview in previews.values()],
                [preview.data for preview in previews.values()],
            ],
        )
