"""Reads of plans."""

from __future__ import annotations

from django.db.models import F, FilteredRelation, Q

from apps.accounts.models import Account
from apps.plans.entitlements import Entitlements
from apps.plans.models import Plan


def get_plan(account: Account) -> Plan:
    """The account's plan, or the default one; one query. Raises Plan.DoesNotExist before `bootstrap` ran."""
    plan = (
        Plan.objects.annotate(held=FilteredRelation("holders", condition=Q(holders__account=account)))
        .filter(Q(held__isnull=False) | Q(is_default=True))
        .order_by(F("held__id").asc(nulls_last=True))
        .first()
    )
    if plan is None:
        raise Plan.DoesNotExist("there is no default plan; run `manage.py bootstrap`")
    return plan


def get_entitlements(account: Account) -> Entitlements:
    """What `account` may do now; one query."""
    return get_plan(account).entitlements()
