"""A customer comes back from Stripe's page, often before Stripe's message does."""

from __future__ import annotations

from datetime import datetime

from apps.accounts.models import Account
from apps.payments.choices import UNFINISHED_CHECKOUTS, CheckoutState
from apps.payments.connection import open_api
from apps.payments.customers import one_at_a_time
from apps.payments.models import Checkout, StripeCustomer
from apps.payments.syncing import sync_checkout


def settle_checkout(*, account: Account, token: str, now: datetime) -> CheckoutState | None:
    """How the visit that `token` began has ended, asking Stripe if need be; None if there was none.

    OPEN: not paid, or not yet. The message that follows finds nothing left to do.
    """
    checkout = Checkout.objects.filter(account=account, token=token).first()
    if checkout is None:
        return None
    row = StripeCustomer.objects.select_related("account").filter(account=account).first()
    if checkout.state in UNFINISHED_CHECKOUTS and checkout.session_id and row is not None:
        with one_at_a_time(account.pk):
            sync_checkout(open_api(), row=row, session_id=checkout.session_id, now=now)
        checkout.refresh_from_db()
    return CheckoutState(checkout.state)
