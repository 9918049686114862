"""`python -m tests.browser.seed`: people for the browser tests; runs in the appliance's environment.

Ada owns the first account, Ben is its developer, Vera its viewer, Cleo owns the second. The others are for
one story each, with an account of their own: Paula buys a plan, Bert has a budget, Tove is invited. Sara has
second factors. Prints one JSON line: for each their address and a session, so that a test need not sign in to
begin, and for Sara a recovery code. People of an organisation may come by its own sign-in, "Acme".
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.accounts.models import Account, User
    from apps.plans.models import Plan

PASSWORD = "a darkroom of one's own"
PEOPLE = (
    ("ada", "studio-0", "owner"),
    ("ben", "studio-0", "developer"),
    ("vera", "studio-0", "viewer"),
    ("cleo", "studio-1", "owner"),
    ("paula", "print-shop", "owner"),
    ("bert", "budget-bureau", "owner"),
    ("tove", "attic", "owner"),
    ("sara", "studio-1", "viewer"),
)
IMAGE_MICRO = 10_000
"""What an image costs on the plan Metered."""


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    _make_accounts()
    people = {name: _person(name, slug, role) for name, slug, role in PEOPLE}
    people["sara"]["code"] = _secure(people["sara"]["email"])
    sys.stdout.write(json.dumps(people) + "\n")


def _secure(email: str) -> str:
    from apps.accounts.models import User
    from apps.core import clock
    from tests.portal_screens.seed_people import give_second_factors, make_provider

    make_provider(clock.now())
    return give_second_factors(User.objects.get(email=email))


def _make_accounts() -> None:
    from apps.accounts.models import Account
    from apps.audit.refs import SYSTEM
    from apps.billing.prices.shipped import publish_shipped_prices
    from apps.core import clock
    from apps.plans.services import set_plan
    from tests.factories import make_account

    publish_shipped_prices(actor=SYSTEM, now=clock.now())
    plans = _plans()
    for slug, plan in (("print-shop", "small"), ("budget-bureau", "metered"), ("attic", "small")):
        set_plan(account=make_account(slug), plan=plans[plan], actor=SYSTEM, now=clock.now())
    _pay_in(Account.objects.get(slug="studio-0"))
    _invoice(Account.objects.get(slug="studio-0"))
    _pay_in(Account.objects.get(slug="budget-bureau"))


def _plans() -> dict[str, Plan]:
    from apps.plans.models import Plan
    from tests.factories import make_plan

    limits: dict[str, dict[str, Any]] = {
        "small": {"calls_per_day": 100, "included_calls_per_month": 0, "free_calls_per_day": 100},
        "standard": {"calls_per_day": "unlimited", "included_calls_per_month": 10_000},
        "metered": {
            "calls_per_day": "unlimited",
            "included_calls_per_month": 0,
            "free_calls_per_day": 0,
            "price_per_image_micro": IMAGE_MICRO,
        },
    }
    for code, each in limits.items():
        make_plan(code, is_default=False, **each)
    Plan.objects.filter(code__in=["small", "standard"]).update(is_public=True)
    Plan.objects.filter(code="standard").update(price_micro=47_000_000)
    return {code: Plan.objects.get(code=code) for code in limits}


def _pay_in(account: Account) -> None:
    from django.db import transaction

    from apps.billing.ledger import services as ledger
    from apps.core import clock

    with transaction.atomic():
        ledger.top_up(
            account_id=account.pk,
            amount_micro=5_000_000,
            key=f"topup:seed-{account.pk}",
            memo="Top-up",
            now=clock.now(),
        )


def _invoice(account: Account) -> None:
    """One by card, which has a page of its jobs."""
    from apps.core import clock
    from apps.payments.models import StripeInvoice

    StripeInvoice.objects.create(
        account=account,
        invoice_id="in_seed",
        number="DR-0001",
        status="paid",
        total_micro=47_000_000,
        issued_at=clock.now(),
    )


def _person(name: str, slug: str, role: str) -> dict[str, str]:
    from apps.accounts.choices import Role
    from apps.accounts.models import Account, User
    from apps.accounts.services import add_member
    from apps.audit.refs import SYSTEM
    from apps.core import clock

    now = clock.now()
    user = User(email=f"{name}@example.com", date_joined=now)
    user.set_password(PASSWORD)
    user.save()
    _verify(user)
    add_member(account=Account.objects.get(slug=slug), user=user, role=Role(role), actor=SYSTEM, now=now)
    return {"email": user.email, "session": _session_of(user)}


def _verify(user: User) -> None:
    """The sign-in asks whether the address is theirs."""
    from allauth.account.models import EmailAddress

    EmailAddress.objects.get_or_create(
        user=user, email=user.email, defaults={"verified": True, "primary": True}
    )


def _session_of(user: User) -> str:
    """The key of a session, as the sign-in would have made it."""
    from django.contrib.auth import login
    from django.contrib.sessions.backends.db import SessionStore
    from django.http import HttpRequest

    request = HttpRequest()
    request.session = SessionStore()
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session.save()
    key = request.session.session_key
    assert key is not None  # it has been saved
    return key


if __name__ == "__main__":
    main()
