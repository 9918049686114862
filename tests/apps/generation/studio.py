"""What the tests of generation work with: an account that submits, workers that claim, and the record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.artifacts.models import Artifact
from apps.artifacts.services import NewArtifact
from apps.audit.models import AuditEvent
from apps.audit.refs import Ref
from apps.billing.models import UsageEvent
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.claiming import claim_jobs
from apps.generation.idempotency import IdempotencyClaim
from apps.generation.invariants import find_violations
from apps.generation.lifecycle import Lease, finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import submit_generation
from apps.quotas.models import DailyUsage
from tests.factories import write_artifact

# How long a thread or a message may take before the test fails; far above what they need, also when
# the machine is busy with something else.
PATIENCE_S = 40.0
WORKER = "host/cpu"
OTHER_WORKER = "elsewhere/cpu"


def worker_ref(name: str = WORKER) -> Ref:
    return Ref(kind="gpu_worker", id=1, label=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """Ada's account with one checkpoint, `tiny`: 25 steps, 64 px, guidance 4."""

    account: Account
    key: ApiKey
    strangers_account: Account
    strangers_key: ApiKey
    checkpoint: CatalogEntry

    def submit(
        self,
        prompt: str = "a teal square",
        *,
        idempotency: IdempotencyClaim | None = None,
        by_stranger: bool = False,
        now: datetime | None = None,
        **fields: Any,
    ) -> GenerationJob:
        """A request by Ada's key, or by Cleo's; `fields` are those of the request."""
        request = GenerationRequest(**({"checkpoint": self.checkpoint.name, "prompt": prompt} | fields))
        return submit_generation(
            account=self.strangers_account if by_stranger else self.account,
            api_key=self.strangers_key if by_stranger else self.key,
            request=request,
            client_options={},
            track_id=None,
            now=now or clock.now(),
            idempotency=idempotency,
        )


def claim(worker: str = WORKER, *, limit: int = 100, **options: Any) -> list[GenerationJob]:
    return claim_jobs(worker=worker, limit=limit, now=clock.now(), **options)


def claim_one(worker: str = WORKER, **options: Any) -> GenerationJob:
    [job] = claim(worker, limit=1, **options)
    return job


def images_of(job: GenerationJob) -> list[NewArtifact]:
    """The job's images as its worker has written them: on disk, without rows."""
    seed = int(job.request["seed"])
    return [write_artifact(group=job.artifact_group, index=i, seed=seed) for i in range(job.num_images)]


def finish(
    job: GenerationJob, *, lease: Lease | None = None, artifacts: Sequence[NewArtifact] | None = None
) -> None:
    """Deliver a claimed job's images."""
    finish_job(
        lease=lease or lease_of(job),
        artifacts=images_of(job) if artifacts is None else artifacts,
        timings={"total_s": 0.5},
        worker=worker_ref(),
        now=clock.now(),
    )


def reread(job: GenerationJob) -> GenerationJob:
    return GenerationJob.objects.get(pk=job.pk)


def states(*jobs: GenerationJob) -> list[str]:
    return [reread(job).state for job in jobs]


def trail(job: GenerationJob) -> list[str]:
    """Names of the job's audit events, oldest first."""
    events = AuditEvent.objects.filter(subject_kind="generation_job", subject_id=str(job.pk))
    return [
        name.removeprefix("generation.job.") for name in events.order_by("id").values_list("name", flat=True)
    ]


def usage(account: Account) -> tuple[int, int]:
    """Calls (reserved, settled) of all days together."""
    rows = DailyUsage.objects.filter(account=account)
    return sum(row.reserved for row in rows), sum(row.settled for row in rows)


@dataclass(frozen=True, slots=True)
class OnRecord:
    """Everything that submitting and ending a job can write."""

    jobs: list[tuple[Any, ...]]
    usage: list[tuple[Any, ...]]
    usage_events: int
    artifacts: int
    audit_events: int


def on_record() -> OnRecord:
    """For refusals: equal before and after means that nothing happened."""
    return OnRecord(
        jobs=list(GenerationJob.objects.order_by("pk").values_list()),
        usage=list(DailyUsage.objects.order_by("pk").values_list("account_id", "day", "reserved", "settled")),
        usage_events=UsageEvent.objects.count(),
        artifacts=Artifact.objects.count(),
        audit_events=AuditEvent.objects.count(),
    )


def assert_invariants_hold() -> None:
    assert {name: found for name, found in find_violations(now=clock.now()).items() if found} == {}


@dataclass(slots=True)
class Crew:
    """Threads that start together; each closes its database connection."""

    results: list[Any] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def run(self, *acts: Callable[[], Any]) -> None:
        """Run every act in a thread of its own and wait for all."""
        barrier = threading.Barrier(len(acts))
        threads = [threading.Thread(target=self._run, args=(act, barrier), daemon=True) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads), "a thread did not end"

    def _run(self, act: Callable[[], Any], barrier: threading.Barrier) -> None:
        try:
            barrier.wait(PATIENCE_S)
            self.results.append(act())
        except BaseException as error:  # noqa: BLE001  # carried to the test's own thread
            self.errors.append(error)
        finally:
            connection.close()


def in_background(act: Callable[[], Any]) -> Background:
    return Background(act)


class Background:
    """One thread with a result: `join` returns it or raises what it raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._result: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._act()
        except BaseException as error:  # noqa: BLE001  # carried to the test's own thread
            self._error = error
        finally:
            connection.close()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float = PATIENCE_S) -> Any:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the thread did not end"
        if self._error is not None:
            raise self._error
        return self._result
