"""Each end of a job becomes one delivery, in the transaction of that end; nothing else does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from apps.audit.refs import SYSTEM
from apps.core import clock as core_clock
from apps.core.errors import InvalidField
from apps.generation import lifecycle
from apps.generation.announcing import announce_end
from apps.generation.delivering import artifact_expiry
from apps.generation.faults import INTERNAL
from apps.generation.invariants import find_violations
from apps.generation.lifecycle import fail_job, finish_cancel, lease_of, reap_expired
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import cancel_job, submit_generation
from apps.webhooks.models import Delivery
from apps.webhooks.wishes import WebhookWish
from tests.apps.generation.studio import Studio, assert_invariants_hold, claim_one, finish, worker_ref
from tests.clocks import FrozenClock

WISH = WebhookWish(url="https://example.com/hook?token=1")

pytestmark = pytest.mark.django_db(transaction=True)


def submit(studio: Studio, webhook: WebhookWish | None = WISH) -> GenerationJob:
    return submit_generation(
        account=studio.account,
        api_key=studio.key,
        request=GenerationRequest(checkpoint=studio.checkpoint.name, prompt="a teal square"),
        client_options={},
        track_id="mine",
        now=core_clock.now(),
        webhook=webhook,
    )


def fail(job: GenerationJob) -> None:
    fail_job(lease=lease_of(claim_one()), failure=INTERNAL, worker=worker_ref(), now=core_clock.now())


def stop(job: GenerationJob) -> None:
    finish_cancel(lease=lease_of(claim_one()), worker=worker_ref(), now=core_clock.now())


def cancel_queued(job: GenerationJob) -> None:
    cancel_job(job=job, actor=SYSTEM, now=core_clock.now())


def crash_twice(job: GenerationJob) -> None:
    for _ in range(2):
        claim_one(suspects=GenerationJob.objects.get(pk=job.pk).crashes > 0)
        lifecycle.reap_crashed(worker="host/cpu", actor=SYSTEM, now=core_clock.now())


@pytest.mark.parametrize(
    ("bring_to_its_end", "event"),
    [
        (lambda job: finish(claim_one()), "job.succeeded"),
        (fail, "job.failed"),
        (stop, "job.canceled"),
        (cancel_queued, "job.canceled"),
        (crash_twice, "job.quarantined"),
    ],
    ids=["finished", "failed", "stopped", "canceled", "quarantined"],
)
def test_each_end_is_told_once(
    studio: Studio, clock: FrozenClock, bring_to_its_end: Callable[[GenerationJob], None], event: str
) -> None:
    job = submit(studio)
    assert not Delivery.objects.exists()
    clock.advance(seconds=3)

    bring_to_its_end(job)

    row = Delivery.objects.get()
    assert (row.event, row.job_id, row.account_id) == (event, job.pk, studio.account.pk)
    assert (row.url, row.address, row.dialect) == (WISH.url, "https://example.com/hook", "modelslab")
    assert (row.state, row.due_at, row.expires_at) == ("waiting", clock.now(), artifact_expiry(job))
    assert_invariants_hold()


def test_an_expired_job_is_told_of(studio: Studio, clock: FrozenClock) -> None:
    submit(studio)
    clock.advance(days=2)
    reap_expired(actor=SYSTEM, now=clock.now())
    assert Delivery.objects.get().event == "job.expired"


def test_canceling_a_running_job_tells_of_its_end_alone(studio: Studio) -> None:
    job = submit(studio)
    claimed = claim_one()
    cancel_job(job=job, actor=SYSTEM, now=core_clock.now())
    assert not Delivery.objects.exists()
    finish_cancel(lease=lease_of(claimed), worker=worker_ref(), now=core_clock.now())
    assert Delivery.objects.get().event == "job.canceled"


def test_without_a_webhook_nothing_is_told(studio: Studio) -> None:
    submit(studio, None)
    finish(claim_one())
    assert not Delivery.objects.exists()
    assert_invariants_hold()


def test_an_end_that_is_rolled_back_is_not_told(studio: Studio) -> None:
    submit(studio)
    job = claim_one()
    with pytest.raises(RuntimeError, match="delivered 0 of 1"):
        finish(job, artifacts=[])
    assert not Delivery.objects.exists()


def test_a_private_address_is_refused_at_once(studio: Studio) -> None:
    with pytest.raises(InvalidField, match=r"webhook cannot be used: 10\.0\.0\.1"):
        submit(studio, WebhookWish(url="https://10.0.0.1/"))
    assert not GenerationJob.objects.exists()


def test_a_forgotten_delivery_is_a_violation(studio: Studio) -> None:
    submit(studio)
    finish(claim_one())
    Delivery.objects.all().delete()
    found = find_violations(now=core_clock.now())["every end is told once"]
    assert [line.split(" is ")[1] for line in found] == ["succeeded and has a webhook, but 0 deliveries"]


def test_the_database_refuses_a_second_telling(studio: Studio) -> None:
    submit(studio)
    job = claim_one()
    finish(job)
    job.refresh_from_db()
    with pytest.raises(Exception, match="webhooks_delivery_once_per_job"), transaction.atomic():
        announce_end(job, links_end_at=artifact_expiry(job), now=core_clock.now())
