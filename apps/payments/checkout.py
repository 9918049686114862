"""Sending customers to Stripe's pages: to fill the wallet, to put a card on file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.invoices.selectors import is_invoiced
from apps.billing.money import MICRO_PER_CENT, MICRO_PER_USD, format_usd, to_cents
from apps.core.errors import Conflict, InvalidField
from apps.payments.calls.sessions import (
    card_session,
    create_portal_session,
    create_session,
    top_up_session,
)
from apps.payments.choices import CheckoutKind, CheckoutState
from apps.payments.connection import open_api
from apps.payments.customers import ensure_customer, one_at_a_time
from apps.payments.models import Checkout
from apps.payments.results import Redirect
from apps.payments.stripe_api import StripeApi
from apps.payments.tokens import require_token

MIN_TOP_UP_MICRO: Final = 5 * MICRO_PER_USD
MAX_TOP_UP_MICRO: Final = 10_000 * MICRO_PER_USD
WhatToBuy = Callable[[StripeApi, Checkout], Mapping[str, Any]]
"""Stripe's parameters (Any) for a visit."""


def start_top_up(
    *,
    account: Account,
    amount_micro: int,
    actor: Ref,
    token: str,
    success_url: str,
    cancel_url: str,
    now: datetime,
) -> Redirect:
    """A visit to Stripe that fills the wallet. Two clicks are one visit. Raises
    InvalidField, Conflict, and what Stripe's calls raise.

    No tax is added: credit is not a supply yet, it is taxed by what it is spent on.
    """
    api = open_api()
    require_top_up(amount_micro)
    cents = to_cents(amount_micro).cents

    def what(api: StripeApi, checkout: Checkout) -> Mapping[str, Any]:
        return top_up_session(cents=cents, key=checkout.key)

    with one_at_a_time(account.pk):
        draft = Checkout(
            account=account, token=token, kind=CheckoutKind.TOP_UP, amount_micro=amount_micro, created_at=now
        )
        return visit(api, draft, what, urls=(success_url, cancel_url), actor=actor, now=now)


def require_top_up(amount_micro: int, *, field: str = "amount") -> None:
    """Raises InvalidField unless the amount is in whole cents and of a size that makes sense."""
    if not MIN_TOP_UP_MICRO <= amount_micro <= MAX_TOP_UP_MICRO or amount_micro % MICRO_PER_CENT:
        low, high = format_usd(MIN_TOP_UP_MICRO), format_usd(MAX_TOP_UP_MICRO)
        raise InvalidField(field=field, problem=f"must be {low} to {high} in whole cents")


def start_card_setup(
    *, account: Account, actor: Ref, token: str, success_url: str, cancel_url: str, now: datetime
) -> Redirect:
    """A visit to Stripe that puts a card on file; pay as you go begins with it.

    Raises Conflict for accounts that are sent invoices: their usage would be billed twice.
    """
    api = open_api()
    if is_invoiced(account.pk):
        raise Conflict(problem="This account pays by invoice; usage goes on that and not to a card.")

    def what(api: StripeApi, checkout: Checkout) -> Mapping[str, Any]:
        return card_session(key=checkout.key)

    with one_at_a_time(account.pk):
        draft = Checkout(account=account, token=token, kind=CheckoutKind.CARD, created_at=now)
        return visit(api, draft, what, urls=(success_url, cancel_url), actor=actor, now=now)


def visit(
    api: StripeApi, draft: Checkout, what: WhatToBuy, *, urls: tuple[str, str], actor: Ref, now: datetime
) -> Redirect:
    """The visit of a token: begun, gone on with after a crash, or the one that is open."""
    for field, url in zip(("success_url", "cancel_url"), urls, strict=True):
        _require_own_url(url, field=field)
    draft.is_live = api.config.is_live
    checkout = _claim_token(draft, actor=actor, now=now)
    if checkout.state in (CheckoutState.COMPLETE, CheckoutState.EXPIRED):
        raise Conflict(problem="This form has been used; reload the page to start again.")
    if checkout.url:
        return Redirect(url=checkout.url)
    customer = ensure_customer(api, account=checkout.account, now=now)
    session = create_session(
        api,
        key=checkout.key,
        customer_id=customer.customer_id or "",
        success_url=urls[0],
        cancel_url=urls[1],
        what=what(api, checkout),
    )
    Checkout.objects.filter(pk=checkout.pk, state=CheckoutState.STARTING).update(
        state=CheckoutState.OPEN, session_id=session.id, url=session.url
    )
    return Redirect(url=session.url)


def _claim_token(draft: Checkout, *, actor: Ref, now: datetime) -> Checkout:
    """The row of the token; raises Conflict when it was for something else."""
    require_token(draft.token)
    try:
        with transaction.atomic(durable=True):
            draft.save(force_insert=True)
            audit.record(
                "payments.checkout.started",
                actor=actor,
                subject=draft.ref,
                account_id=draft.account_id,
                data={
                    "kind": str(draft.kind),
                    "plan": draft.plan.code if draft.plan else None,
                    "amount_micro": draft.amount_micro,
                },
                now=now,
            )
    except IntegrityError:
        found = Checkout.objects.select_related("account").get(account=draft.account, token=draft.token)
        asked = (draft.kind, draft.plan_id, draft.amount_micro)
        if (found.kind, found.plan_id, found.amount_micro) != asked:
            raise Conflict(
                problem="This form was sent before with something else; reload the page."
            ) from None
        return found
    return draft


def _require_own_url(url: str, *, field: str) -> None:
    """Stripe sends the browser there: it must be our own page, or others could borrow our name."""
    own, given = urlsplit(settings.BASE_URL), urlsplit(url)
    if (given.scheme, given.netloc) != (own.scheme, own.netloc):
        raise InvalidField(field=field, problem=f"must begin with {settings.BASE_URL}")


def open_portal(*, account: Account, return_url: str, now: datetime) -> Redirect:
    """Stripe's page for cards, addresses and invoices of the account."""
    api = open_api()
    _require_own_url(return_url, field="return_url")
    with one_at_a_time(account.pk):
        customer = ensure_customer(api, account=account, now=now)
    url = create_portal_session(api, customer_id=customer.customer_id or "", return_url=return_url)
    return Redirect(url=url)
