"""Another tenant's id in every address: the same answer as for nothing, no change, and an audit event.

The addresses come from the URLconf: a new one with an id fails here until a row of a stranger is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from apps.accounts.models import Account, Membership
from apps.accounts.sign_up_models import Invitation
from apps.apikeys.models import ApiKey
from apps.audit.models import AuditEvent
from apps.billing.invoices.models import Invoice
from apps.core import clock as core_clock
from apps.generation.models import GenerationJob
from apps.payments.choices import PaymentKind
from apps.payments.models import Payment, StripeInvoice
from apps.quotas.budgets import set_budget
from apps.quotas.models import Budget
from apps.webhooks.models import Delivery
from tests.apps.api.client import ApiClient
from tests.apps.billing.invoices.office import issue, make_invoiced_account, use
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast
from tests.factories import make_checkpoint

BELOW = ("portal", "accounts/")
# Of what is everybody's or nobody's: a plan on sale, a format, a link of a letter, a provider of sign-in.
NOBODYS = {"code", "extension", "token", "key", "uidb36", "organization_slug", "provider_id"}
# allauth's own pages, which know no audit log: they say 404 by themselves.
UNAUDITED = {"mfa_remove_webauthn", "mfa_edit_webauthn"}
POSTED = {
    "/portal/billing/budgets": "key",
    "/portal/switch": "account",
    "/portal/account/leave": "account",
    "/portal/account/reopen": "account",
}
"""Forms that name a row by a field."""
KEPT: tuple[type[Model], ...] = (
    Account,
    ApiKey,
    Authenticator,
    Budget,
    Delivery,
    GenerationJob,
    Invitation,
    Invoice,
    Membership,
    Payment,
    StripeInvoice,
    UserSession,
)


def addresses() -> dict[str, URLPattern]:
    """Route -> pattern of every page with an id."""

    def walk(resolver: URLResolver, before: str) -> Iterator[tuple[str, URLPattern]]:
        for each in resolver.url_patterns:
            route = before + str(each.pattern)
            if isinstance(each, URLResolver):
                yield from walk(each, route)
            elif route.startswith(BELOW) and set(each.pattern.converters or each.pattern.regex.groupindex):
                yield route, each

    return dict(walk(get_resolver(), ""))


def named(pattern: URLPattern) -> set[str]:
    return set(pattern.pattern.converters) | set(pattern.pattern.regex.groupindex)


WITH_IDS = {route: each for route, each in addresses().items() if not named(each) <= NOBODYS}


@pytest.fixture
def strangers(cast: Cast) -> dict[str, Any]:
    """By the name of an address's part (Any: numbers and texts), rows of Cleo's account."""
    account, now = cast.strangers_account, core_clock.now()
    make_checkpoint("tiny")
    answer = ApiClient(cast.strangers_key_text).post("/v1/jobs", {"model": "tiny", "prompt": "a red fox"})
    budget = set_budget(
        account=account,
        api_key=None,
        limit_micro=5_000_000,
        is_hard=False,
        webhook_url="",
        actor=cast.cleo.ref,
        now=now,
    )
    payment = Payment.objects.create(
        account=account, kind=PaymentKind.TOP_UP, intent_id="pi_9", net_micro=1, created_at=now, due_at=now
    )
    card_invoice = StripeInvoice.objects.create(
        account=account, invoice_id="in_9", status="paid", total_micro=1, issued_at=now
    )
    invitation = Invitation.objects.create(
        account=account,
        email="dora@example.com",
        token_digest="0" * 64,
        created_at=now,
        expires_at=now + timedelta(days=7),
    )
    studio = make_invoiced_account()
    use(studio, price_micro=10_000)
    return {
        "job_id": answer.json()["id"],
        "prefix": cast.strangers_key.prefix,
        "event_id": queue_row(account).event_id,
        "number": issue(studio).number,
        "invoice_id": card_invoice.pk,
        "payment_id": payment.pk,
        "budget_id": budget.pk,
        "invitation_id": invitation.pk,
        "session_id": UserSession.objects.create(user=cast.cleo, ip="192.0.2.9", session_key="cleo").pk,
        "member_id": Membership.objects.get(user=cast.cleo).pk,
        "pk": Authenticator.objects.create(user=cast.cleo, type="webauthn", data={}).pk,
        "key": cast.strangers_key.pk,
        "account": account.pk,
    }


@pytest.fixture
def just_signed_in(ada: Client, cast: Cast) -> Client:
    """Ada, who need not confirm who she is."""
    session = ada.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session.save()
    return ada


def everything() -> dict[str, list[dict[str, Any]]]:
    """All rows that could have been changed (Any: their columns)."""
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in KEPT}  # type: ignore[attr-defined]


def audited() -> int:
    return AuditEvent.objects.filter(name="portal.foreign_id").count()


def path_of(route: str, rows: dict[str, Any]) -> str:
    """The address with the strangers' ids in the place of its parts."""
    path = "/" + route
    for name in named(WITH_IDS[route]):
        head, _, rest = path.partition(f"<{name}>")
        if rest:  # a regular expression
            path = head[: head.rindex("(?P")] + str(rows[name]) + rest.partition(")")[2]
        else:
            head, _, rest = path.partition(f":{name}>")
            path = head[: head.rindex("<")] + str(rows[name]) + rest
    return path.replace("^", "").replace("$", "")


@pytest.mark.parametrize("route", sorted(WITH_IDS))
def test_another_tenants_id_is_no_id(route: str, just_signed_in: Client, strangers: dict[str, Any]) -> None:
    path, before, events = path_of(route, strangers), everything(), audited()

    got = just_signed_in.get(path).status_code
    posted = just_signed_in.post(path, {"token": str(uuid4()), "role": "viewer", "revision": "0"}).status_code

    assert {got, posted} <= {404, 405} and 404 in (got, posted)
    assert everything() == before
    if WITH_IDS[route].name not in UNAUDITED:
        assert audited() == events + [got, posted].count(404)


@pytest.mark.parametrize("path", sorted(POSTED))
def test_another_tenants_id_in_a_form_is_no_id(
    path: str, just_signed_in: Client, strangers: dict[str, Any]
) -> None:
    before = everything()
    fields = {POSTED[path]: strangers[POSTED[path]], "limit": "5", "token": str(uuid4())}

    answer = just_signed_in.post(path, fields)

    assert answer.status_code == 404
    assert everything() == before
    assert audited() == 1


def test_the_same_ids_work_for_who_has_them(cast: Cast, strangers: dict[str, Any], cleo: Client) -> None:
    """The control: without it a wrong address would look like a refusal."""
    seen = {
        route: cleo.get(path_of(route, strangers)).status_code
        for route, each in WITH_IDS.items()
        if each.name in {"job", "key", "delivery", "card_invoice_jobs"}
    }

    assert len(seen) == 4 and set(seen.values()) == {200}
