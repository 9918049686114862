"""Changes of plans and contracts, each of them audited."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import InvalidField
from apps.plans.errors import PlanMalformed, PlanUnavailable
from apps.plans.following import lock_account, put_on_plan
from apps.plans.models import AccountPlan, Contract, Plan, PlanTerms, Subscription
from apps.plans.selectors import get_plan

# What holders have of a plan: a change of any of these is a new version.
TERMS: Final = ("limits", "weight", "price_micro")


def set_plan(*, account: Account, plan: Plan, actor: Ref, now: datetime) -> None:
    """Put `account` on `plan`, from its next call on. Setting it again changes nothing.

    Raises PlanUnavailable for an archived plan.
    """
    with transaction.atomic(durable=True):
        locked = lock_account(account.pk)
        current = AccountPlan.objects.filter(account=account).select_related("plan").first()
        is_held = current is not None and current.plan_id == plan.pk
        if not is_held and Plan.objects.filter(pk=plan.pk).exclude(archived_at=None).exists():
            raise PlanUnavailable(problem=f"The plan {plan.name} is archived: choose another one.")
        put_on_plan(account=locked, current=current, plan=plan, subscription=None, actor=actor, now=now)


def save_plan(*, plan: Plan, actor: Ref, now: datetime, apply_to_holders: bool = False) -> None:
    """Insert or replace a plan that has been cleaned. A new default takes over from the old one.

    A change of limits, weight or price is a new version. Holders keep theirs, unless it applies to
    them, too; accounts without a plan of their own always have the default plan as it is now.
    """
    with transaction.atomic(durable=True):
        before = Plan.objects.select_for_update().filter(pk=plan.pk).first() if plan.pk else None
        if plan.is_default:
            Plan.objects.filter(is_default=True).exclude(pk=plan.pk).update(is_default=False)
        if before is not None:
            plan.version, plan.archived_at = before.version, before.archived_at
            if any(getattr(before, name) != getattr(plan, name) for name in TERMS):
                plan.version += 1
                _keep_terms(before, now)
        plan.save()
        if apply_to_holders:
            _drop_kept_terms(plan)
        data = {
            "limits": plan.limits,
            "weight": plan.weight,
            "price_micro": plan.price_micro,
            "is_default": plan.is_default,
            "version": plan.version,
            "apply_to_holders": apply_to_holders,
        }
        name = "plans.plan.created" if before is None else "plans.plan.changed"
        audit.record(name, actor=actor, subject=plan.ref, data=data, now=now)


def _keep_terms(before: Plan, now: datetime) -> None:
    """Who has the plan as it was goes on having that."""
    holders = AccountPlan.objects.filter(plan=before, terms=None)
    if not holders.exists():
        return
    terms, _ = PlanTerms.objects.get_or_create(
        plan=before,
        version=before.version,
        defaults={
            "limits": before.limits,
            "weight": before.weight,
            "price_micro": before.price_micro,
            "created_at": now,
        },
    )
    holders.update(terms=terms)


def _drop_kept_terms(plan: Plan) -> None:
    AccountPlan.objects.filter(plan=plan).update(terms=None)
    manual = Subscription.objects.filter(plan=plan, source="manual").exclude(state="canceled")
    manual.update(price_micro=plan.price_micro)


def archive_plan(*, plan: Plan, actor: Ref, now: datetime) -> None:
    """Nobody can change to it any more; who has it keeps it, and it renews. Again, it changes nothing.

    Raises PlanUnavailable for the default plan, which every account may need.
    """
    with transaction.atomic(durable=True):
        current = Plan.objects.select_for_update().get(pk=plan.pk)
        if current.is_default:
            raise PlanUnavailable(
                problem=f"{current.name} is the default plan: make another one the default first."
            )
        if Plan.objects.filter(pk=plan.pk, archived_at=None).update(archived_at=now):
            data = {"holders": AccountPlan.objects.filter(plan=plan).count()}
            audit.record("plans.plan.archived", actor=actor, subject=plan.ref, data=data, now=now)


def restore_plan(*, plan: Plan, actor: Ref, now: datetime) -> None:
    """Offer an archived plan again. Again, it changes nothing."""
    with transaction.atomic(durable=True):
        if Plan.objects.filter(pk=plan.pk).exclude(archived_at=None).update(archived_at=None):
            audit.record("plans.plan.restored", actor=actor, subject=plan.ref, now=now)


def save_contract(*, contract: Contract, actor: Ref, now: datetime) -> None:
    """Insert or replace what was agreed with one account; it holds from its next call on.

    Raises InvalidField for limits that no plan could have, or an end before the beginning.
    """
    try:
        contract.clean_limits()
    except PlanMalformed as error:
        raise InvalidField(field="limits", problem=str(error)) from None
    if contract.ends_at is not None and contract.ends_at <= contract.starts_at:
        raise InvalidField(field="ends_at", problem="must be after starts_at")
    name = "plans.contract.created" if contract.pk is None else "plans.contract.changed"
    with transaction.atomic(durable=True):
        if contract.pk is None:
            contract.created_at = now
        if contract.price_micro is not None and contract.plan_id is None:
            contract.plan_id = get_plan(contract.account, now=now).pk
        contract.save()
        data = {
            "limits": contract.limits,
            "weight": contract.weight,
            "price_micro": contract.price_micro,
            "plan": contract.plan.code if contract.plan else None,
            "starts_at": contract.starts_at.isoformat(),
            "ends_at": contract.ends_at.isoformat() if contract.ends_at else None,
        }
        audit.record(
            name, actor=actor, subject=contract.ref, account_id=contract.account_id, data=data, now=now
        )
