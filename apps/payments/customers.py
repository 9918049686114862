"""Which account is which customer at Stripe, and its cards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from django.db import transaction

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership
from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.core.db import release_session_lock, try_session_lock
from apps.payments.calls.customers import create_customer, find_customer, list_cards
from apps.payments.calls.sessions import NO_KEY, own_key
from apps.payments.errors import PaymentsUnavailable
from apps.payments.models import Card, StripeCustomer
from apps.payments.stripe_api import StripeApi

LOCK_WAIT_S: Final = 20.0
LOCK_POLL_S: Final = 0.02
NAME_CHARS: Final = 200


@contextmanager
def one_at_a_time(account_id: int) -> Iterator[None]:
    """What is asked of Stripe about one account, and what is written from the answers, happens in turn.

    Two handlers that each fetch and then write would otherwise end with the older state. A lock of the
    session and not of a transaction: Stripe is asked between transactions, never within one.

    Raises PaymentsUnavailable after 20 s.
    """
    name = f"payments.account.{account_id}"
    give_up = time.monotonic() + LOCK_WAIT_S
    while not try_session_lock(name):
        if time.monotonic() > give_up:
            raise PaymentsUnavailable(retry_after_s=20)
        time.sleep(LOCK_POLL_S)
    try:
        yield
    finally:
        release_session_lock(name)


def ensure_customer(api: StripeApi, *, account: Account, now: datetime) -> StripeCustomer:
    """The account's customer, made at Stripe if there is none. Harmless twice at once, and after a crash."""
    fresh = {"created_at": now, "is_live": api.config.is_live}
    row, _ = StripeCustomer.objects.get_or_create(account=account, defaults=fresh)
    if row.customer_id is not None and not row.is_deleted:
        return row
    if row.is_deleted:
        row = _begin_again(row, now=now)
    seen = create_customer(
        api,
        key=row.key,
        name=account.name[:NAME_CHARS],
        email=billing_address(account),
        account_id=account.pk,
    )
    with transaction.atomic(durable=True):
        if StripeCustomer.objects.filter(pk=row.pk, customer_id=None).update(customer_id=seen.id):
            audit.record(
                "payments.customer.created",
                actor=SYSTEM,
                subject=account.ref,
                account_id=account.pk,
                data={"customer": seen.id},
                now=now,
            )
    row.refresh_from_db()
    return row


def _begin_again(row: StripeCustomer, *, now: datetime) -> StripeCustomer:
    """A customer that was deleted at Stripe stays deleted; the next one has a key of its own."""
    with transaction.atomic(durable=True):
        StripeCustomer.objects.select_for_update().filter(pk=row.pk, is_deleted=True).delete()
        fresh, _ = StripeCustomer.objects.get_or_create(
            account_id=row.account_id, defaults={"created_at": now, "is_live": row.is_live}
        )
    return fresh


def billing_address(account: Account) -> str:
    """Where Stripe sends receipts: whoever is responsible for billing, else an owner; "" for nobody."""
    members = Membership.objects.filter(account=account, role__in=[Role.BILLING, Role.OWNER])
    emails = dict(members.order_by("-pk").values_list("role", "user__email"))
    return emails.get(Role.BILLING) or emails.get(Role.OWNER) or ""


def find_customer_row(api: StripeApi, customer_id: str) -> StripeCustomer | None:
    """Whose customer it is; None for one that this installation did not make.

    A message may arrive before we have written down the id: then the customer's own metadata says.
    """
    if not customer_id:
        return None
    row = StripeCustomer.objects.select_related("account").filter(customer_id=customer_id).first()
    if row is not None:
        return row
    seen = find_customer(api, customer_id)
    key = own_key(seen.metadata) if seen is not None else NO_KEY
    if not StripeCustomer.objects.filter(key=key, customer_id=None).update(customer_id=customer_id):
        return None
    return StripeCustomer.objects.select_related("account").get(key=key)


def sync_cards(api: StripeApi, *, row: StripeCustomer, now: datetime) -> None:
    """Make our list of cards Stripe's. Call it within `one_at_a_time`."""
    if row.customer_id is None:
        return
    seen = find_customer(api, row.customer_id)
    is_deleted = seen is None or seen.is_deleted
    cards = [] if is_deleted else list_cards(api, row.customer_id)
    default = seen.default_card_id if seen is not None else ""
    with transaction.atomic(durable=True):
        StripeCustomer.objects.filter(pk=row.pk).update(is_deleted=is_deleted)
        Card.objects.filter(customer=row).exclude(payment_method_id__in=[card.id for card in cards]).delete()
        for card in cards:
            Card.objects.update_or_create(
                payment_method_id=card.id,
                defaults={
                    "customer": row,
                    "brand": card.brand[:40],
                    "last4": card.last4[:4],
                    "exp_month": card.exp_month,
                    "exp_year": card.exp_year,
                    "is_default": card.id == default,
                },
            )
