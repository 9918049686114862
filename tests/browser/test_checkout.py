"""Paying in a real browser, on the hosted pages of the fake Stripe."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Open, Watch, World
from tests.fake_stripe.cards import DECLINED_CARD, GOOD_CARD
from tests.fake_stripe.visitor import Visitor
from tests.fake_stripe.webhooks import SignedWebhook
from tests.harness.http_client import Client
from tests.harness.waits import wait_until

WEBHOOK = "/payments/stripe/webhook"


@pytest.fixture(autouse=True)
def stripes_pages(watch: Watch, world: World) -> None:
    """The browser may go there, and says so where a card is refused."""
    watch.beyond = (world.stripe.url,)
    watch.expected = ("Failed to load resource: the server responded with a status of 402",)


def deliver(world: World) -> list[str]:
    """Everything Stripe has to say arrives; the types of it."""
    seen: list[str] = []

    def send(webhook: SignedWebhook) -> int:
        seen.append(webhook.type)
        headers = {"Stripe-Signature": webhook.signature, "Content-Type": "application/json"}
        with Client(world.appliance.port) as client:
            return client.send("POST", WEBHOOK, webhook.body, headers).status

    world.stripe.deliver(send)
    return seen


def pay(page: Any, card: str) -> None:
    """On Stripe's page of the checkout."""
    page.get_by_label("Card number").fill(card)
    page.get_by_role("button", name="Pay").click()


def visits(world: World) -> int:
    """How many checkouts Stripe knows."""
    with world.stripe.lock:
        return sum(1 for _ in world.stripe.store.every("checkout.session"))


def begin_to_buy(open_page: Open) -> Any:
    """The page that says what the plan costs, as Paula finds it."""
    page = open_page("/portal/billing", who="paula")
    page.get_by_role("link", name="Change plan").click()
    page.get_by_role("link", name="Choose Standard").click()
    return page


def test_a_plan_is_bought(open_page: Open, world: World) -> None:
    page = begin_to_buy(open_page)
    before = visits(world)
    page.get_by_role("button", name="Go to payment").dblclick()
    page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    assert visits(world) == before + 1, "two clicks are one visit"

    pay(page, DECLINED_CARD)
    page.get_by_role("alert").wait_for()
    pay(page, GOOD_CARD)
    page.wait_for_url("**/portal/billing")
    page.get_by_text("Thank you, that is paid.").wait_for()
    plan = page.locator("section:has(> .panel-head #plan)")
    assert plan.locator(".stat-value").inner_text() == "Standard"
    assert "0 / 10,000" in plan.inner_text()

    assert "checkout.session.completed" in deliver(world)
    page.reload()
    assert plan.locator(".stat-value").inner_text() == "Standard"
    assert plan.locator(".tag").inner_text() == "active"
    page.goto("/portal/billing/plans/standard")
    page.get_by_text("You have this plan already.").wait_for()


def test_a_visit_that_is_given_up_changes_nothing(open_page: Open, world: World) -> None:
    page = open_page("/portal/billing", who="cleo")
    page.get_by_role("link", name="Change plan").click()
    page.get_by_role("link", name="Choose Standard").click()
    page.get_by_role("button", name="Go to payment").click()
    page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    page.get_by_role("button", name="Back").click()

    page.wait_for_url("**/portal/billing")
    assert page.locator("section:has(> .panel-head #plan) .stat-value").inner_text() == "Unlimited"


def test_a_top_up_arrives_by_message_where_the_browser_never_comes_back(
    open_page: Open, world: World
) -> None:
    page = open_page("/portal/billing", who="cleo")
    page.fill("#amount", "25")
    page.get_by_role("button", name="Pay in").click()
    page.wait_for_url(f"{world.stripe.url}/c/pay/**")
    Visitor(world.stripe).pay(page.url)
    deliver(world)

    page.goto("/portal/billing")
    wallet = page.locator("section:has(> .panel-head #wallet) .stat-value")
    wait_until(lambda: page.reload() and wallet.inner_text() == "$25.00", what="the top-up")
