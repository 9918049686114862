"""Billing where payments are not set up: plans by invoice, double clicks, two tabs."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.audit.refs import SYSTEM
from apps.billing.invoices.models import InvoiceTerms
from apps.billing.ledger.selectors import balances
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan, PlanCharge, Subscription
from apps.plans.selectors import get_plan
from apps.plans.services import save_plan
from apps.plans.subscriptions import start_subscription
from tests.apps.portal.billing_forms import PAGE, dismissed, send, text_of
from tests.apps.portal.conftest import signed_in
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_plan


def sell(code: str, dollars: int, **fields: Any) -> Plan:
    """A plan that is on sale (Any: the plan's columns)."""
    plan = make_plan(code, is_default=False)
    for name, value in ({"price_micro": dollars * 1_000_000, "is_public": True} | fields).items():
        setattr(plan, name, value)
    plan.save()
    return plan


@pytest.fixture
def standard(cast: Cast) -> Plan:
    return sell("standard", 47)


@pytest.fixture
def premium(cast: Cast) -> Plan:
    return sell("premium", 199)


@pytest.fixture
def subscribed(cast: Cast, standard: Plan, clock: FrozenClock) -> Subscription:
    """Ada's account pays for the standard plan by invoice, from the frozen present on."""
    InvoiceTerms.objects.create(account=cast.account, buyer="Ada Lovelace")
    return start_subscription(account=cast.account, plan=standard, actor=SYSTEM, now=clock.now())


def test_without_payments_the_page_says_so_and_sells_nothing(ada: Client, standard: Plan) -> None:
    html = text_of(ada.get(PAGE))

    assert "Payments are not set up on this installation." in html
    assert "/portal/billing/top-up" not in html
    assert "This change cannot be made here" in text_of(ada.get(f"{PAGE}/plans/standard"))


def test_a_top_up_without_payments_changes_nothing(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    html = text_of(send(ada, f"{PAGE}/top-up", amount="25"))

    assert dismissed(html) == ["Payments are not set up on this installation; ask its operator."]
    assert balances(cast.account, clock.now()).wallet_micro == 0


def test_an_upgrade_says_what_it_costs_and_then_costs_that(
    ada: Client, cast: Cast, subscribed: Subscription, premium: Plan, clock: FrozenClock
) -> None:
    clock.advance(days=10)
    page = text_of(ada.get(f"{PAGE}/plans/premium"))
    before = set(PlanCharge.objects.values_list("pk", flat=True))

    html = text_of(send(ada, f"{PAGE}/plans/premium", revision=subscribed.revision))

    [charge] = PlanCharge.objects.exclude(pk__in=before)
    # 21 of 31 days are left of the difference of 152 dollars.
    assert charge.amount_micro == 152_000_000 * 21 // 31
    # Nobody is billed fractions of a cent.
    assert "$102.96" in page and "$102.967" not in page
    assert dismissed(html) == ["You are on the plan Premium now."]
    assert get_plan(cast.account, now=clock.now()) == premium


def test_who_is_sent_no_invoices_upgrades_nothing_at_once(
    ada: Client, cast: Cast, subscribed: Subscription, premium: Plan, standard: Plan, clock: FrozenClock
) -> None:
    InvoiceTerms.objects.all().delete()

    send(ada, f"{PAGE}/plans/premium", revision=subscribed.revision)

    assert get_plan(cast.account, now=clock.now()) == standard
    assert "This change cannot be made here" in text_of(ada.get(f"{PAGE}/plans/premium"))


def test_a_plan_that_costs_nothing_is_no_subscription(
    ada: Client, cast: Cast, premium: Plan, clock: FrozenClock
) -> None:
    metered = sell("metered", 0)

    html = text_of(send(ada, f"{PAGE}/plans/metered"))

    assert dismissed(html) == ["You are on the plan Metered now."]
    assert get_plan(cast.account, now=clock.now()) == metered
    assert not Subscription.objects.exists()
    send(ada, f"{PAGE}/plans/premium")
    assert get_plan(cast.account, now=clock.now()) == metered


def test_whoever_has_an_earlier_version_is_shown_its_price(
    ada: Client, cast: Cast, subscribed: Subscription, standard: Plan, clock: FrozenClock
) -> None:
    standard.price_micro = 59_000_000
    save_plan(plan=standard, actor=SYSTEM, now=clock.now())

    for html in (text_of(ada.get(PAGE)), text_of(ada.get(f"{PAGE}/plans"))):
        assert "$47" in html
        assert "$59" not in html
    assert "$59" in text_of(ada.get("/pricing"))


def test_two_tabs_upgrade_once(
    ada: Client, cast: Cast, subscribed: Subscription, premium: Plan, clock: FrozenClock
) -> None:
    big = sell("big", 500)
    seen = subscribed.revision
    send(ada, f"{PAGE}/plans/premium", revision=seen)

    html = text_of(send(ada, f"{PAGE}/plans/big", revision=seen))

    assert dismissed(html) == ["The plan was changed in another window; look at it again."]
    assert get_plan(cast.account, now=clock.now()) == premium
    assert not Subscription.objects.filter(plan=big).exists()


def test_a_double_click_on_an_upgrade_charges_once(
    ada: Client, subscribed: Subscription, premium: Plan
) -> None:
    form = {"token": str(uuid4()), "revision": subscribed.revision}
    before = PlanCharge.objects.count()

    for _click in range(2):
        send(ada, f"{PAGE}/plans/premium", **form)

    assert PlanCharge.objects.count() == before + 1


def test_a_downgrade_waits_for_the_end_of_the_period(
    ada: Client, cast: Cast, subscribed: Subscription, standard: Plan, clock: FrozenClock
) -> None:
    small = sell("small", 9)

    html = text_of(send(ada, f"{PAGE}/plans/small", revision=subscribed.revision))

    assert dismissed(html) == ["Your plan changes to Small on April 2, 2026."]
    assert get_plan(cast.account, now=clock.now()) == standard
    subscribed.refresh_from_db()
    assert subscribed.next_plan == small


def test_a_cancelled_plan_goes_on_to_its_end_and_can_be_kept(
    ada: Client, cast: Cast, subscribed: Subscription, standard: Plan, clock: FrozenClock
) -> None:
    send(ada, f"{PAGE}/cancel", revision=subscribed.revision)
    subscribed.refresh_from_db()
    assert subscribed.cancel_at == subscribed.period_end
    assert get_plan(cast.account, now=clock.now()) == standard

    html = text_of(send(ada, f"{PAGE}/keep", revision=subscribed.revision))

    subscribed.refresh_from_db()
    assert subscribed.cancel_at is None
    assert dismissed(html) == ["Your plan goes on as it is."]


def test_a_trial_begins_at_once_and_only_once(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    trial = sell("trial", 47, trial_days=14)

    send(ada, f"{PAGE}/plans/trial")

    assert get_plan(cast.account, now=clock.now()) == trial
    [row] = Subscription.objects.filter(account=cast.account)
    assert row.state == SubscriptionState.TRIALING
    send(ada, f"{PAGE}/plans/trial")
    assert Subscription.objects.filter(account=cast.account).count() == 1


@pytest.mark.parametrize("code", ["archived", "private", "nothing"])
def test_what_is_not_for_sale_is_not_there(ada: Client, code: str, clock: FrozenClock) -> None:
    sell("archived", 10, archived_at=clock.now())
    sell("private", 10, is_public=False)

    assert ada.get(f"{PAGE}/plans/{code}").status_code == 404
    assert send(ada, f"{PAGE}/plans/{code}").status_code == 404


def test_a_plan_archived_while_its_page_is_open_is_refused(
    ada: Client, cast: Cast, subscribed: Subscription, premium: Plan, standard: Plan, clock: FrozenClock
) -> None:
    ada.get(f"{PAGE}/plans/premium")
    Plan.objects.filter(pk=premium.pk).update(archived_at=clock.now())

    assert send(ada, f"{PAGE}/plans/premium", revision=subscribed.revision).status_code == 404
    assert get_plan(cast.account, now=clock.now()) == standard


@pytest.mark.parametrize("token", ["", "x", "1" * 36])
def test_a_form_without_its_token_does_nothing(
    ada: Client,
    cast: Cast,
    subscribed: Subscription,
    premium: Plan,
    standard: Plan,
    clock: FrozenClock,
    token: str,
) -> None:
    send(ada, f"{PAGE}/plans/premium", revision=subscribed.revision, token=token)

    assert get_plan(cast.account, now=clock.now()) == standard


def test_a_colleague_without_the_role_changes_no_plan(
    cast: Cast, subscribed: Subscription, premium: Plan, standard: Plan, clock: FrozenClock
) -> None:
    response = send(signed_in(cast.ben), f"{PAGE}/plans/premium", revision=subscribed.revision)

    assert response.status_code == 403
    assert get_plan(cast.account, now=clock.now()) == standard
