"""What operators see of payments in the console."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from apps.payments.choices import EventState
from apps.payments.models import StripeEvent
from apps.payments.reconcile import reconcile
from tests.apps.payments.stage import Stage, audited, usd

PAGES = (
    "autotopup",
    "checkout",
    "dispute",
    "meterbatch",
    "payment",
    "reconcilereport",
    "refund",
    "stripecustomer",
    "stripeevent",
    "stripeinvoice",
    "stripeprice",
)


@pytest.fixture
def console(stage: Stage) -> Client:
    """Otto's browser, after a day on which something came in."""
    stage.subscribe(stage.sell("standard", 47))
    stage.top_up(20)
    client = Client()
    client.force_login(stage.cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_every_list_opens(console: Client) -> None:
    statuses = {page: console.get(f"/console/payments/{page}/").status_code for page in PAGES}
    assert statuses == dict.fromkeys(PAGES, 200)


def test_a_report_shows_both_sides(console: Client, stage: Stage) -> None:
    report = reconcile(day=stage.now.date(), now=stage.now + timedelta(days=1))
    page = console.get(f"/console/payments/reconcilereport/{report.pk}/change/").content.decode()
    assert "At Stripe" in page and "$47.00" in page


def test_a_message_is_shown_as_it_came_and_handled_again(console: Client, stage: Stage) -> None:
    event = StripeEvent.objects.filter(type="payment_intent.succeeded").latest("pk")
    page = console.get(f"/console/payments/stripeevent/{event.pk}/change/").content.decode()
    assert "payment_intent.succeeded" in page
    form = {"action": "again", "_selected_action": [event.pk]}
    assert console.post("/console/payments/stripeevent/", form).status_code == 302
    event.refresh_from_db()
    assert (event.state, event.attempts) == (EventState.HANDLED, 1)
    assert audited("payments.event.replayed") == 1
    assert stage.balances().wallet_micro == usd(20)


def test_what_was_forged_is_not_handled(console: Client, stage: Stage) -> None:
    event = StripeEvent.objects.create(
        event_id="evt_forged",
        type="<script>alert(1)</script>",
        body=b"<script>alert(1)</script>",
        state=EventState.REFUSED,
        received_at=stage.now,
    )
    page = console.get(f"/console/payments/stripeevent/{event.pk}/change/").content.decode()
    assert "<script>alert" not in page
    console.post("/console/payments/stripeevent/", {"action": "again", "_selected_action": [event.pk]})
    event.refresh_from_db()
    assert event.state == EventState.REFUSED
