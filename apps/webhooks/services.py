"""What the rest of the product asks of webhooks: tell of an event, test, send again, forget."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict
from apps.core.ids import random_token
from apps.webhooks.bodies import TEST_DIALECT, TEST_EVENT
from apps.webhooks.choices import ENDED_STATES, DeliveryState
from apps.webhooks.doorbell import announce
from apps.webhooks.models import Attempt, Delivery, Endpoint
from apps.webhooks.wishes import Target, WebhookWish, address_of, require_permitted

EVENT_ID_CHARS: Final = 24
# How long the body of a test is kept.
TEST_LIFETIME: Final = timedelta(days=1)
MAX_REPLAYS: Final = 1000
FORGET_BATCH: Final = 1000
# Endpoints of which nothing bad is known any more.
HEALTHY_ROW_AGE: Final = timedelta(hours=1)


def queue_delivery(
    *,
    account_id: int,
    job_id: int | None,
    event: str,
    target: Target,
    expires_at: datetime,
    now: datetime,
    is_forced: bool = False,
    import_id: int | None = None,
    request_id: str = "",
) -> Delivery:
    """Part: from the commit of the caller's transaction on, this will be delivered.

    `expires_at` is when its body is forgotten. Raises IntegrityError for a second delivery about one job.
    """
    require_transaction()
    delivery = Delivery.objects.create(
        account_id=account_id,
        event_id=f"msg_{random_token(EVENT_ID_CHARS)}",
        event=event,
        job_id=job_id,
        import_id=import_id,
        request_id=request_id,
        dialect=target.dialect,
        url=target.url,
        address=target.address,
        due_at=now,
        is_forced=is_forced,
        created_at=now,
        begun_at=now,
        expires_at=expires_at,
    )
    announce()
    return delivery


def send_test(*, account: Account, url: str, actor: Ref, now: datetime) -> Delivery:
    """Queue a message that tells of nothing, even to an endpoint that is disabled.

    Raises InvalidField for an address that cannot be sent to.
    """
    wish = WebhookWish(url=url, dialect=TEST_DIALECT)
    require_permitted(url)
    with transaction.atomic(durable=True):
        delivery = queue_delivery(
            account_id=account.pk,
            job_id=None,
            event=TEST_EVENT,
            target=wish.target,
            expires_at=now + TEST_LIFETIME,
            now=now,
            is_forced=True,
        )
        _audit("webhooks.delivery.tested", delivery, actor, now)
    return delivery


def replay_delivery(*, delivery: Delivery, actor: Ref, now: datetime) -> Delivery:
    """Send it again at once, with the same id, and with the whole schedule before it.

    Raises Conflict while an attempt is under way.
    """
    with transaction.atomic(durable=True):
        current = Delivery.objects.select_for_update().get(pk=delivery.pk)
        if current.state == DeliveryState.SENDING:
            raise Conflict(problem=f"Delivery {current.event_id} is being sent; wait for the answer.")
        _begin_anew(Delivery.objects.filter(pk=current.pk), now)
        _audit("webhooks.delivery.replayed", current, actor, now)
        announce()
    current.refresh_from_db()
    return current


def replay_failed(
    *, account: Account, since: datetime, actor: Ref, now: datetime, url: str | None = None
) -> int:
    """Send again what was given up since a moment, a thousand at most, oldest first; how many.

    `url` limits it to one endpoint.
    """
    failed = Delivery.objects.filter(account=account, state=DeliveryState.FAILED, ended_at__gte=since)
    if url is not None:
        failed = failed.filter(address=address_of(url))
    with transaction.atomic(durable=True):
        ids = list(failed.order_by("id").select_for_update().values_list("pk", flat=True)[:MAX_REPLAYS])
        _begin_anew(Delivery.objects.filter(pk__in=ids), now)
        audit.record(
            "webhooks.failures.replayed",
            actor=actor,
            subject=account.ref,
            account_id=account.pk,
            data={"count": len(ids)},
            now=now,
        )
        announce()
    return len(ids)


def _begin_anew(deliveries: QuerySet[Delivery], now: datetime) -> None:
    deliveries.update(
        state=DeliveryState.WAITING, due_at=now, begun_at=now, ended_at=None, attempts=0, is_forced=True
    )


def _audit(name: str, delivery: Delivery, actor: Ref, now: datetime) -> None:
    audit.record(name, actor=actor, subject=delivery.ref, account_id=delivery.account_id, now=now)


def forget_expired(*, now: datetime) -> int:
    """Delete bodies, and answers to them, whose images have expired; how many deliveries."""
    total = 0
    while ids := _to_forget(now):
        with transaction.atomic(durable=True):
            Attempt.objects.filter(delivery_id__in=ids).exclude(answer="").update(answer="")
            total += Delivery.objects.filter(pk__in=ids).update(body=None, is_forgotten=True)
    return total


def _to_forget(now: datetime) -> Sequence[int]:
    """What is under way is left until its attempt, which would write an answer, is over."""
    expired = Delivery.objects.filter(is_forgotten=False, expires_at__lte=now)
    return list(
        expired.exclude(state=DeliveryState.SENDING)
        .order_by("expires_at")
        .values_list("pk", flat=True)[:FORGET_BATCH]
    )


def prune_log(*, now: datetime) -> int:
    """Delete deliveries that ended longer ago than the log is kept, and rows of healthy endpoints."""
    old = now - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    ids = Delivery.objects.filter(state__in=ENDED_STATES, ended_at__lte=old).values_list("pk", flat=True)
    total = 0
    while batch := list(ids[:FORGET_BATCH]):
        Delivery.objects.filter(pk__in=batch).delete()
        total += len(batch)
    Endpoint.objects.filter(failures=0, disabled_at=None, updated_at__lte=now - HEALTHY_ROW_AGE).delete()
    return total
