"""`manage.py gpu_cluster --device cuda:0`: the GPU worker of one device, in the foreground."""

from __future__ import annotations

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.generation.cluster import DeviceTaken, run_cluster


class Command(BaseCommand):
    """One django-q2 cluster a device, one worker a cluster, one resident pump in it."""

    help = "Serves generation jobs on one device until SIGTERM, which lets running jobs finish first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--device",
            default=settings.DEVICE,
            help='"auto", "cpu" or "cuda:N" (default: DARKROOM_DEVICE, else auto)',
        )

    def handle(self, *args: str, **options: str) -> None:
        if settings.RUNTIME == "fake":
            self.stderr.write(
                self.style.WARNING(
                    "DARKROOM_RUNTIME=fake: the pictures are patterns, not a model's. For load tests only."
                )
            )
        try:
            run_cluster(device=options["device"])
        except DeviceTaken as taken:
            raise CommandError(
                f"device {taken} is served by another gpu_cluster of this installation; stop that one first"
            ) from None
