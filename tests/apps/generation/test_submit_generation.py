from __future__ import annotations

from datetime import timedelta

import pytest

from apps.audit.models import AuditEvent
from apps.catalog.choices import Visibility
from apps.catalog.errors import CheckpointNotFound
from apps.core.errors import InvalidField
from apps.generation.errors import CheckpointNotAllowed, QueueFull, TooManyImages
from apps.generation.idempotency import make_claim
from apps.generation.models import GenerationJob, IdempotencyRecord
from apps.generation.request import GenerationRequest
from apps.generation.services import submit_generation
from apps.plans.errors import KindNotInPlan
from apps.quotas.errors import DailyQuotaExhausted
from apps.quotas.models import DailyKeyUsage
from tests.apps.generation.studio import Studio, claim_one, finish, on_record, trail, usage
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_checkpoint, make_key

CLAIM = make_claim(key="order-1", method="POST", path="/", body=b"{}")


def test_an_accepted_request_becomes_one_queued_job(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, weight=3.0)
    job = submit_generation(
        account=studio.account,
        api_key=studio.key,
        request=GenerationRequest(
            checkpoint="tiny", prompt="a cat", width=128, height=64, num_images=3, steps=10, seed=5
        ),
        client_options={"webhook": None},
        track_id="order 7",
        now=clock.now(),
    )
    [row] = GenerationJob.objects.values()
    group = row.pop("artifact_group")
    assert group == job.artifact_group
    assert row == {
        "id": job.pk,
        "account_id": studio.account.pk,
        "api_key_id": studio.key.pk,
        "checkpoint_id": studio.checkpoint.pk,
        "kind": "txt2img",
        "request": {
            "kind": "txt2img",
            "checkpoint": "tiny",
            "prompt": "a cat",
            "negative_prompt": "",
            "width": 128,
            "height": 64,
            "denoised_width": 128,
            "denoised_height": 64,
            "num_images": 3,
            "steps": 10,
            "guidance_scale": 4.0,
            "seed": 5,
            "sampler": "dpmpp_2m",
            "schedule": "automatic",
            "adapters": {"loras": [], "embeddings": [], "vae": None},
        },
        "client_options": {"webhook": None},
        "track_id": "order 7",
        "num_images": 3,
        "state": "queued",
        "attempt": 0,
        "crashes": 0,
        "fence": 0,
        "claimed_by": "",
        "lease_expires_at": None,
        "priority": 0,
        "weight": 3.0,
        # Of 2 x 10 x 3 forward rows, and as nothing is queued a third of it.
        "work_tflop": pytest.approx(1.28, abs=0.01),
        "queue_tag": job.work_tflop / 3,
        "is_cancel_requested": False,
        "progress_step": 0,
        "progress_total": 30,
        "quota_day": clock.now().date(),
        "queued_at": clock.now(),
        "deadline_at": clock.now() + timedelta(hours=1),
        "claimed_at": None,
        "started_at": None,
        "finished_at": None,
        "timings": {},
        "result": {},
        "webhook": None,
        "funding": "plan",
        "funding_period": None,
        "price_micro": 0,
        "price_book_version": None,
        "max_parallel": None,
        "key_max_parallel": None,
        "request_id": "",
        "keep_days": None,
        "forget_at": clock.now() + timedelta(days=1),
        "is_forgotten": False,
        "error_code": "",
        "error_message": "",
    }


def test_it_reserves_one_call_however_many_images(studio: Studio) -> None:
    studio.submit(num_images=15)
    assert usage(studio.account) == (1, 0)
    assert usage(studio.strangers_account) == (0, 0)


def test_it_is_audited_with_the_key_as_actor(studio: Studio) -> None:
    job = studio.submit(num_images=2)
    event = AuditEvent.objects.get(name="generation.job.submitted")
    assert (event.actor_kind, event.actor_id) == ("api_key", str(studio.key.pk))
    assert (event.subject_kind, event.subject_id) == ("generation_job", str(job.pk))
    assert event.account_id == studio.account.pk
    assert event.data == {"kind": "txt2img", "checkpoint": "tiny", "images": 2}


def test_the_quota_day_is_the_accounts_own(studio: Studio, clock: FrozenClock) -> None:
    studio.account.time_zone = "Pacific/Auckland"
    studio.account.save()
    assert studio.submit().quota_day.isoformat() == "2026-03-03"
    assert studio.submit(by_stranger=True).quota_day.isoformat() == "2026-03-02"


def test_an_alias_names_the_checkpoint_and_defaults_come_from_its_row(studio: Studio) -> None:
    make_checkpoint(
        "other",
        aliases=["sdxl"],
        defaults={"steps": 9, "guidance_scale": 1.5, "sampler": "lcm", "negative_prompt": "fog"},
    )
    job = studio.submit(checkpoint="sdxl")
    assert job.checkpoint.name == "other"
    resolved = job.resolved
    assert (resolved.steps, resolved.guidance_scale, resolved.sampler) == (9, 1.5, "lcm")
    assert resolved.negative_prompt == "fog"


def test_an_unknown_checkpoint_is_refused(studio: Studio) -> None:
    before = on_record()
    with pytest.raises(CheckpointNotFound, match="Model not found: nosuch"):
        studio.submit(checkpoint="nosuch")
    assert on_record() == before


def test_a_strangers_private_checkpoint_is_refused_like_an_unknown_one(studio: Studio) -> None:
    make_checkpoint("hers", visibility=Visibility.PRIVATE, owner=studio.strangers_account)
    before = on_record()
    with pytest.raises(CheckpointNotFound, match="Model not found: hers"):
        studio.submit(checkpoint="hers")
    assert on_record() == before
    assert studio.submit(checkpoint="hers", by_stranger=True).checkpoint.name == "hers"


def test_a_key_reaches_only_the_checkpoints_it_is_allowed(studio: Studio) -> None:
    make_checkpoint("other", aliases=["o"])
    key = make_key(studio.account, allowed_checkpoints=["tiny"]).key
    confined = Studio(
        account=studio.account,
        key=key,
        strangers_account=studio.strangers_account,
        strangers_key=studio.strangers_key,
        checkpoint=studio.checkpoint,
    )
    before = on_record()
    for name in ("other", "o"):
        with pytest.raises(CheckpointNotAllowed, match=f"This API key may not use the model {name}"):
            confined.submit(checkpoint=name)
    assert on_record() == before
    assert confined.submit().checkpoint.name == "tiny"


def test_a_kind_outside_the_plan_is_refused(studio: Studio) -> None:
    give_plan(studio.account, kinds=["img2img"])
    before = on_record()
    with pytest.raises(KindNotInPlan, match="Your plan only-ada does not include txt2img"):
        studio.submit()
    assert on_record() == before


def test_the_plans_images_are_allowed_and_one_more_is_refused(studio: Studio) -> None:
    give_plan(studio.account, max_samples=4)
    assert studio.submit(num_images=4).num_images == 4
    before = on_record()
    with pytest.raises(TooManyImages) as refusal:
        studio.submit(num_images=5)
    assert str(refusal.value) == "The plan only-ada allows at most 4 images in one request, not 5."
    assert refusal.value.http_status == 403
    assert on_record() == before


def test_a_size_beyond_the_checkpoint_is_refused(studio: Studio) -> None:
    make_checkpoint("small", max_side_px=512)
    before = on_record()
    with pytest.raises(InvalidField, match="width must be 64 to 512 for model small, not 520"):
        studio.submit(checkpoint="small", width=520)
    assert on_record() == before


def test_the_last_call_of_the_day_passes_and_the_next_is_refused(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, calls_per_day=1)
    clock.advance(hours=1)
    studio.submit()
    before = on_record()
    with pytest.raises(DailyQuotaExhausted) as refusal:
        studio.submit()
    assert str(refusal.value) == "The daily limit of 1 calls is used up; it resets at 2026-03-03T00:00:00Z."
    assert refusal.value.retry_after_s == 11 * 3600
    assert on_record() == before


def test_a_finished_call_still_counts_against_the_day(studio: Studio) -> None:
    give_plan(studio.account, calls_per_day=1)
    studio.submit()
    finish(claim_one())
    assert usage(studio.account) == (0, 1)
    with pytest.raises(DailyQuotaExhausted):
        studio.submit()


def test_the_cap_of_a_key_is_enforced_and_leaves_the_accounts_other_keys_alone(studio: Studio) -> None:
    capped = make_key(studio.account, daily_cap=1).key
    with_capped = Studio(
        account=studio.account,
        key=capped,
        strangers_account=studio.strangers_account,
        strangers_key=studio.strangers_key,
        checkpoint=studio.checkpoint,
    )
    with_capped.submit()
    before = on_record()
    with pytest.raises(DailyQuotaExhausted, match="The daily limit of 1 calls"):
        with_capped.submit()
    assert on_record() == before
    assert DailyKeyUsage.objects.get(api_key=capped).calls == 1
    studio.submit()
    assert usage(studio.account) == (2, 0)


def test_as_many_open_jobs_as_the_plan_allows_and_no_more(studio: Studio) -> None:
    give_plan(studio.account, queue_depth=2)
    studio.submit()
    studio.submit()
    before = on_record()
    with pytest.raises(QueueFull) as refusal:
        studio.submit()
    assert str(refusal.value) == "The queue limit of 2 open requests is reached; try again in 30 seconds."
    assert (refusal.value.http_status, refusal.value.retry_after_s) == (429, 30)
    assert on_record() == before


def test_running_jobs_fill_the_queue_and_finished_ones_leave_it(studio: Studio) -> None:
    give_plan(studio.account, queue_depth=1)
    studio.submit()
    running = claim_one()
    with pytest.raises(QueueFull):
        studio.submit()
    finish(running)
    studio.submit()


def test_a_strangers_jobs_do_not_fill_the_queue(studio: Studio) -> None:
    give_plan(studio.account, queue_depth=1)
    studio.submit(by_stranger=True)
    studio.submit()


def test_an_unlimited_plan_has_neither_quota_nor_queue_limit(studio: Studio) -> None:
    give_plan(studio.account, calls_per_day="unlimited", queue_depth="unlimited")
    for _ in range(25):
        studio.submit()
    assert usage(studio.account) == (25, 0)


def test_a_refusal_does_not_use_up_the_idempotency_key(studio: Studio) -> None:
    give_plan(studio.account, queue_depth=0)
    with pytest.raises(QueueFull):
        studio.submit(idempotency=CLAIM)
    assert IdempotencyRecord.objects.count() == 0
    give_plan(studio.account, queue_depth=1)
    job = studio.submit(idempotency=CLAIM)
    assert IdempotencyRecord.objects.get().job == job
    assert trail(job) == ["submitted"]
