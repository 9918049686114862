"""Billing where payments are set up: through our pages to a Stripe that answers, and back."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils.formats import date_format

from apps.audit.refs import SYSTEM
from apps.payments.models import Card, Checkout, Payment, Refund
from apps.plans.models import Subscription
from apps.plans.selectors import get_plan
from apps.plans.subscriptions import start_subscription
from tests.apps.payments.stage import Stage, usd
from tests.apps.portal.conftest import signed_in
from tests.fake_stripe.cards import GOOD_CARD
from tests.fake_stripe.visitor import Visitor

PAGE = "/portal/billing"


@pytest.fixture
def browser(stage: Stage) -> Client:
    return signed_in(stage.cast.ada)


def send(browser: Client, path: str, **fields: Any) -> Any:
    return browser.post(path, {"token": str(uuid4())} | fields)


def way_on(response: Any) -> str:
    """The address that the page leads to (Any: the test client's answer)."""
    assert response.status_code == 200, response.get("Location")
    found = re.search(r'content="0; url=([^"]+)"', response.content.decode())
    assert found is not None
    return found[1].replace("&amp;", "&")


def come_back(browser: Client, address: str) -> str:
    """The page after Stripe has sent the browser back."""
    html: str = browser.get(address.removeprefix("http://testserver"), follow=True).content.decode()
    return html


def test_a_plan_is_bought_and_the_page_says_so(stage: Stage, browser: Client) -> None:
    plan = stage.sell("standard", 47)
    assert "$47.00" in browser.get(f"{PAGE}/plans/standard").content.decode()

    address = way_on(send(browser, f"{PAGE}/plans/standard"))
    back = Visitor(stage.fake).pay(address, card=GOOD_CARD)
    html = come_back(browser, back)

    assert "Thank you, that is paid." in html
    assert get_plan(stage.account, now=stage.now) == plan


@pytest.mark.parametrize("is_subscribed", [False, True])
def test_from_a_plan_for_nothing_a_dearer_one_is_bought(
    stage: Stage, browser: Client, is_subscribed: bool
) -> None:
    """Also from a subscription at no price, which an operator may have made."""
    metered = stage.sell("metered", 0)
    stage.sell("enterprise", 999)
    if is_subscribed:
        start_subscription(account=stage.account, plan=metered, actor=SYSTEM, now=stage.now)
    else:
        send(browser, f"{PAGE}/plans/metered")

    address = way_on(send(browser, f"{PAGE}/plans/enterprise", revision=0))

    assert stage.plan_code() == "metered"
    Visitor(stage.fake).pay(address, card=GOOD_CARD)
    stage.deliver()
    assert stage.plan_code() == "enterprise"
    assert Payment.objects.get().net_micro == usd(999)


def test_two_clicks_on_a_top_up_are_one_visit(stage: Stage, browser: Client) -> None:
    form = {"token": str(uuid4()), "amount": "25"}

    addresses = {way_on(browser.post(f"{PAGE}/top-up", form)) for _click in range(2)}

    assert len(addresses) == 1
    assert Checkout.objects.count() == 1


def test_a_top_up_fills_the_wallet_once_however_often_one_comes_back(
    stage: Stage,
    browser: Client,
) -> None:
    back = Visitor(stage.fake).pay(way_on(send(browser, f"{PAGE}/top-up", amount="25")), card=GOOD_CARD)

    for _time in range(3):
        html = come_back(browser, back)
    stage.deliver()

    assert "$25.00" in html
    assert stage.balances().wallet_micro == usd(25)


@pytest.mark.parametrize("amount", ["", "0", "-10", "4.99", "10.001", "1e2", "20000", "abc"])
def test_an_amount_that_is_none_is_refused(stage: Stage, browser: Client, amount: str) -> None:
    response = send(browser, f"{PAGE}/top-up", amount=amount)

    assert response.status_code == 302
    assert not Checkout.objects.exists()


def test_a_recent_top_up_can_be_taken_back_once(stage: Stage, browser: Client) -> None:
    back = Visitor(stage.fake).pay(way_on(send(browser, f"{PAGE}/top-up", amount="25")), card=GOOD_CARD)
    come_back(browser, back)
    stage.deliver()
    payment = Payment.objects.get()
    assert f"/payments/{payment.pk}/refund" in browser.get(PAGE).content.decode()
    form = {"token": str(uuid4())}

    for _click in range(2):
        browser.post(f"{PAGE}/payments/{payment.pk}/refund", form)

    assert Refund.objects.count() == 1
    assert stage.balances().wallet_micro == 0
    assert f"/payments/{payment.pk}/refund" not in browser.get(PAGE).content.decode()


def test_a_card_is_put_on_file_and_pays_later(stage: Stage, browser: Client) -> None:
    back = Visitor(stage.fake).pay(way_on(send(browser, f"{PAGE}/card")), card=GOOD_CARD)

    html = come_back(browser, back)

    assert "4242" in html
    assert Card.objects.count() == 1


def test_an_upgrade_of_a_plan_by_stripe_is_at_once(stage: Stage, browser: Client) -> None:
    stage.sell("standard", 47)
    premium = stage.sell("premium", 199)
    come_back(
        browser, Visitor(stage.fake).pay(way_on(send(browser, f"{PAGE}/plans/standard")), card=GOOD_CARD)
    )
    page = browser.get(f"{PAGE}/plans/premium").content.decode()
    revision = re.search(r'name="revision" value="(\d+)"', page)
    assert revision is not None

    response = send(browser, f"{PAGE}/plans/premium", revision=revision[1])

    assert (response.status_code, response["Location"]) == (302, PAGE)
    assert get_plan(stage.account, now=stage.now) == premium


def change(browser: Client, code: str) -> tuple[str, str]:
    """The page that proposes a plan, and the one after it was confirmed."""
    address = f"{PAGE}/plans/{code}"
    page = browser.get(address).content.decode()
    revision = re.search(r'name="revision" value="(\d+)"', page)
    assert revision is not None
    form = {"token": str(uuid4()), "revision": revision[1]}
    return page, browser.post(address, form, follow=True).content.decode()


def test_after_an_upgrade_the_cheaper_plan_is_a_downgrade_again(stage: Stage, browser: Client) -> None:
    standard = stage.sell("standard", 47)
    premium = stage.sell("premium", 199)
    stage.subscribe(standard, card=GOOD_CARD)
    _, upgraded = change(browser, "premium")
    assert "You are on the plan Premium now." in upgraded
    row = Subscription.objects.get()
    assert (row.plan, row.price_micro) == (premium, usd(199))

    page, html = change(browser, "standard")

    ends = date_format(row.period_end, "DATE_FORMAT")
    assert "at once" not in page
    assert ends in page
    assert f"Your plan changes to Standard on {ends}." in html
    assert get_plan(stage.account, now=stage.now) == premium
    stage.pass_time(days=32)
    row.refresh_from_db()
    assert (row.plan, row.price_micro) == (standard, usd(47))


def test_stripes_own_page_is_reached_and_leads_back(stage: Stage, browser: Client) -> None:
    assert way_on(browser.post(f"{PAGE}/stripe")).startswith(stage.fake.url)


def test_a_strangers_visit_tells_nothing(stage: Stage, browser: Client) -> None:
    form = {"token": str(uuid4()), "amount": "25"}
    way_on(browser.post(f"{PAGE}/top-up", form))

    html = come_back(signed_in(stage.cast.cleo), f"{PAGE}/return/{form['token']}")

    assert "toast-text" not in html


def test_while_stripe_is_silent_the_page_says_that_nothing_was_changed(
    stage: Stage,
    browser: Client,
    settings: Any,
) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"

    html = browser.post(
        f"{PAGE}/top-up", {"token": str(uuid4()), "amount": "25"}, follow=True
    ).content.decode()

    assert "nothing was changed" in html
