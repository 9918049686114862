"""A stage on which messages may come late, twice and in any order, and what must be the same in the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.db.models import Sum

from apps.billing.ledger.models import LedgerEntry
from apps.billing.ledger.selectors import trial_balance
from apps.payments import services
from apps.payments.choices import EventState
from apps.payments.inbox import handle_due_events
from apps.payments.models import (
    AutoTopUp,
    Card,
    Checkout,
    Dispute,
    MeterBatch,
    Payment,
    Refund,
    StripeCustomer,
    StripeEvent,
    StripeInvoice,
)
from apps.plans.models import Plan, Subscription
from tests.apps.payments.stage import URLS, Stage
from tests.fake_stripe.cards import GOOD_CARD
from tests.fake_stripe.visitor import Visitor
from tests.fake_stripe.webhooks import SignedWebhook, sign

LATE = 0.35
"""Share of the messages that are kept back to a later delivery, each time."""
TWICE = 0.4
"""Share of the messages that come twice at once."""
AGAIN = 0.1
"""Share of everything heard before that comes once more, each time."""
DAYS_TO_SETTLE = 3
"""More than it takes to try a message again that could not be handled at first."""

State = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Troupe(Stage):
    """Without a seed every message comes at once and in order: the play that others are compared with."""

    seed: int | None = None
    held_back: list[SignedWebhook] = field(default_factory=list)
    heard: list[SignedWebhook] = field(default_factory=list)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    @property
    def visitor(self) -> Visitor:
        return Visitor(self.fake)

    def deliver(self, **how: Any) -> dict[str, int]:
        """What Stripe says by now, or some of it, and some of what it has said before."""
        batch = [*self.held_back, *self.fake.take_webhooks()]
        self.held_back = []
        if self.seed is not None:
            self.held_back = [row for row in batch if self.dice.random() < LATE]
            batch = [row for row in batch if row not in self.held_back]
            batch += [row for row in batch if self.dice.random() < TWICE]
            batch += [row for row in self.heard if self.dice.random() < AGAIN]
            self.dice.shuffle(batch)
        self._hand_over(batch)
        return {"delivered": len(batch)}

    def _hand_over(self, batch: list[SignedWebhook]) -> None:
        for webhook in batch:
            # Signed when it is sent, not when it happened, as Stripe does.
            signature = sign(webhook.body, self.fake.webhook_secret, at=self.fake.clock.now())
            assert self.post(replace(webhook, signature=signature)) == 200
        self.heard += [row for row in batch if row not in self.heard]

    def settle(self) -> None:
        """Everything that was kept back comes, and what could not be handled is tried again."""
        batch = [*self.held_back, *self.fake.take_webhooks()]
        self.held_back = []
        if self.seed is not None:
            self.dice.shuffle(batch)
        self._hand_over(batch)
        until = self.now + timedelta(days=DAYS_TO_SETTLE)
        while self.now < until and StripeEvent.objects.filter(state=EventState.WAITING).exists():
            self.clock.advance(hours=1)
            handle_due_events(now=self.now)
        unfinished = StripeEvent.objects.filter(state__in=[EventState.WAITING, EventState.FAILED])
        assert list(unfinished.values_list("type", "note")) == []

    # -- what Ada does; her browser comes back from Stripe's pages

    def subscribe(self, plan: Plan, *, token: str = "plan-token-1", **card: Any) -> str:
        url = self.visit_plan(plan, token=token)
        return self._come_back(self.visitor.pay(url, **card), token)

    def visit_plan(self, plan: Plan, *, token: str = "plan-token-1", promotion_code: str = "") -> str:
        return services.start_plan_checkout(
            account=self.account,
            plan=plan,
            actor=self.cast.ada.ref,
            token=token,
            now=self.now,
            promotion_code=promotion_code,
            **URLS,
        ).url

    def top_up(self, dollars: int, *, token: str = "top-up-token-1", **card: Any) -> str:
        return self._come_back(super(Troupe, self).top_up(dollars, token=token, **card), token)

    def add_card(self, *, token: str = "card-token-1", **card: Any) -> None:
        super(Troupe, self).add_card(token=token, **card)
        self._come_back("", token)

    def _come_back(self, target: str, token: str) -> str:
        services.settle_checkout(account=self.account, token=token, now=self.now)
        self.deliver()
        return target

    def plan_action(self, name: str, token: str, **what: Any) -> None:
        """One of `change_plan`, `cancel_plan`, `resume_plan`, `pause_plan` (Any: its own arguments)."""
        act = getattr(services, name)
        act(account=self.account, actor=self.cast.ada.ref, token=token, now=self.now, **what)
        self.deliver()

    def portal(self) -> str:
        return services.open_portal(account=self.account, return_url=URLS["cancel_url"], now=self.now).url

    def stripe_subscription(self) -> str:
        """Its id, of the newest there is."""
        return str(self.fake.store.every("subscription")[-1]["id"])

    def use_new_card(self, *, card: str = GOOD_CARD) -> None:
        self.visitor.replace_card(self.portal(), card=card)
        self.deliver()

    def newest_payment(self) -> Payment:
        return Payment.objects.filter(account=self.account, paid_at__isnull=False).latest("pk")


def final_state(troupe: Troupe) -> State:
    """Everything that messages decide, without the ids of rows and the times at which we heard."""
    account = troupe.account
    assert sum(trial_balance().values()) == 0
    customer = StripeCustomer.objects.filter(account=account).first()
    return {
        "plan": troupe.plan_code(),
        "subscriptions": _rows(
            Subscription.objects.filter(account=account),
            *("external_id", "state", "plan__code", "next_plan__code", "period_start", "period_end"),
            *("trial_end", "cancel_at", "past_due_since"),
        ),
        "balances": troupe.balances(),
        "entries": _rows(LedgerEntry.objects.filter(account=account), "name", "amount_micro"),
        "moved": _moved(account.pk),
        "payments": _rows(
            Payment.objects.filter(account=account),
            *("kind", "net_micro", "tax_micro", "refunded_net_micro", "refunded_tax_micro", "state"),
        ),
        "refunds": _rows(Refund.objects, "net_micro", "tax_micro", "lost_micro", "state", "is_ours"),
        "disputes": _rows(Dispute.objects, "dispute_id", "status", "amount_micro"),
        "invoices": _rows(
            StripeInvoice.objects.filter(account=account),
            *("invoice_id", "number", "status", "total_micro", "tax_micro", "paid_micro"),
        ),
        "checkouts": _rows(Checkout.objects.filter(account=account), "token", "kind", "state"),
        "cards": _rows(Card.objects.filter(customer__account=account), "last4", "exp_year", "is_default"),
        "auto": _rows(AutoTopUp.objects.filter(account=account), "is_on", "failures"),
        "metered": MeterBatch.objects.filter(account=account).aggregate(total=Sum("value_micro"))["total"],
        "is_metered": bool(customer and customer.payg_subscription_id),
    }


def _rows(queryset: Any, *names: str) -> list[tuple[Any, ...]]:
    """Sorted by what is seen of them (Any: querysets of every model)."""
    return sorted(queryset.values_list(*names), key=repr)


def _moved(account_id: int) -> list[tuple[Any, ...]]:
    """What each kind of entry moved between places, all entries together."""
    rows = LedgerEntry.objects.filter(account_id=account_id).values("name", "lines__ledger_account__kind")
    return sorted(
        (
            (row["name"], row["lines__ledger_account__kind"], row["moved"])
            for row in rows.annotate(moved=Sum("lines__amount_micro"))
        ),
        key=repr,
    )
