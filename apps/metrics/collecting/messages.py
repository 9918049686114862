"""Figures of what is to be told to others: webhooks, mails, Stripe. Six queries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db import connection
from django.db.models import Count, Min, Q

from apps.core.counters import gauge
from apps.mails.choices import MailState
from apps.mails.models import Mail
from apps.metrics.collecting.figures import Figure, age_s, figure
from apps.payments.choices import EventState
from apps.payments.models import ReconcileReport, StripeEvent
from apps.webhooks.choices import OPEN_STATES, DeliveryState
from apps.webhooks.models import Delivery, Endpoint

RECENT: Final = timedelta(days=1)

DELIVERIES: Final = gauge("darkroom_webhook_deliveries", "Webhooks that are not delivered yet.", "state")
WEBHOOK_LAG: Final = gauge(
    "darkroom_webhook_lag_seconds", "How long the oldest webhook that is due has been due."
)
WEBHOOKS_FAILED: Final = gauge(
    "darkroom_webhook_failed_deliveries", "Webhooks given up within the last 24 hours."
)
ENDPOINTS: Final = gauge(
    "darkroom_webhook_endpoints", "Endpoints that fail: paused for a while, or disabled by a 410.", "state"
)
MAILS: Final = gauge("darkroom_mails", "Mails that wait, and mails that were given up.", "state")
MAIL_LAG: Final = gauge("darkroom_mail_lag_seconds", "How long the oldest mail that is due has been due.")
OUTBOX: Final = gauge("darkroom_stripe_outbox_messages", "What Stripe is still to be told.", "message")
OUTBOX_LAG: Final = gauge(
    "darkroom_stripe_outbox_lag_seconds", "How long the oldest of it has been due or tried.", "message"
)
EVENTS: Final = gauge(
    "darkroom_stripe_events", "Stripe's messages to be handled, and those of a week that failed.", "state"
)
EVENT_LAG: Final = gauge(
    "darkroom_stripe_event_lag_seconds", "Age of the oldest message of Stripe's that is to be handled."
)
RECONCILED: Final = gauge(
    "darkroom_stripe_difference_dollars", "How far our books and Stripe's differ, of the last day compared."
)
MESSAGE_SERIES: Final = (
    DELIVERIES,
    WEBHOOK_LAG,
    WEBHOOKS_FAILED,
    ENDPOINTS,
    MAILS,
    MAIL_LAG,
    OUTBOX,
    OUTBOX_LAG,
    EVENTS,
    EVENT_LAG,
    RECONCILED,
)
WAITING_FOR_STRIPE: Final = """
SELECT 'payment', count(*), min(LEAST(first_tried_at, due_at)) FROM payments_payment WHERE state = 'waiting'
UNION ALL
SELECT 'refund', count(*), min(LEAST(first_tried_at, due_at)) FROM payments_refund WHERE state = 'waiting'
UNION ALL
SELECT 'usage', count(*), min(LEAST(first_tried_at, due_at)) FROM payments_meterbatch
 WHERE state = 'waiting'
"""


def collect_messages(now: datetime) -> Iterator[Figure]:
    """As of `now`."""
    yield from _webhooks(now)
    yield from _mails(now)
    yield from _stripe(now)


def _webhooks(now: datetime) -> Iterator[Figure]:
    # One aggregate over the two partial indexes; what has ended is counted by another.
    rows = Delivery.objects.filter(state__in=OPEN_STATES).values_list("state")
    found = {
        str(state): (count, first)
        for state, count, first in rows.annotate(n=Count("pk"), first=Min("due_at")).order_by()
    }
    for state in OPEN_STATES:
        yield figure(DELIVERIES, found.get(state, (0, None))[0], state)
    yield figure(WEBHOOK_LAG, age_s(found.get(DeliveryState.WAITING, (0, None))[1], now=now))
    failed = Delivery.objects.filter(state=DeliveryState.FAILED, ended_at__gt=now - RECENT)
    yield figure(WEBHOOKS_FAILED, failed.count())
    is_disabled = Q(disabled_at__isnull=False)
    endpoints = Endpoint.objects.aggregate(
        paused=Count("pk", filter=Q(paused_until__gt=now) & ~is_disabled),
        disabled=Count("pk", filter=is_disabled),
    )
    for health, count in endpoints.items():
        yield figure(ENDPOINTS, count, health)


def _mails(now: datetime) -> Iterator[Figure]:
    is_queued = Q(state=MailState.QUEUED)
    found = Mail.objects.exclude(state=MailState.SENT).aggregate(
        queued=Count("pk", filter=is_queued),
        dead=Count("pk", filter=Q(state=MailState.DEAD)),
        first=Min("due_at", filter=is_queued),
    )
    yield figure(MAILS, found["queued"], MailState.QUEUED)
    yield figure(MAILS, found["dead"], MailState.DEAD)
    yield figure(MAIL_LAG, age_s(found["first"], now=now))


def _stripe(now: datetime) -> Iterator[Figure]:
    with connection.cursor() as cursor:
        cursor.execute(WAITING_FOR_STRIPE)
        for message, count, first in cursor.fetchall():
            yield figure(OUTBOX, count, message)
            yield figure(OUTBOX_LAG, age_s(first, now=now), message)
    is_waiting = Q(state=EventState.WAITING)
    is_recent = Q(received_at__gt=now - timedelta(days=7))
    events = StripeEvent.objects.filter(is_waiting | is_recent & Q(state=EventState.FAILED)).aggregate(
        waiting=Count("pk", filter=is_waiting),
        failed=Count("pk", filter=~is_waiting),
        first=Min("received_at", filter=is_waiting),
    )
    yield figure(EVENTS, events["waiting"], EventState.WAITING)
    yield figure(EVENTS, events["failed"], EventState.FAILED)
    yield figure(EVENT_LAG, age_s(events["first"], now=now))
    report = ReconcileReport.objects.order_by("-made_at").first()
    yield figure(RECONCILED, report.difference_micro / 10**6 if report else 0.0)
