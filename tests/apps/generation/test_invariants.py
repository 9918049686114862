"""`manage.py invariants`: passes on a clean database and sees each thing that could be wrong with one."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.artifacts.models import Artifact
from apps.audit.refs import SYSTEM
from apps.audit.services import seal_events
from apps.core import clock as core_clock
from apps.generation.faults import INTERNAL
from apps.generation.idempotency import make_claim
from apps.generation.invariants import CHECKS, find_violations
from apps.generation.lifecycle import fail_job, lease_of, reap_expired
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.billing.ledger.books import capture, hold, top_up
from tests.apps.generation.studio import Studio, claim_one, finish, images_of, worker_ref
from tests.clocks import FrozenClock
from tests.factories import write_artifact


def violations() -> dict[str, list[str]]:
    return {name: found for name, found in find_violations(now=core_clock.now()).items() if found}


def execute(query: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)


def check() -> str:
    output = io.StringIO()
    call_command("invariants", stdout=output, no_color=True)
    return output.getvalue()


@pytest.fixture
def done(studio: Studio) -> GenerationJob:
    """One delivered job of two images."""
    studio.submit(num_images=2)
    job = claim_one()
    finish(job)
    return job


def add_audit_event(job: GenerationJob, name: str) -> None:
    execute(
        "INSERT INTO audit_auditevent (at, name, actor_kind, actor_id, actor_label, subject_kind, subject_id,"
        " subject_label, request_id, data)"
        " VALUES (now(), %s, '', '', '', 'generation_job', %s, '', '', '{}')",
        name,
        str(job.pk),
    )


def add_usage(job: GenerationJob, *, images: int = 1) -> None:
    execute(
        "INSERT INTO billing_usageevent (job_id, account_id, day, calls, images, pixels, checkpoint, at)"
        " VALUES (%s, %s, %s, 1, %s, 1, 'tiny', now())",
        job.pk,
        job.account_id,
        job.quota_day,
        images,
    )


def test_an_empty_appliance_passes(db: None) -> None:
    assert violations() == {}
    lines = check().splitlines()
    assert lines[0] == "jobs: none"
    assert len(lines) == 1 + len(CHECKS)
    assert all(line.endswith(" holds") for line in lines[1:])


def test_jobs_in_every_state_pass(studio: Studio, clock: FrozenClock) -> None:
    finish((studio.submit(num_images=2), claim_one())[1])
    studio.submit()
    fail_job(lease=lease_of(claim_one()), failure=INTERNAL, worker=worker_ref(), now=clock.now())
    cancel_job(job=studio.submit(), actor=SYSTEM, now=clock.now())
    late = studio.submit(now=clock.now() - timedelta(hours=2))
    reap_expired(actor=SYSTEM, now=clock.now())
    poisonous = studio.submit(by_stranger=True)
    for suspects in (False, True):
        claim_one(suspects=suspects)
        GenerationJob.objects.filter(pk=poisonous.pk).update(
            lease_expires_at=clock.now() - timedelta(seconds=1)
        )
        reap_expired(actor=SYSTEM, now=clock.now())
    studio.submit()
    claim_one()
    studio.submit(idempotency=make_claim(key="k", method="POST", path="/", body=b""))
    seal_events()
    assert violations() == {}
    assert late.pk
    assert check().splitlines()[0] == (
        "jobs: 1 canceled, 1 expired, 1 failed, 1 quarantined, 1 queued, 1 running, 1 succeeded"
    )


def sees(*lines: str) -> None:
    """Exactly these violations, whichever checks they come from, in any order."""
    assert sorted(line for found in violations().values() for line in found) == sorted(lines)


def test_a_job_that_ended_without_a_word_is_seen(studio: Studio, done: GenerationJob) -> None:
    job = studio.submit()
    execute("UPDATE generation_generationjob SET state='failed', finished_at=now() WHERE id=%s", job.pk)
    execute("UPDATE quotas_dailyusage SET reserved = 0")
    sees(f"job {job.pk} is failed but has 1 acceptances and the ends [] on record")


def test_a_job_that_ended_twice_is_seen(done: GenerationJob) -> None:
    add_audit_event(done, "generation.job.failed")
    sees(f"job {done.pk} is succeeded but has 1 acceptances and the ends [succeeded,failed] on record")


def test_an_open_job_with_an_end_on_record_is_seen(studio: Studio) -> None:
    job = studio.submit()
    add_audit_event(job, "generation.job.canceled")
    sees(f"job {job.pk} is queued but has 1 acceptances and the ends [canceled] on record")


def test_a_job_that_nobody_accepted_is_seen(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    GenerationJob.objects.filter(pk=job.pk).update(id=job.pk + 1000)
    sees(
        f"job {job.pk + 1000} is queued but has 0 acceptances and the ends [] on record",
        f"job {job.pk} was accepted according to the audit trail but has no row",
    )


def test_a_job_that_vanished_is_seen(studio: Studio) -> None:
    job = studio.submit()
    execute("DELETE FROM generation_generationjob WHERE id = %s", job.pk)
    execute("UPDATE quotas_dailyusage SET reserved = 0")
    sees(f"job {job.pk} was accepted according to the audit trail but has no row")


def test_a_charge_for_a_job_that_did_not_deliver_is_seen(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    cancel_job(job=job, actor=SYSTEM, now=clock.now())
    add_usage(job)
    execute("UPDATE quotas_dailyusage SET settled = 1")
    sees(f"job {job.pk} is canceled with 1 usage events for 1 images of 1")


def test_a_delivery_without_its_charge_or_its_images_is_seen(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit(num_images=2)
    cancel_job(job=job, actor=SYSTEM, now=clock.now())
    execute("UPDATE generation_generationjob SET state = 'succeeded' WHERE id = %s", job.pk)
    sees(
        f"job {job.pk} is succeeded but has 1 acceptances and the ends [canceled] on record",
        f"job {job.pk} is succeeded with 0 usage events for 0 images of 2",
        f"job {job.pk} is succeeded with 0 images on record instead of 2",
    )


def test_a_charge_for_the_wrong_number_of_images_is_seen(done: GenerationJob) -> None:
    execute("UPDATE generation_generationjob SET num_images = 3 WHERE id = %s", done.pk)
    sees(
        f"job {done.pk} is succeeded with 1 usage events for 2 images of 3",
        f"job {done.pk} is succeeded with 2 images on record instead of 3",
    )


def test_an_image_row_that_is_gone_too_early_is_seen_and_one_that_expired_is_not(
    done: GenerationJob, clock: FrozenClock
) -> None:
    Artifact.objects.filter(index=1).delete()
    sees(f"job {done.pk} is succeeded with 1 images on record instead of 2")
    clock.advance(hours=24)
    sees()


def test_images_of_a_job_that_failed_are_seen(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    finish(job)
    unwanted = studio.submit()
    execute("UPDATE artifacts_artifact SET job_id = %s", unwanted.pk)
    sees(
        f"job {job.pk} is succeeded with 0 images on record instead of 1",
        f"job {unwanted.pk} is queued with 1 images on record instead of 1",
    )


@pytest.mark.parametrize(
    ("change", "used", "reserved"), [("settled = settled + 1", 2, 1), ("reserved = reserved + 1", 1, 2)]
)
def test_a_counter_that_drifted_is_seen(
    studio: Studio, done: GenerationJob, change: str, used: int, reserved: int
) -> None:
    studio.submit()
    execute(f"UPDATE quotas_dailyusage SET {change}")
    sees(
        f"account {studio.account.pk} on 2026-03-02:"
        f" {used} calls used but 1 on record, {reserved} reserved but 1 open jobs"
    )


def test_a_counter_that_is_gone_is_seen(studio: Studio) -> None:
    studio.submit()
    execute("DELETE FROM quotas_dailyusage")
    sees(
        f"account {studio.account.pk} on 2026-03-02: 0 calls used but 0 on record, 0 reserved but 1 open jobs"
    )


def test_a_lease_that_nobody_takes_back_is_seen_after_a_while(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    clock.advance(seconds=100)
    sees()
    clock.advance(seconds=1)
    sees(f"job {job.pk} has been running on a lease that ended at 2026-03-02 12:00:10+00:00")


def test_a_key_without_a_job_is_seen(studio: Studio) -> None:
    execute(
        "INSERT INTO generation_idempotencyrecord"
        " (id, account_id, key, fingerprint, response_content_type, created_at)"
        " VALUES (77, %s, 'k', '', '', now())",
        studio.account.pk,
    )
    sees(f"idempotency record 77 of account {studio.account.pk} has no job")


def test_a_missing_file_and_a_changed_one_are_seen(done: GenerationJob) -> None:
    first, second = Artifact.objects.order_by("index")
    first.file_path.unlink()
    second.file_path.write_bytes(b"something else")
    sees(
        f"artifact {first.pk} of job {done.pk}: its file is missing",
        f"artifact {second.pk} of job {done.pk}: its file has another digest",
    )


def test_a_missing_file_of_an_expired_image_is_not_a_violation(
    done: GenerationJob, clock: FrozenClock
) -> None:
    for artifact in Artifact.objects.all():
        artifact.file_path.unlink()
    clock.advance(hours=24)
    sees()


def test_a_file_without_a_row_is_seen_once_it_is_an_hour_old(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    [image] = images_of(claim_one())
    age(image.file.path, clock, seconds=3600)
    sees()
    age(image.file.path, clock, seconds=3601)
    sees(f"file {image.file.path.name} belongs to no image on record")


def age(path: Path, clock: FrozenClock, *, seconds: int) -> None:
    moment = clock.now().timestamp() - seconds
    os.utime(path, (moment, moment))


def test_a_file_that_is_swept_while_it_is_looked_at_is_no_failure(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = write_artifact(group=studio.submit().artifact_group).file.path
    gone.unlink()
    monkeypatch.setattr("apps.generation.invariants.store.list_files", lambda: iter([gone]))
    sees()


def test_a_rewritten_audit_event_is_seen(done: GenerationJob) -> None:
    seal_events()
    execute("ALTER TABLE audit_auditevent DISABLE TRIGGER refuse_change")
    execute(
        "UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE name = 'generation.job.succeeded'"
    )
    broken_at = find_violations(now=core_clock.now())["audit chain is whole"]
    assert len(broken_at) == 1
    assert broken_at[0].startswith("the audit chain is broken at link ")


def test_money_held_for_a_job_that_is_not_there_is_seen(studio: Studio) -> None:
    top_up(studio.account, 10)
    hold(studio.account, 7, 2)
    assert violations() == {"open holds belong to open jobs": ["job 7 is unknown and its hold is open"]}


def test_money_taken_for_a_job_that_was_not_recorded_is_seen(studio: Studio) -> None:
    top_up(studio.account, 10)
    job = studio.submit()
    hold(studio.account, job.pk, 2)
    assert violations() == {}
    capture(job.pk, 2)
    found = violations()
    assert found["every capture has its usage event"] == [
        f"job {job.pk} has $0.000002 captured and nothing on its usage event"
    ]
    assert found["open holds belong to open jobs"] == [f"job {job.pk} is queued and its hold is captured"]


@pytest.mark.parametrize(("option", "shown"), [([], 5), (["--all"], 7)])
def test_the_command_fails_names_the_check_and_shows_some_or_all(
    studio: Studio, option: list[str], shown: int
) -> None:
    for _ in range(7):
        studio.submit()
    execute("DELETE FROM generation_generationjob")
    execute("UPDATE quotas_dailyusage SET reserved = 0")
    output = io.StringIO()
    with pytest.raises(CommandError, match="7 violations") as failure:
        call_command("invariants", *option, stdout=output, no_color=True)
    assert failure.value.returncode == 1
    text = output.getvalue()
    assert f"  {'every audited job has a row':<52} 7 violated" in text
    assert text.count("was accepted according to the audit trail but has no row") == shown
    assert sum(line.endswith(" holds") for line in text.splitlines()) == len(CHECKS) - 1


def test_the_command_changes_nothing(
    done: GenerationJob,
) -> None:
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        check()
    assert {query["sql"].split()[0] for query in queries.captured_queries} <= {"SELECT", "DECLARE"}
