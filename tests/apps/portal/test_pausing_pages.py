"""A plan rests and goes on, by Stripe and by invoice, once however often it is clicked."""

from __future__ import annotations

from django.test import Client

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.plans.models import Subscription
from apps.plans.selectors import get_plan
from apps.plans.subscriptions import start_subscription
from tests.apps.payments.stage import Stage
from tests.apps.portal.billing_forms import send, text_of
from tests.apps.portal.conftest import signed_in
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_plan

PAGE = "/portal/billing"


def revision(cast: Cast) -> int:
    return Subscription.objects.get(account=cast.account).revision


def test_a_plan_by_invoice_rests_and_goes_on(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    plan = make_plan("studio", is_default=False)
    start_subscription(account=cast.account, plan=plan, actor=SYSTEM, now=clock.now())
    seen = revision(cast)
    assert f'action="{PAGE}/pause"' in text_of(ada.get(PAGE))

    html = text_of(send(ada, f"{PAGE}/pause", revision=seen))
    assert "Your plan rests." in html and f'action="{PAGE}/resume"' in html
    assert get_plan(cast.account, now=clock.now()) == cast.plan

    # The second click, and a page that is out of date.
    assert "moment ago" in text_of(send(ada, f"{PAGE}/pause", revision=seen))
    assert Subscription.objects.get(account=cast.account).state == "paused"

    assert "goes on" in text_of(send(ada, f"{PAGE}/resume", revision=revision(cast)))
    assert get_plan(cast.account, now=clock.now()) == plan


def test_a_plan_by_stripe_rests_and_goes_on(stage: Stage) -> None:
    plan = stage.sell("standard", 47)
    stage.subscribe(plan)
    browser = signed_in(stage.cast.ada)

    for _click in range(2):
        assert "Your plan rests." in text_of(send(browser, f"{PAGE}/pause", revision=revision(stage.cast)))
    assert stage.plan_code() == stage.cast.plan.code
    assert "goes on" in text_of(send(browser, f"{PAGE}/resume", revision=revision(stage.cast)))

    stage.deliver()
    assert stage.plan_code() == "standard"


def test_without_a_plan_there_is_nothing_to_pause(ada: Client, cast: Cast) -> None:
    assert "Pause plan" not in text_of(ada.get(PAGE))

    html = text_of(send(ada, f"{PAGE}/pause", revision=0))

    assert "There is no plan here" in html
    assert AuditEvent.objects.get(name="portal.refused").data["code"] == "conflict"
