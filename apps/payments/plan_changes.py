"""Changing, pausing and ending a plan that Stripe bills: Stripe is asked, then what it says is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import Conflict
from apps.payments.calls import subscriptions as calls
from apps.payments.catalogue import ensure_price
from apps.payments.connection import open_api
from apps.payments.customers import one_at_a_time
from apps.payments.results import PlanChange
from apps.payments.seen import SubscriptionSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.subscribed import require_open_subscription
from apps.payments.syncing import write_subscription
from apps.plans.models import Plan
from apps.plans.selectors import price_of

ENDED = frozenset({"canceled", "incomplete_expired"})


@contextmanager
def current_subscription(account: Account, *, now: datetime) -> Iterator[tuple[StripeApi, SubscriptionSeen]]:
    """The subscription as Stripe has it, and nobody else changing it. Raises Conflict where there is none."""
    api = open_api()
    with one_at_a_time(account.pk):
        external_id = require_open_subscription(account).external_id
        seen = calls.find_subscription(api, external_id)
        if seen is None or seen.status in ENDED:
            if seen is not None:
                write_subscription(seen, account=account, now=now)
            raise Conflict(problem="The plan has ended meanwhile; choose one again.")
        yield api, seen


def change_plan(*, account: Account, plan: Plan, actor: Ref, token: str, now: datetime) -> PlanChange:
    """To a dearer plan at once, the difference charged now; to a cheaper one when the period ends.

    Out of a trial, the dearer plan's first month begins and is charged now. Prices are the account's own,
    by its contract. To the plan it has takes back a planned downgrade. Twice is once.

    Raises CardDeclined, and then nothing has changed; Conflict for a plan that is not for sale, and for a
    subscription that is about to end.
    """
    if plan.archived_at is not None or not plan.is_public or plan.price_micro <= 0:
        raise Conflict(problem=f"The plan {plan.name} is not for sale.")
    with current_subscription(account, now=now) as (api, seen):
        if seen.cancel_at is not None:
            raise Conflict(problem="The plan was canceled; resume it before changing it.")
        amount_micro = price_of(account=account, plan=plan, now=now)
        price = ensure_price(api, plan=plan, amount_micro=amount_micro, now=now)
        change = _change(api, seen, price_id=price.price_id, amount_micro=amount_micro, token=token, now=now)
        _write_again(api, seen, account=account, now=now)
        _record(
            "payments.plan.changed",
            account,
            actor,
            {"plan": plan.code, "is_now": change.is_now, "effective_at": change.effective_at.isoformat()},
            now,
        )
    return change


def _change(
    api: StripeApi, seen: SubscriptionSeen, *, price_id: str, amount_micro: int, token: str, now: datetime
) -> PlanChange:
    key = f"change-{seen.id}-{token}"
    if price_id == seen.price_id:
        if seen.next_price_id:
            calls.release_schedule(api, seen.schedule_id)
        return PlanChange(is_now=True, effective_at=now)
    if amount_micro < seen.amount_micro:
        calls.change_price_later(api, subscription=seen, price_id=price_id, key=key)
        return PlanChange(is_now=False, effective_at=seen.period_end)
    if seen.schedule_id:
        calls.release_schedule(api, seen.schedule_id)
    calls.change_price_now(api, subscription=seen, price_id=price_id, key=key)
    return PlanChange(is_now=True, effective_at=now)


def cancel_plan(*, account: Account, actor: Ref, token: str, now: datetime) -> datetime:
    """End the plan with its period, which is paid for; returns when. Twice is once. Raises Conflict."""
    with current_subscription(account, now=now) as (api, seen):
        ends_at = seen.cancel_at or seen.period_end
        if seen.cancel_at is None:
            if seen.schedule_id:
                calls.release_schedule(api, seen.schedule_id)
            calls.set_cancel_at_period_end(
                api, subscription_id=seen.id, is_canceled=True, key=f"cancel-{seen.id}-{token}"
            )
        _write_again(api, seen, account=account, now=now)
        _record("payments.plan.canceled", account, actor, {"ends_at": ends_at.isoformat()}, now)
    return ends_at


def resume_plan(*, account: Account, actor: Ref, token: str, now: datetime) -> None:
    """Take back a cancellation or a pause. Twice is once. Raises Conflict for a plan that has ended."""

    def resume(api: StripeApi, seen: SubscriptionSeen) -> None:
        if seen.cancel_at is not None:
            calls.set_cancel_at_period_end(
                api, subscription_id=seen.id, is_canceled=False, key=f"resume-{seen.id}-{token}"
            )
        if seen.is_collection_paused:
            calls.set_paused(api, subscription_id=seen.id, is_paused=False, key=f"unpause-{seen.id}-{token}")

    _act(account, resume, name="payments.plan.resumed", actor=actor, now=now)


def pause_plan(*, account: Account, actor: Ref, token: str, now: datetime) -> None:
    """No invoices, and the default plan, until it is resumed. Twice is once. Raises Conflict."""

    def pause(api: StripeApi, seen: SubscriptionSeen) -> None:
        if not seen.is_collection_paused:
            calls.set_paused(api, subscription_id=seen.id, is_paused=True, key=f"pause-{seen.id}-{token}")

    _act(account, pause, name="payments.plan.paused", actor=actor, now=now)


def end_plan_now(*, account: Account, actor: Ref, now: datetime) -> None:
    """End the plan at once: the account closes, or its first payment was given back."""

    def end(api: StripeApi, seen: SubscriptionSeen) -> None:
        if seen.schedule_id:
            calls.release_schedule(api, seen.schedule_id)
        calls.cancel_now(api, seen.id)

    _act(account, end, name="payments.plan.ended", actor=actor, now=now)


def _act(
    account: Account,
    act: Callable[[StripeApi, SubscriptionSeen], None],
    *,
    name: str,
    actor: Ref,
    now: datetime,
) -> None:
    with current_subscription(account, now=now) as (api, seen):
        act(api, seen)
        _write_again(api, seen, account=account, now=now)
        _record(name, account, actor, {}, now)


def _write_again(api: StripeApi, seen: SubscriptionSeen, *, account: Account, now: datetime) -> None:
    """What has become of it; the webhook that follows finds nothing left to do."""
    after = calls.find_subscription(api, seen.id)
    if after is not None:
        write_subscription(after, account=account, now=now)


def _record(name: str, account: Account, actor: Ref, data: dict[str, str | bool], now: datetime) -> None:
    with transaction.atomic(durable=True):
        audit.record(name, actor=actor, subject=account.ref, account_id=account.pk, data=data, now=now)
