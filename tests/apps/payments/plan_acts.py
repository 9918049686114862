"""What tests of plans do in a line: buying, changing, and looking at what came of it."""

from __future__ import annotations

from typing import Any

from apps.payments import services
from apps.plans.models import Plan, Subscription
from tests.apps.payments.stage import URLS, Stage


def start(stage: Stage, plan: Plan, *, token: str = "plan-token-1", promotion_code: str = "") -> str:
    return services.start_plan_checkout(
        account=stage.account,
        plan=plan,
        actor=stage.cast.ada.ref,
        token=token,
        now=stage.now,
        promotion_code=promotion_code,
        **URLS,
    ).url


def change(stage: Stage, plan: Plan, token: str = "change-token-1") -> services.PlanChange:
    return services.change_plan(
        account=stage.account, plan=plan, actor=stage.cast.ada.ref, token=token, now=stage.now
    )


def asked(stage: Stage) -> dict[str, Any]:
    """By Ada, for her account, now (Any: arguments of services)."""
    return {"account": stage.account, "actor": stage.cast.ada.ref, "now": stage.now}


def subscription(stage: Stage) -> Subscription:
    return Subscription.objects.get(account=stage.account)
