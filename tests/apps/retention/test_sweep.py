from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from apps.artifacts.models import Artifact
from apps.generation import forgetting
from apps.generation.idempotency import IdempotencyClaim, StoredResponse, store_response
from apps.generation.models import GenerationJob, IdempotencyRecord
from apps.retention import services
from apps.retention.models import Tombstone
from apps.retention.selectors import lag_s
from apps.retention.services import ids_mac, sweep
from tests.apps.generation.studio import Studio, assert_invariants_hold, claim_one, finish, reread
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

CANARY = "canary-7f3a"


@pytest.fixture
def studio(cast: Cast) -> Studio:
    return Studio(
        account=cast.account,
        key=cast.key,
        strangers_account=cast.strangers_account,
        strangers_key=cast.strangers_key,
        checkpoint=make_checkpoint(),
    )


def _everything() -> str:
    """Every row of every table, as JSON text."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        found = []
        for table in tables:
            cursor.execute(f'SELECT row_to_json(each)::text FROM "{table}" AS each')
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


def _run(action: str) -> str:
    out = io.StringIO()
    call_command("retention", action, stdout=out)
    return out.getvalue()


def _made(studio: Studio, **fields: Any) -> GenerationJob:
    job = studio.submit(f"a {CANARY}", negative_prompt=f"no {CANARY}", **fields)
    finish(claim_one())
    return job


def test_when_its_time_is_up_nothing_of_a_job_is_left_but_numbers(studio: Studio, clock: FrozenClock) -> None:
    claim = IdempotencyClaim(key="once", fingerprint="f" * 64)
    job = _made(studio, idempotency=claim)
    GenerationJob.objects.filter(pk=job.pk).update(
        track_id=CANARY,
        client_options={
            "dialect": "x",
            "echo": {"init_image": CANARY},
            "styles": [CANARY],
            "inner": {"prompt": CANARY},
        },
        webhook={"url": f"https://example.com/{CANARY}"},
        result={"caption": CANARY, "safety": {"prompt": "fine"}},
    )
    body = CANARY.encode()
    answer = StoredResponse(status=200, content_type="text/plain", body=body)
    store_response(account_id=studio.account.pk, key="once", response=answer)
    [image] = Artifact.objects.all()
    assert CANARY in _everything() and body.hex() in _everything() and image.sha256 in _everything()
    clock.move_to(job.forget_at)  # type: ignore[arg-type]  # dated at submit
    swept = sweep(now=clock.now())
    assert (swept.images, swept.jobs) == (1, 1)
    left = _everything()
    assert CANARY not in left and body.hex() not in left and image.sha256 not in left
    assert not image.file_path.exists()
    row = reread(job)
    assert (row.is_forgotten, row.resolved.prompt, row.resolved.steps) == (True, "", 25)
    assert row.result == {"safety": {"prompt": "fine"}}
    assert IdempotencyRecord.objects.get().job_id == job.pk
    assert_invariants_hold()


def test_a_forgotten_job_is_still_answered_with(
    studio: Studio, cast: Cast, client: Client, clock: FrozenClock
) -> None:
    job = _made(studio)
    clock.advance(days=2)
    sweep(now=clock.now())
    key = {"Authorization": f"Bearer {cast.key_text}"}
    asked = client.get(f"/v1/jobs/{job.pk}", headers=key)
    assert (asked.status_code, asked.json()["state"]) == (200, "succeeded")
    fetched = client.post(
        f"/api/v6/images/fetch/{job.pk}", {"key": cast.key_text}, content_type="application/json"
    )
    assert fetched.status_code == 200
    assert CANARY not in asked.content.decode() + fetched.content.decode()
    client.force_login(cast.ada)
    assert client.get(f"/portal/jobs/{job.pk}").status_code == 200
    client.force_login(cast.otto)
    page = client.get(f"/console/generation/generationjob/{job.pk}/change/")
    assert page.status_code == 200 and CANARY not in page.content.decode()


def test_a_second_earlier_everything_is_there(studio: Studio, clock: FrozenClock) -> None:
    job = _made(studio)
    clock.advance(hours=23, minutes=59, seconds=59)
    sweep(now=clock.now())
    assert Artifact.objects.count() == 1 and reread(job).resolved.prompt == f"a {CANARY}"
    assert not Tombstone.objects.exists()


def test_an_open_job_keeps_what_it_needs(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit(f"a {CANARY}")
    clock.advance(days=2)
    sweep(now=clock.now())
    assert reread(job).resolved.prompt == f"a {CANARY}"
    assert lag_s(now=clock.now()) == 0


def test_tombstones_prove_what_went_without_naming_it(studio: Studio, clock: FrozenClock) -> None:
    jobs = [_made(studio) for _ in range(3)]
    images = list(Artifact.objects.all())
    clock.advance(days=1, seconds=30)
    sweep(now=clock.now())
    stones = {stone.kind: stone for stone in Tombstone.objects.all()}
    assert stones["job"].ids_mac == ids_mac([job.pk for job in reversed(jobs)])
    assert stones["image"].ids_mac == ids_mac([image.pk for image in images])
    assert stones["image"].size_bytes == sum(image.size_bytes for image in images)
    assert {stone.count for stone in stones.values()} == {3}
    assert {(stone.at - stone.first_due_at).total_seconds() for stone in stones.values()} == {30}
    sweep(now=clock.now())
    assert Tombstone.objects.count() == 2


def test_all_batches_are_swept(studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "BATCH", 2)
    for _ in range(5):
        _made(studio)
    clock.advance(days=2)
    swept = sweep(now=clock.now())
    assert (swept.images, swept.jobs) == (5, 5)
    assert CANARY not in _everything()


def test_rows_of_earlier_versions_are_dated_and_forgotten(studio: Studio, clock: FrozenClock) -> None:
    short, long = _made(studio), _made(studio)
    GenerationJob.objects.update(forget_at=None)
    GenerationJob.objects.filter(pk=long.pk).update(keep_days=30)
    clock.advance(days=2)
    assert sweep(now=clock.now()).jobs == 1
    assert (reread(short).is_forgotten, reread(long).is_forgotten) == (True, False)


@pytest.mark.parametrize("point", ["purge_batch", "forget_jobs"])
def test_what_a_crash_interrupts_the_next_sweep_finishes(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    _made(studio)
    [image] = Artifact.objects.all()
    clock.advance(days=2)
    act = getattr(services, point)

    def crash(**options: Any) -> None:
        act(**options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(services, point, crash)
        with pytest.raises(KeyboardInterrupt):
            sweep(now=clock.now())
    # Rows are as before, but the file is gone: never the reverse.
    assert GenerationJob.objects.get().is_forgotten is False and not image.file_path.exists()
    sweep(now=clock.now())
    assert CANARY not in _everything()
    assert {stone.kind: stone.count for stone in Tombstone.objects.all()} == {"image": 1, "job": 1}


def test_lag_is_the_age_of_the_oldest_due_row(studio: Studio, clock: FrozenClock) -> None:
    _made(studio)
    clock.advance(hours=24)
    assert lag_s(now=clock.now()) == 0
    clock.advance(seconds=45)
    assert lag_s(now=clock.now()) == 45
    sweep(now=clock.now())
    assert lag_s(now=clock.now()) == 0


def test_the_command_reports_runs_and_verifies(studio: Studio, clock: FrozenClock) -> None:
    _made(studio)
    assert "now: 0 images, 0 texts of jobs" in _run("report")
    assert "within a day: 1 images, 1 texts of jobs" in _run("report")
    clock.advance(days=1, minutes=3)
    with pytest.raises(CommandError, match="older than it may be"):
        _run("verify")
    assert "deleted 1 images, the texts of 1 jobs" in _run("run")
    assert "nothing is older" in _run("verify")
    GenerationJob.objects.update(request={"prompt": CANARY})
    with pytest.raises(CommandError):
        _run("verify")


def test_pictures_leave_no_digest() -> None:
    stored = {"image": {"digest": "ab" * 32, "width": 8}, "picture_digests": ["ab" * 32], "steps": 4}
    emptied = forgetting.without_texts(stored)
    assert emptied == {"image": {"digest": "0" * 64, "width": 8}, "picture_digests": [], "steps": 4}
    assert "abab" not in json.dumps(emptied)
