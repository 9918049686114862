"""Names of the NOTIFY channels. A message is a hint; the row is the truth."""

from __future__ import annotations

from apps.core.db import notify

GPU = "darkroom_gpu"
"""To GPU workers: "job" when one was queued, "cancel" when one should stop, "reload" when an entry's
`reload_requested_at` was set, "restart" when their operator wants new processes."""

JOB = "darkroom_job"
"""To web processes: the id of a job whose row changed."""


def notify_queued() -> None:
    """Wake idle workers when the current transaction commits."""
    notify(GPU, "job")


def notify_cancel() -> None:
    """Make workers look for cancel requests when the current transaction commits."""
    notify(GPU, "cancel")


def notify_reload() -> None:
    """Make workers look for entries to load anew when the current transaction commits."""
    notify(GPU, "reload")


def notify_restart() -> None:
    """Make workers end in order, and be replaced, when the current transaction commits."""
    notify(GPU, "restart")


def notify_changed(*job_ids: int) -> None:
    """Wake whoever waits for these jobs when the current transaction commits."""
    notify(JOB, *(str(job_id) for job_id in job_ids))
