"""What a GPU worker would do to jobs, through the services it uses."""

from __future__ import annotations

from apps.audit.models import AuditEvent
from apps.audit.refs import Ref
from apps.core import clock
from apps.generation.claiming import claim_jobs
from apps.generation.faults import Failure
from apps.generation.lifecycle import fail_job, finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.progress import report_progress
from apps.quotas.models import DailyUsage
from tests.factories import png_bytes, write_artifact

WORKER = Ref(kind="gpu_worker", id=1, label="test/cpu")


def claim(job: GenerationJob | None = None) -> GenerationJob:
    """The next queued job, now running; it must be `job` if one is named."""
    [claimed] = claim_jobs(worker="test/cpu", limit=1, now=clock.now())
    assert job is None or claimed.pk == job.pk
    return claimed


def finish(job: GenerationJob) -> GenerationJob:
    """Deliver a running job: one small picture for each image."""
    colours = ["teal", "navy", "maroon"]
    images = [
        write_artifact(
            group=job.artifact_group,
            index=index,
            data=png_bytes(colour=colours[index % 3]),
            seed=job.resolved.seed,
        )
        for index in range(job.num_images)
    ]
    finish_job(
        lease=lease_of(job), artifacts=images, timings={"total_s": 1.0}, worker=WORKER, now=clock.now()
    )
    return GenerationJob.objects.get(pk=job.pk)


def fail(job: GenerationJob, code: str = "out_of_memory", message: str = "It does not fit.") -> GenerationJob:
    """End a running job without images."""
    fail_job(lease=lease_of(job), failure=Failure(code, message), worker=WORKER, now=clock.now())
    return GenerationJob.objects.get(pk=job.pk)


def progress(job: GenerationJob, step: int) -> None:
    """Say how far a running job is."""
    report_progress(steps={lease_of(job): step})


def run_all() -> list[GenerationJob]:
    """Deliver everything that is queued."""
    return [finish(job) for job in claim_jobs(worker="test/cpu", limit=1000, now=clock.now())]


def traces() -> tuple[int, int, int]:
    """What accepting a request leaves behind: jobs, reserved calls, audit events about jobs."""
    return (
        GenerationJob.objects.count(),
        sum(DailyUsage.objects.values_list("reserved", flat=True)),
        AuditEvent.objects.filter(name__startswith="generation.").count(),
    )


NOTHING = (0, 0, 0)
