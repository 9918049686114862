"""`manage.py gpu_cluster` with the fence taken out: the control that proves the freeze drill sees zombies.

With this, a worker ends any job that it once held, whether or not it still does.
"""

from __future__ import annotations

import os
import sys


def take_out_fence() -> None:
    """Every process forked from here writes without looking."""
    from django.db.models import QuerySet

    from apps.generation import lifecycle
    from apps.generation.models import GenerationJob

    def held(*leases: lifecycle.Lease) -> QuerySet[GenerationJob]:
        return GenerationJob.objects.filter(pk__in=[lease.job_id for lease in leases])

    lifecycle._held = held


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    os.environ.setdefault("Q_CLUSTER_NAME", "gpu")
    import django
    from django.core.management import call_command

    django.setup()
    take_out_fence()
    call_command("gpu_cluster", *arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
