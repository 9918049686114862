"""What happens between customers, their banks, Stripe and us, in words that tests are written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.test import Client

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from apps.billing.ledger.selectors import Balances, balances
from apps.billing.money import MICRO_PER_USD
from apps.payments import services
from apps.plans.models import Plan
from apps.plans.selectors import get_plan
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_plan
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.visitor import Visitor
from tests.fake_stripe.webhooks import SignedWebhook

URLS: dict[str, Any] = {
    "success_url": "http://testserver/portal/billing?done=1",
    "cancel_url": "http://testserver/portal/billing",
}
PATH = "/payments/stripe/webhook"


def usd(amount: int) -> int:
    return amount * MICRO_PER_USD


@dataclass(slots=True, kw_only=True)
class Stage:
    fake: Fake
    cast: Cast
    clock: FrozenClock
    client: Client = field(default_factory=Client)

    @property
    def account(self) -> Account:
        return self.cast.account

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def sell(self, code: str, dollars: int, **fields: Any) -> Plan:
        """A plan that is on sale (Any: the plan's columns)."""
        plan = make_plan(code, is_default=False)
        for name, value in {"price_micro": usd(dollars), "is_public": True, **fields}.items():
            setattr(plan, name, value)
        plan.save()
        return plan

    def post(self, webhook: SignedWebhook) -> int:
        """One message to our address; the status of the answer."""
        response = self.client.post(
            PATH,
            data=webhook.body,
            content_type="application/json",
            headers={"Stripe-Signature": webhook.signature},
        )
        return response.status_code

    def deliver(self, **how: Any) -> dict[str, int]:
        """Whatever Stripe has to say by now (Any: the fake's options)."""
        return self.fake.deliver(self.post, **how)

    def pass_time(self, **delta: float) -> None:
        """Both clocks move; what falls due at Stripe happens and is told."""
        self.clock.advance(**delta)
        self.fake.advance_to(int(self.clock.now().timestamp()))
        self.deliver()

    def balances(self) -> Balances:
        return balances(self.account, self.now)

    def plan_code(self) -> str:
        """Of the plan that Ada's account has now."""
        return get_plan(self.account).code

    def top_up(self, dollars: int, *, token: str = "top-up-token-1", **card: Any) -> str:
        """Ada pays at Checkout and all messages arrive; where her browser ends."""
        session = services.start_top_up(
            account=self.account,
            amount_micro=usd(dollars),
            actor=self.cast.ada.ref,
            token=token,
            now=self.now,
            **URLS,
        )
        back = Visitor(self.fake).pay(session.url, **card)
        self.deliver()
        return back

    def subscribe(self, plan: Plan, *, token: str = "plan-token-1", **card: Any) -> str:
        """Ada buys a plan at Checkout and all messages arrive; where her browser ends."""
        session = services.start_plan_checkout(
            account=self.account,
            plan=plan,
            actor=self.cast.ada.ref,
            token=token,
            now=self.now,
            **URLS,
        )
        back = Visitor(self.fake).pay(session.url, **card)
        self.deliver()
        return back

    def add_card(self, *, token: str = "card-token-1", **card: Any) -> None:
        """Ada puts a card on file: pay as you go is on."""
        session = services.start_card_setup(
            account=self.account, actor=self.cast.ada.ref, token=token, now=self.now, **URLS
        )
        Visitor(self.fake).pay(session.url, **card)
        self.deliver()


def audited(name: str) -> int:
    """How often something was recorded."""
    return AuditEvent.objects.filter(name=name).count()


def at(fake: Fake) -> datetime:
    return datetime.fromtimestamp(fake.clock.now(), tz=UTC)
