"""The doorbell of a device: the one django-q2 task that keeps its pump running, slice after slice.

q2 keeps the task's row from the moment it is queued until the slice has ended.
"""

from __future__ import annotations

from django_q.models import OrmQ
from django_q.tasks import async_task

from apps.generation.workers import worker_name

PUMP_TASK = "apps.generation.tasks.pump"


def queue_name(device: str) -> str:
    """The queue that this device's cluster, and no other, listens to."""
    return f"gpu:{worker_name(device)}"


def ring(device: str) -> None:
    """Ask for one more slice."""
    async_task(PUMP_TASK, device, cluster=queue_name(device))


def has_rung(device: str) -> bool:
    """Whether a slice is running or waited for."""
    return bool(OrmQ.objects.filter(key=queue_name(device)).exists())


def silence(device: str) -> None:
    """Forget what was rung: the process that should have heard it is gone."""
    OrmQ.objects.filter(key=queue_name(device)).delete()
