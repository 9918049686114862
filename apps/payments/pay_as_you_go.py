"""Pay as you go: a card on file and a metered subscription at Stripe, which bills what the meter counts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import SYSTEM, Ref
from apps.billing.pay_later import set_pay_as_you_go
from apps.core.errors import Conflict
from apps.payments.calls import subscriptions as calls
from apps.payments.calls.customers import find_setup_card, make_default_card
from apps.payments.calls.sessions import PURPOSE, own_key
from apps.payments.catalogue import metered_price
from apps.payments.connection import open_api
from apps.payments.customers import one_at_a_time, sync_cards
from apps.payments.models import Card, Checkout, StripeCustomer
from apps.payments.seen import SubscriptionSeen
from apps.payments.stripe_api import StripeApi

PAYG_PURPOSE: Final = calls.PAYG_PURPOSE
PAYING: Final = frozenset({"active", "trialing"})


def begin(api: StripeApi, *, row: StripeCustomer, checkout: Checkout, setup_id: str, now: datetime) -> None:
    """A card was put on file: it becomes the one to charge, and usage may be billed to it.

    Heard again, even after pay as you go was ended, it begins nothing: the subscription it led to is there.
    """
    card_id = find_setup_card(api, setup_id)
    if not card_id or row.customer_id is None:
        return
    metered = [
        seen
        for seen in calls.list_subscriptions(api, row.customer_id)
        if seen.metadata.get(PURPOSE) == PAYG_PURPOSE
    ]
    led_to = [seen for seen in metered if own_key(seen.metadata) == checkout.key]
    alive = [seen for seen in metered if seen.status != "canceled"]
    seen = led_to[0] if led_to else _start(api, row.customer_id, alive, checkout=checkout, card_id=card_id)
    sync_cards(api, row=row, now=now)
    write_metered(seen, row=row, now=now)


def _start(
    api: StripeApi, customer_id: str, alive: list[SubscriptionSeen], *, checkout: Checkout, card_id: str
) -> SubscriptionSeen:
    """Charge the new card from now on: by the subscription that is there, or by a new one."""
    make_default_card(api, customer_id=customer_id, card_id=card_id)
    if not alive:
        price = metered_price(api)
        return calls.create_metered(
            api,
            customer_id=customer_id,
            price_id=price.id,
            key=checkout.key,
            is_tax_on=api.config.is_tax_on,
        )
    if alive[0].cancel_at is None or checkout.ended_at is not None:
        return alive[0]
    return calls.set_cancel_at_period_end(
        api, subscription_id=alive[0].id, is_canceled=False, key=f"resume-{alive[0].id}-{checkout.key}"
    )


def write_metered(seen: SubscriptionSeen, *, row: StripeCustomer, now: datetime) -> None:
    """Usage may be billed while the subscription is paid and there is a card to charge."""
    known_id = StripeCustomer.objects.values_list("payg_subscription_id", flat=True).get(pk=row.pk)
    is_over = seen.status == "canceled"
    if is_over and known_id not in ("", seen.id):
        return
    with transaction.atomic(durable=True):
        StripeCustomer.objects.filter(pk=row.pk).update(
            payg_subscription_id="" if is_over else seen.id,
            payg_ends_at=None if is_over else seen.cancel_at,
        )
        is_paying = seen.status in PAYING and seen.cancel_at is None
        is_allowed = is_paying and Card.objects.filter(customer=row).exists()
        set_pay_as_you_go(account=row.account, is_allowed=is_allowed, actor=SYSTEM, now=now)


def follow_cards(api: StripeApi, *, row: StripeCustomer, now: datetime) -> None:
    """After cards came or went: without one, nothing more is used on credit."""
    sync_cards(api, row=row, now=now)
    row.refresh_from_db()
    if not row.payg_subscription_id:
        return
    seen = None if row.is_deleted else calls.find_subscription(api, row.payg_subscription_id)
    if seen is not None:
        write_metered(seen, row=row, now=now)
        return
    with transaction.atomic(durable=True):
        StripeCustomer.objects.filter(pk=row.pk).update(payg_subscription_id="", payg_ends_at=None)
        set_pay_as_you_go(account=row.account, is_allowed=False, actor=SYSTEM, now=now)


def stop_pay_as_you_go(*, account: Account, actor: Ref, now: datetime) -> None:
    """No more usage on credit; what there is, is invoiced with the month. Raises Conflict when it is not on.

    The subscription goes on until then: jobs that are still open end after this, and are billed by it.
    """
    api = open_api()
    with one_at_a_time(account.pk):
        row = StripeCustomer.objects.filter(account=account).exclude(payg_subscription_id="").first()
        if row is None:
            raise Conflict(problem="This account does not pay as it goes.")
        with transaction.atomic(durable=True):
            # Whether Stripe answers or not.
            set_pay_as_you_go(account=account, is_allowed=False, actor=actor, now=now)
            audit.record(
                "payments.pay_as_you_go.stopped",
                actor=actor,
                subject=account.ref,
                account_id=account.pk,
                now=now,
            )
        key = f"stop-{row.payg_subscription_id}-{int(now.timestamp())}"
        seen = calls.set_cancel_at_period_end(
            api, subscription_id=row.payg_subscription_id, is_canceled=True, key=key
        )
        write_metered(seen, row=row, now=now)
