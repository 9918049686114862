"""Plans, contracts and coupons in the operator's console."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from apps.audit.models import AuditEvent
from apps.plans.models import Contract, Coupon, Plan
from apps.plans.selectors import get_entitlements
from apps.plans.subscriptions import start_subscription
from apps.quotas.budgets import set_budget
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import FREE_LIMITS, give_plan

PAGES = (
    "plans/plan",
    "plans/accountplan",
    "plans/contract",
    "plans/coupon",
    "plans/redemption",
    "plans/subscription",
    "plans/plancharge",
    "plans/licence",
    "quotas/budget",
    "quotas/allowance",
    "quotas/monthlyusage",
    "quotas/monthlykeyusage",
)


@pytest.fixture
def console(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _form(plan: Plan, **fields: Any) -> dict[str, Any]:
    shown = {
        "code": plan.code,
        "name": plan.name,
        "description": plan.description,
        "limits": json.dumps(plan.limits),
        "weight": plan.weight,
        "price_micro": plan.price_micro,
        "trial_days": plan.trial_days,
        "grace_days": plan.grace_days,
    }
    return shown | fields


@pytest.mark.parametrize("page", PAGES)
def test_each_page_opens(cast: Cast, offer: Offer, clock: FrozenClock, console: Client, page: str) -> None:
    start_subscription(account=cast.account, plan=offer.standard, actor=cast.otto.ref, now=clock.now())
    set_budget(
        account=cast.account,
        api_key=cast.key,
        limit_micro=1,
        is_hard=True,
        webhook_url="",
        actor=cast.otto.ref,
        now=clock.now(),
    )
    assert console.get(f"/console/{page}/").status_code == 200


def test_a_changed_plan_leaves_its_holders_theirs(cast: Cast, console: Client) -> None:
    plan = give_plan(cast.account, calls_per_day=7)
    form = _form(plan, limits=json.dumps(FREE_LIMITS | {"calls_per_day": 5}))
    path = f"/console/plans/plan/{plan.pk}/change/"
    assert console.post(path, form).status_code == 302
    assert get_entitlements(cast.account).calls_per_day == 7
    assert console.post(path, form | {"apply_to_holders": "on"}).status_code == 302
    assert get_entitlements(cast.account).calls_per_day == 5


@pytest.mark.parametrize("limits", ['{"calls_per_day": 1}', "[]", "no JSON", '{"calls_per_day": -1}'])
def test_malformed_limits_change_nothing(cast: Cast, console: Client, limits: str) -> None:
    path = f"/console/plans/plan/{cast.plan.pk}/change/"
    assert console.post(path, _form(cast.plan, limits=limits)).status_code == 200
    assert Plan.objects.get(pk=cast.plan.pk).version == 1


def test_plans_are_archived_and_never_deleted(cast: Cast, offer: Offer, console: Client) -> None:
    chosen = {"action": "archive", "_selected_action": [offer.standard.pk, cast.plan.pk]}
    answer = console.post("/console/plans/plan/", chosen, follow=True)
    assert "default plan" in answer.content.decode()
    archived = Plan.objects.exclude(archived_at=None)
    assert [plan.code for plan in archived] == ["standard"]
    assert (
        console.post(f"/console/plans/plan/{offer.standard.pk}/delete/", {"post": "yes"}).status_code == 403
    )


def test_a_contract_is_made_and_audited(cast: Cast, console: Client) -> None:
    form = {
        "account": cast.account.pk,
        "name": "C-2026-7",
        "limits": '{"calls_per_day": "unlimited", "dedicated_device": true}',
        "starts_at_0": "2026-03-01",
        "starts_at_1": "00:00:00",
        "ends_at_0": "",
        "ends_at_1": "",
        "note": "",
    }
    assert console.post("/console/plans/contract/add/", form).status_code == 302
    assert get_entitlements(cast.account).dedicated_device is True
    assert AuditEvent.objects.filter(name="plans.contract.created", actor_label=cast.otto.email).exists()
    answer = console.post("/console/plans/contract/add/", form | {"limits": '{"colour": 1}'})
    assert (answer.status_code, Contract.objects.count()) == (200, 1)


def test_a_coupon_is_made(cast: Cast, offer: Offer, console: Client) -> None:
    form = {"code": "spring", "kind": "percent", "value": 20, "months": 3, "plans": [offer.standard.pk]}
    assert console.post("/console/plans/coupon/add/", form).status_code == 302
    coupon = Coupon.objects.get()
    assert (coupon.code, list(coupon.plans.all())) == ("SPRING", [offer.standard])
