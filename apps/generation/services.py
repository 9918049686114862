"""What callers may do with generation jobs: submit and cancel. What workers do is in `lifecycle.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import TypeAlias

from django.conf import settings
from django.db import transaction

from apps.accounts.models import Account
from apps.apikeys.errors import ApiKeyInvalid
from apps.apikeys.models import ApiKey
from apps.audit.refs import Ref
from apps.audit.services import Happened, record, record_together
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_checkpoint
from apps.core.errors import InvalidField
from apps.core.logging import request_id
from apps.generation.announcing import announce_end
from apps.generation.channels import notify_cancel, notify_changed, notify_queued
from apps.generation.checkpoints import checkpoint_defaults, require_able
from apps.generation.choices import DENOISING_KINDS, JobState
from apps.generation.choosing import choose_entries
from apps.generation.delivering import artifact_expiry
from apps.generation.errors import CheckpointNotAllowed, NotCancelable
from apps.generation.idempotency import IdempotencyClaim, bind_jobs, find_records, take_keys
from apps.generation.models import GenerationJob
from apps.generation.plan_rules import parallel_of, require_entitled, require_side
from apps.generation.pricing import fund_jobs
from apps.generation.queue_room import require_queue_room
from apps.generation.queueing import queue_tags
from apps.generation.request import GenerationRequest
from apps.generation.resolving import resolve
from apps.generation.safety_policy import judge_prompt
from apps.generation.settlement import release_reservation
from apps.generation.work_cost import row_steps, work_tflop
from apps.plans.entitlements import Entitlements, Unlimited
from apps.plans.selectors import get_entitlements
from apps.quotas.announcing import announce_refusal
from apps.quotas.errors import BudgetExhausted
from apps.quotas.months import present_weight
from apps.quotas.services import reserve_calls
from apps.webhooks.wishes import WebhookWish, require_permitted

FindCheckpoint: TypeAlias = Callable[[str], CatalogEntry]
"""By what callers name it; what is accepted together asks for each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One request to accept, with what comes beside it; see `submit_generation`."""

    request: GenerationRequest
    client_options: Mapping[str, object]
    track_id: str | int | None = None
    idempotency: IdempotencyClaim | None = None
    webhook: WebhookWish | None = None


def submit_generation(
    *,
    account: Account,
    api_key: ApiKey,
    request: GenerationRequest,
    client_options: Mapping[str, object],
    track_id: str | int | None,
    now: datetime,
    idempotency: IdempotencyClaim | None = None,
    webhook: WebhookWish | None = None,
) -> GenerationJob:
    """Accept one request and queue it; the caller may answer as soon as this returns.

    Reserves one call of the day's quota: finishing settles it, failing and canceling give it back.
    With an idempotency claim that an earlier or concurrent twin took, returns the twin's job and
    reserves nothing. `client_options` and `track_id` are kept for the dialect that renders the result; its
    end, whatever it is, is told to `webhook`.

    Raises CheckpointNotFound, CheckpointNotAllowed, EntryNotFound, EntryDisabled, FamilyMismatch,
    InvalidField, KindNotInPlan, ModelNotInPlan, ModelNotInstalled, PromptBlocked, TooManyImages,
    DailyQuotaExhausted, MonthlyQuotaExhausted, PaymentRequired, BudgetExhausted, QueueFull,
    IdempotencyMismatch; ApiKeyInvalid for an account that is switched off.
    """
    wanted = Wanted(
        request=request,
        client_options=client_options,
        track_id=track_id,
        idempotency=idempotency,
        webhook=webhook,
    )
    return submit_together(account=account, api_key=api_key, wanted=[wanted], now=now)[0]


def submit_together(
    *, account: Account, api_key: ApiKey, wanted: Sequence[Wanted], now: datetime
) -> list[GenerationJob]:
    """Accept several requests, all of them or none; the jobs come in their order.

    Either none has an idempotency claim or all have, made from one of the caller's: a twin that took the
    first has taken the others with it. Raises as `submit_generation`; a budget that refuses is told of.
    """
    if not wanted:
        return []
    try:
        return _submit(account, api_key, wanted, now)
    except BudgetExhausted as refusal:
        announce_refusal(budget_ids=refusal.budget_ids, now=now)
        raise


def _submit(
    account: Account, api_key: ApiKey, wanted: Sequence[Wanted], now: datetime
) -> list[GenerationJob]:
    # Keys are judged where a call comes in; what acts for an account in another way is stopped here.
    if not account.is_active:
        raise ApiKeyInvalid
    entitlements = get_entitlements(account=account)
    find = cache(partial(_checkpoint, account, api_key))
    jobs = [_job_of(account, api_key, each, entitlements, find, now) for each in wanted]
    claims = [each.idempotency for each in wanted if each.idempotency is not None]
    with transaction.atomic(durable=True):
        taken = take_keys(account_id=account.pk, claims=claims, now=now)
        ours = [key_record for key_record in taken if key_record is not None]
        if len(ours) == len(claims):
            _accept(jobs, account, api_key, entitlements, now)
            bind_jobs(records=ours, jobs=jobs[: len(ours)])
            return jobs
        transaction.set_rollback(True)
    return _jobs_of_twins(account, claims)


def _job_of(
    account: Account,
    api_key: ApiKey,
    wanted: Wanted,
    entitlements: Entitlements,
    find: FindCheckpoint,
    now: datetime,
) -> GenerationJob:
    """Unsaved. Raises as `submit_generation`, but for quota and queue."""
    job = _new_job(account, api_key, wanted.request, entitlements, find, now)
    job.client_options = dict(wanted.client_options)
    job.track_id = wanted.track_id
    if wanted.webhook is not None:
        require_permitted(wanted.webhook.url)
        job.webhook = wanted.webhook.target.to_json()
    return job


def job_for(
    *,
    account: Account,
    api_key: ApiKey,
    request: GenerationRequest,
    now: datetime,
    entitlements: Entitlements | None = None,
) -> GenerationJob:
    """The row that a submit would queue, unsaved and unfunded; `entitlements` are the account's.

    Raises as `submit_generation`, but for quota, queue and money.
    """
    known = entitlements or get_entitlements(account)
    return _new_job(account, api_key, request, known, partial(_checkpoint, account, api_key), now)


def _checkpoint(account: Account, api_key: ApiKey, name: str) -> CatalogEntry:
    """One query. Raises as `submit_generation`."""
    checkpoint = access_checkpoint(account=account, name=name)
    if not api_key.allows_checkpoint(checkpoint.name):
        raise CheckpointNotAllowed(name=name)
    return checkpoint


def _new_job(
    account: Account,
    api_key: ApiKey,
    request: GenerationRequest,
    entitlements: Entitlements,
    find: FindCheckpoint,
    now: datetime,
) -> GenerationJob:
    """The unsaved row. Raises as `submit_generation`, but for what depends on other jobs."""
    # Kinds that denoise nothing have none.
    checkpoint = find(request.checkpoint) if request.kind in DENOISING_KINDS else None
    require_entitled(entitlements, request, checkpoint)
    if checkpoint is not None:
        require_able(checkpoint, request)
    judgement = judge_prompt(account=account, request=request)
    # By its name, whatever alias the caller used: usage and invoices speak of one checkpoint in one way.
    resolved = resolve(
        replace(request, checkpoint=checkpoint.name if checkpoint else ""),
        checkpoint_defaults(checkpoint) if checkpoint else None,
        choose_entries(account=account, request=request, checkpoint=checkpoint),
    )
    require_side(entitlements, resolved)
    return GenerationJob(
        account=account,
        api_key=api_key,
        checkpoint=checkpoint,
        kind=resolved.kind,
        request=resolved.to_json(),
        result={"safety": judgement} if judgement else {},
        num_images=resolved.num_images,
        weight=entitlements.weight,
        keep_days=entitlements.kept_days,
        max_parallel=parallel_of(entitlements),
        key_max_parallel=api_key.max_parallel,
        work_tflop=work_tflop(checkpoint, resolved),
        progress_total=row_steps(resolved, checkpoint.family if checkpoint else ""),
        request_id=request_id.get(),
        queued_at=now,
        deadline_at=now + timedelta(seconds=settings.QUEUE_TTL_S),
    )


def _accept(
    jobs: Sequence[GenerationJob],
    account: Account,
    api_key: ApiKey,
    entitlements: Entitlements,
    now: datetime,
) -> None:
    """Part: reserve, fund, insert, audit, ring the bell. The quota row's lock orders an account's submits."""
    quota_day = reserve_calls(
        account=account,
        count=len(jobs),
        limit=entitlements.calls_per_day,
        now=now,
        api_key=api_key,
        month_limit=entitlements.calls_per_month,
        is_month_counted=not isinstance(entitlements.fair_use_calls_per_month, Unlimited),
    )
    weight = present_weight(account=account, entitlements=entitlements, now=now)
    require_queue_room(account, entitlements, api_key, count=len(jobs))
    for job in jobs:
        job.quota_day, job.weight = quota_day, weight
        job.forget_at = artifact_expiry(job)
    fund_jobs(jobs, account, entitlements, now=now)
    for job, tag in zip(jobs, queue_tags(jobs), strict=True):
        job.queue_tag = tag
    GenerationJob.objects.bulk_create(jobs)
    record_together(
        "generation.job.submitted",
        [_submitted(job) for job in jobs],
        actor=api_key.ref if api_key is not None else account.ref,
        now=now,
    )
    notify_queued()


def _submitted(job: GenerationJob) -> Happened:
    data = {"kind": job.kind, "checkpoint": job.request["checkpoint"], "images": job.num_images}
    return Happened(subject=job.ref, account_id=job.account_id, data=data)


def _jobs_of_twins(account: Account, claims: Sequence[IdempotencyClaim]) -> list[GenerationJob]:
    records = find_records(account_id=account.pk, claims=claims)
    jobs = [record.job for record in records if record is not None and record.job is not None]
    if len(jobs) < len(claims):
        # The twin was rolled back between our look and this one; a repeat starts afresh.
        raise InvalidField(field="Idempotency-Key", problem="is in use by a request that was just refused")
    return jobs


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
            release_reservation(current, now=now)
        current.save(update_fields=["is_cancel_requested", "state", "finished_at"])
        _record_cancel(current, actor, now)
        notify_cancel()
        if current.is_terminal:
            announce_end(current, links_end_at=artifact_expiry(current), now=now)
        else:
            notify_changed(current.pk)
    return current


def _record_cancel(job: GenerationJob, actor: Ref, now: datetime) -> None:
    name = "generation.job.canceled" if job.is_terminal else "generation.job.cancel_requested"
    record(name, actor=actor, subject=job.ref, account_id=job.account_id, now=now)
