"""The settler's threads on real commits: what becomes of a finished request, whatever goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest
from django.db import OperationalError

from apps.artifacts.models import Artifact
from apps.artifacts.services import NewArtifact
from apps.core.clock import now
from apps.generation import settler as settler_module
from apps.generation.delivering import Delivered
from apps.generation.lifecycle import Lease, finish_jobs, lease_of, release_jobs
from apps.generation.settler import RunningJob, Settler
from gpu_runtime.errors import CheckpointMissing, NumericFault
from gpu_runtime.messages import ImageDone, Timings
from tests.apps.generation.studio import (
    PATIENCE_S,
    Studio,
    assert_invariants_hold,
    claim,
    claim_one,
    images_of,
    on_record,
    reread,
    states,
    usage,
    worker_ref,
)
from tests.factories import png_bytes

TIMINGS = Timings(
    queued_s=0.1,
    load_s=0.0,
    encode_s=0.2,
    denoise_s=1.00004,
    decode_s=0.25,
    encode_image_s=0.05,
    total_s=1.6,
)


def image_done(index: int) -> ImageDone:
    return ImageDone(
        request_id="1",
        index=index,
        seed=index,
        data=png_bytes(),
        media_type="image/png",
        width=8,
        height=8,
    )


class Fixture:
    """A settler with one claimed job of two images, and the leases it has settled."""

    def __init__(self, studio: Studio, **fields: Any) -> None:
        studio.submit(num_images=2, **fields)
        self.job = claim_one()
        self.running = RunningJob(
            lease=lease_of(self.job), group=self.job.artifact_group, attempt=self.job.attempt
        )
        self.settled: list[Lease] = []
        self.settler = Settler(worker=worker_ref(), max_attempts=2, on_settled=self.settled.append)

    def store_images(self) -> None:
        for index in range(2):
            self.settler.store(self.running, image_done(index))

    def close(self) -> None:
        self.settler.close()
        assert self.settled == [self.running.lease]


@pytest.fixture
def settling(live: Studio) -> Iterator[Fixture]:
    fixture = Fixture(live)
    yield fixture
    fixture.settler.close()


def test_success_stores_files_then_rows_with_timings(live: Studio, settling: Fixture) -> None:
    settling.store_images()
    settling.settler.succeed(settling.running, TIMINGS, {})
    settling.close()
    row = reread(settling.job)
    assert row.state == "succeeded"
    assert row.timings.pop("store_s") >= 0
    assert row.timings == {
        "queued_s": 0.1,
        "load_s": 0.0,
        "encode_s": 0.2,
        "denoise_s": 1.0,
        "decode_s": 0.25,
        "encode_image_s": 0.05,
        "total_s": 1.6,
        "before_s": 0.0,
        "after_s": 0.0,
    }
    assert [image.file_path.read_bytes() for image in Artifact.objects.all()] == [png_bytes()] * 2
    assert usage(live.account) == (0, 1)
    assert_invariants_hold()


def test_a_full_disk_fails_the_job_with_internal_error(
    live: Studio, settling: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = settler_module.write_image

    def full_for_the_second(*, index: int, **values: Any) -> Any:
        if index == 1:
            raise OSError(28, "No space left on device")
        return write(index=index, **values)

    monkeypatch.setattr(settler_module, "write_image", full_for_the_second)
    settling.store_images()
    settling.settler.succeed(settling.running, TIMINGS, {})
    settling.close()
    assert (states(settling.job), reread(settling.job).error_code) == (["failed"], "internal_error")
    assert (usage(live.account), Artifact.objects.count()) == ((0, 0), 0)
    assert_invariants_hold()


def test_a_fault_that_would_repeat_fails_the_job(live: Studio, settling: Fixture) -> None:
    settling.settler.fail(settling.running, CheckpointMissing("/nowhere"))
    settling.close()
    assert (states(settling.job), reread(settling.job).error_code) == (["failed"], "checkpoint_missing")
    assert_invariants_hold()


@pytest.mark.parametrize(("attempt", "state"), [(1, "queued"), (2, "failed"), (3, "failed")])
def test_a_retryable_fault_is_handed_back_until_the_last_attempt(
    live: Studio, settling: Fixture, attempt: int, state: str
) -> None:
    settling.running.attempt = attempt
    settling.settler.fail(settling.running, NumericFault("NaN"))
    settling.close()
    assert (states(settling.job), reread(settling.job).crashes) == ([state], 0)


def test_a_cancel_ends_the_job(live: Studio, settling: Fixture) -> None:
    settling.settler.cancel(settling.running)
    settling.close()
    assert (states(settling.job), usage(live.account)) == (["canceled"], (0, 0))
    assert_invariants_hold()


def test_the_result_of_a_lost_lease_is_dropped(live: Studio, settling: Fixture) -> None:
    release_jobs(leases=[settling.running.lease], worker=worker_ref(), now=now())
    before = on_record()
    settling.store_images()
    settling.settler.succeed(settling.running, TIMINGS, {})
    settling.close()
    assert on_record() == before


@pytest.mark.parametrize("error", [OperationalError("the database is away"), ValueError("unforeseen")])
def test_what_cannot_be_settled_stays_running_for_the_reaper(
    live: Studio, settling: Fixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(settler_module, "finish_jobs", fail)
    before = on_record()
    settling.store_images()
    settling.settler.succeed(settling.running, TIMINGS, {})
    settling.close()
    assert on_record() == before
    assert states(settling.job) == ["running"]


class Rush:
    """A settler of one thread, held up at the first job it ends while the others come in."""

    def __init__(self, studio: Studio, monkeypatch: pytest.MonkeyPatch, *, jobs: int) -> None:
        monkeypatch.setattr(settler_module, "SETTLER_THREADS", 1)
        self.together: list[int] = []
        """How many jobs each call ended at once."""
        self.begun, self.gate = threading.Event(), threading.Event()
        monkeypatch.setattr(settler_module, "finish_jobs", self._held_up)
        for _ in range(jobs):
            studio.submit(num_images=2)
        self.jobs = claim()
        self.settled: list[Lease] = []
        self.settler = Settler(worker=worker_ref(), max_attempts=2, on_settled=self.settled.append)

    def _held_up(self, made: Mapping[Lease, Delivered], **values: Any) -> frozenset[Lease]:
        self.together.append(len(made))
        self.begun.set()
        assert self.gate.wait(PATIENCE_S)
        return finish_jobs(made, **values)

    def running(self, number: int, *, images: int = 2) -> RunningJob:
        job = self.jobs[number]
        running = RunningJob(lease=lease_of(job), group=job.artifact_group, attempt=1)
        for artifact in images_of(job)[:images]:
            written: Future[NewArtifact] = Future()
            written.set_result(artifact)
            running.files.append(written)
        return running

    def hold_up_with_the_first(self) -> None:
        self.settler.succeed(self.running(0), TIMINGS, {})
        assert self.begun.wait(PATIENCE_S)

    def let_go(self) -> None:
        self.gate.set()
        self.settler.close()
        assert set(self.settled) == {lease_of(job) for job in self.jobs}
        assert len(self.settled) == len(self.jobs)


def test_what_is_ready_by_then_ends_together(live: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    rush = Rush(live, monkeypatch, jobs=6)
    rush.hold_up_with_the_first()
    for number in (1, 2, 3):
        rush.settler.succeed(rush.running(number), TIMINGS, {})
    rush.settler.fail(rush.running(4), CheckpointMissing("/nowhere"))
    rush.settler.cancel(rush.running(5))
    rush.let_go()
    assert rush.together == [1, 3]
    assert states(*rush.jobs) == ["succeeded"] * 4 + ["failed", "canceled"]
    assert usage(live.account) == (0, 4)
    assert_invariants_hold()


def test_a_malformed_delivery_costs_no_other_job(live: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    rush = Rush(live, monkeypatch, jobs=4)
    rush.hold_up_with_the_first()
    rush.settler.succeed(rush.running(1), TIMINGS, {})
    rush.settler.succeed(rush.running(2, images=1), TIMINGS, {})
    rush.settler.succeed(rush.running(3), TIMINGS, {})
    rush.let_go()
    assert rush.together == [1, 3, 1, 1, 1]
    assert states(*rush.jobs) == ["succeeded", "succeeded", "running", "succeeded"]
    assert usage(live.account) == (1, 3)
    assert_invariants_hold()


def test_a_job_whose_files_are_not_written_is_not_taken_with_others(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may stand in the queue behind the very thread that would wait for them."""
    rush = Rush(live, monkeypatch, jobs=3)
    rush.hold_up_with_the_first()
    rush.settler.succeed(rush.running(1), TIMINGS, {})
    late = rush.running(2, images=0)
    for index in range(2):
        rush.settler.store(late, image_done(index))
    rush.settler.succeed(late, TIMINGS, {})
    rush.let_go()
    assert rush.together == [1, 1, 1]
    assert states(*rush.jobs) == ["succeeded"] * 3
