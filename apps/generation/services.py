"""What callers may do with generation jobs: submit and cancel. What workers do is in `lifecycle.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_checkpoint
from apps.core.errors import InvalidField
from apps.generation.adapters import choose_adapters
from apps.generation.channels import notify_cancel, notify_changed, notify_queued
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.errors import CheckpointNotAllowed, NotCancelable, QueueFull, TooManyImages
from apps.generation.idempotency import IdempotencyClaim, bind_job, find_record, take_key
from apps.generation.models import GenerationJob
from apps.generation.queueing import queue_tag, work_tflop
from apps.generation.request import SIDE_MULTIPLE_PX, CheckpointDefaults, GenerationRequest, resolve
from apps.generation.settlement import release_reservation
from apps.plans.entitlements import Entitlements, Unlimited
from apps.plans.selectors import get_entitlements
from apps.quotas.services import reserve_calls
from gpu_runtime.messages import Sampler
from gpu_runtime.sampler_facts import ANY_SCHEDULE, read_name
from gpu_runtime.weights.family_facts import NEEDS_MORE_THAN_A_PROMPT, facts_of

# What a caller over the queue limit is told to wait; the contract's own figure.
QUEUE_RETRY_S = 30


def submit_generation(
    *,
    account: Account,
    api_key: ApiKey,
    request: GenerationRequest,
    client_options: Mapping[str, object],
    track_id: str | int | None,
    now: datetime,
    idempotency: IdempotencyClaim | None = None,
) -> GenerationJob:
    """Accept one request and queue it; the caller may answer as soon as this returns.

    Reserves one call of the day's quota: finishing settles it, failing and canceling give it back.
    With an idempotency claim that an earlier or concurrent twin took, returns the twin's job and
    reserves nothing. `client_options` and `track_id` are kept for the dialect that renders the result.

    Raises CheckpointNotFound, CheckpointNotAllowed, EntryNotFound, FamilyMismatch, InvalidField,
    KindNotInPlan, TooManyImages, DailyQuotaExhausted, QueueFull, IdempotencyMismatch.
    """
    entitlements = get_entitlements(account=account)
    checkpoint = access_checkpoint(account=account, name=request.checkpoint)
    if not api_key.allows_checkpoint(checkpoint.name):
        raise CheckpointNotAllowed(name=request.checkpoint)
    _require_entitled(entitlements, request)
    _require_text_to_image(checkpoint)
    job = _new_job(account, api_key, checkpoint, request, entitlements, now)
    job.client_options = dict(client_options)
    job.track_id = track_id

    with transaction.atomic(durable=True):
        if idempotency is None:
            _accept(job, account, entitlements, now)
            return job
        key_record = take_key(account_id=account.pk, claim=idempotency, now=now)
        if key_record is not None:
            _accept(job, account, entitlements, now)
            bind_job(record=key_record, job=job)
            return job
    return _job_of_twin(account=account, claim=idempotency)


def _require_entitled(entitlements: Entitlements, request: GenerationRequest) -> None:
    entitlements.require_kind(request.kind)
    if request.num_images > entitlements.max_samples:
        raise TooManyImages(
            plan=entitlements.plan_code, limit=entitlements.max_samples, asked=request.num_images
        )


def _require_text_to_image(checkpoint: CatalogEntry) -> None:
    """Refused here and not by the worker, which would have to load the weights to see it."""
    needed = NEEDS_MORE_THAN_A_PROMPT.get(checkpoint.variant)
    if needed is not None:
        raise InvalidField(
            field="checkpoint",
            problem=f"{checkpoint.name} makes no image from a prompt alone: it needs {needed}",
        )


def _new_job(
    account: Account,
    api_key: ApiKey,
    checkpoint: CatalogEntry,
    request: GenerationRequest,
    entitlements: Entitlements,
    now: datetime,
) -> GenerationJob:
    """The unsaved row. Raises InvalidField for what this checkpoint cannot make, and as choose_adapters."""
    # By its name, whatever alias the caller used: usage and invoices speak of one checkpoint in one way.
    resolved = resolve(
        replace(request, checkpoint=checkpoint.name),
        checkpoint_defaults(checkpoint),
        choose_adapters(account=account, request=request, checkpoint=checkpoint),
    )
    return GenerationJob(
        account=account,
        api_key=api_key,
        checkpoint=checkpoint,
        kind=resolved.kind,
        request=resolved.to_json(),
        num_images=resolved.num_images,
        weight=entitlements.weight,
        work_tflop=work_tflop(checkpoint, resolved),
        progress_total=resolved.steps * resolved.num_images,
        queued_at=now,
        deadline_at=now + timedelta(seconds=settings.QUEUE_TTL_S),
    )


def checkpoint_defaults(checkpoint: CatalogEntry) -> CheckpointDefaults:
    """The catalogue's row as the request module understands it."""
    defaults, facts = checkpoint.defaults, facts_of(checkpoint.family)
    sampler, schedule = read_name(defaults["sampler"])
    return CheckpointDefaults(
        native_px=checkpoint.native_px,
        min_side_px=checkpoint.min_side_px,
        max_side_px=checkpoint.max_side_px,
        max_native_side_px=checkpoint.max_native_side_px,
        steps=int(defaults["steps"]),
        guidance_scale=float(defaults["guidance_scale"]),
        sampler=sampler,
        schedule=schedule,
        negative_prompt=str(defaults.get("negative_prompt", "")),
        samplers=facts.samplers if facts else tuple(Sampler),
        schedules=facts.schedules if facts else ANY_SCHEDULE,
        side_multiple_px=facts.side_multiple_px if facts else SIDE_MULTIPLE_PX,
    )


def _accept(job: GenerationJob, account: Account, entitlements: Entitlements, now: datetime) -> None:
    """Part: reserve, insert, audit and ring the bell. The quota row's lock orders an account's submits."""
    job.quota_day = reserve_calls(
        account=account, count=1, limit=entitlements.calls_per_day, now=now, api_key=job.api_key
    )
    _require_queue_room(account, entitlements)
    job.queue_tag = queue_tag(job)
    job.save(force_insert=True)
    record(
        "generation.job.submitted",
        actor=job.api_key.ref if job.api_key is not None else account.ref,
        subject=job.ref,
        account_id=account.pk,
        data={"checkpoint": job.checkpoint.name, "images": job.num_images},
        now=now,
    )
    notify_queued()


def _require_queue_room(account: Account, entitlements: Entitlements) -> None:
    """Exact because the account's quota row is locked by this transaction, so its submits come one by one."""
    if entitlements.queue_depth is Unlimited.UNLIMITED:
        return
    if (
        GenerationJob.objects.filter(account=account, state__in=OPEN_STATES).count()
        >= entitlements.queue_depth
    ):
        raise QueueFull(limit=entitlements.queue_depth, seconds=QUEUE_RETRY_S, retry_after_s=QUEUE_RETRY_S)


def _job_of_twin(*, account: Account, claim: IdempotencyClaim) -> GenerationJob:
    key_record = find_record(account_id=account.pk, claim=claim)
    if key_record is None or key_record.job is None:
        # The twin was rolled back between our look and this one; a repeat starts afresh.
        raise InvalidField(field="Idempotency-Key", problem="is in use by a request that was just refused")
    return key_record.job


def cancel_job(*, job: GenerationJob, actor: Ref, now: datetime) -> GenerationJob:
    """End a queued job at once; ask the worker to stop a running one, which it does within one step.

    Raises NotCancelable when the job has already ended.
    """
    with transaction.atomic(durable=True):
        current = GenerationJob.objects.select_for_update().get(pk=job.pk)
        if current.is_terminal:
            raise NotCancelable(id=current.pk, state=current.state)
        current.is_cancel_requested = True
        if current.state == JobState.QUEUED:
            current.state = JobState.CANCELED
            current.finished_at = now
            release_reservation(current)
        current.save(update_fields=["is_cancel_requested", "state", "finished_at"])
        _record_cancel(current, actor, now)
        notify_cancel()
        notify_changed(current.pk)
    return current


def _record_cancel(job: GenerationJob, actor: Ref, now: datetime) -> None:
    name = "generation.job.canceled" if job.is_terminal else "generation.job.cancel_requested"
    record(name, actor=actor, subject=job.ref, account_id=job.account_id, now=now)
