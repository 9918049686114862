"""Budgets of money by calendar month: set, spent and given back.

Spending is counted when a job is accepted and given back when it delivers nothing, so that what is left is
never more than the truth. Hard budgets stand in the WHERE clause of the one statement that spends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.clock import quota_day
from apps.core.db import require_transaction
from apps.core.errors import InvalidField, NotFound
from apps.quotas.errors import BudgetExhausted
from apps.quotas.models import Budget
from apps.quotas.periods import current_month, month_end, month_of
from apps.webhooks.wishes import WebhookWish, require_permitted

BUDGET_DIALECT = "budget"
"""Renders the bodies of budgets' webhooks; a name in settings.WEBHOOK_BODIES."""

# Locked in one order first: the account's budget and the key's are spent by the same statement. A row that
# another transaction changed in between is judged again by its new values. FILTER counts the refusals.
SPEND_SQL = """
WITH wanted AS MATERIALIZED (
    SELECT id FROM quotas_budget
     WHERE account_id = %(account)s AND (api_key_id IS NULL OR api_key_id = %(key)s)
     ORDER BY id FOR UPDATE),
spent AS (
    UPDATE quotas_budget AS budget
       SET spent_micro = CASE WHEN month = %(month)s THEN spent_micro ELSE 0 END + %(amount)s,
           announced_percent = CASE WHEN month = %(month)s THEN announced_percent ELSE 0 END,
           month = %(month)s
      FROM wanted
     WHERE budget.id = wanted.id
       AND (NOT is_hard
            OR CASE WHEN month = %(month)s THEN spent_micro ELSE 0 END + %(amount)s <= limit_micro)
    RETURNING budget.id)
SELECT id FROM wanted WHERE id NOT IN (SELECT id FROM spent)
"""


class SpentBy(NamedTuple):
    """Whose budgets calls of a day (their jobs' quota day) count in: the account's, and that of their key."""

    account_id: int
    api_key_id: int | None
    day: date


def take_budget(*, account: Account, api_key_id: int | None, amount_micro: int, now: datetime) -> None:
    """Spend `amount_micro` of the account's budget and of the key's, where they have any; a part.

    Raises BudgetExhausted where a hard one has too little left, and then the caller's transaction must be
    rolled back.
    """
    require_transaction()
    month = current_month(now, zone=account.time_zone)
    parameters = {"account": account.pk, "key": api_key_id, "month": month, "amount": amount_micro}
    with connection.cursor() as cursor:
        cursor.execute(SPEND_SQL, parameters)
        refused = [row[0] for row in cursor.fetchall()]
    if refused:
        limit = Budget.objects.filter(pk__in=refused).values_list("limit_micro", flat=True)[0]
        resets_at = month_end(month, zone=account.time_zone)
        raise BudgetExhausted(
            limit_micro=limit, resets_at=resets_at, now=now, budget_ids=tuple(sorted(refused))
        )


def give_back_budgets(spent: Mapping[SpentBy, int]) -> None:
    """Take back micro-USD that calls spent and did not cost after all; a part.

    A month that is over is not corrected: its budget is of no use any more.
    """
    require_transaction()
    accounts, keys = {by.account_id for by in spent}, {by.api_key_id for by in spent}
    # All of them first, in the order of SPEND_SQL: several keys of one account share its own budget.
    wanted = Budget.objects.filter(
        Q(api_key_id=None) | Q(api_key_id__in=keys - {None}), account_id__in=accounts
    )
    budgets = list(wanted.order_by("pk").select_for_update())
    for by, amount_micro in spent.items():
        # A budget that was set after the call has nothing to give back of it.
        own = [
            budget.pk
            for budget in budgets
            if budget.account_id == by.account_id and budget.api_key_id in (None, by.api_key_id)
        ]
        Budget.objects.filter(pk__in=own, month=month_of(by.day), spent_micro__gte=amount_micro).update(
            spent_micro=F("spent_micro") - amount_micro
        )


def give_back_budget(*, account_id: int, api_key_id: int | None, amount_micro: int, day: date) -> None:
    """`give_back_budgets` of one call."""
    give_back_budgets({SpentBy(account_id, api_key_id, day): amount_micro})


def set_budget(
    *,
    account: Account,
    api_key: ApiKey | None,
    limit_micro: int,
    is_hard: bool,
    webhook_url: str,
    actor: Ref,
    now: datetime,
) -> Budget:
    """Set the monthly budget of an account, or of one of its keys. What is spent this month stays spent.

    Raises InvalidField for a limit that is not above 0 or a webhook that cannot be sent to, and NotFound for
    another account's key.
    """
    _require_possible(account, api_key, limit_micro, webhook_url)
    wanted = {"limit_micro": limit_micro, "is_hard": is_hard, "webhook_url": webhook_url}
    month = month_of(quota_day(now, zone=account.time_zone))
    with transaction.atomic(durable=True):
        budget, _ = Budget.objects.update_or_create(
            account=account,
            api_key=api_key,
            # A higher limit is told of again; one that has been passed already is told at the next look.
            defaults=wanted | {"announced_percent": 0},
            create_defaults=wanted | {"month": month, "created_at": now},
        )
        audit.record(
            "quotas.budget.set",
            actor=actor,
            subject=budget.ref,
            account_id=account.pk,
            data={"limit_micro": limit_micro, "is_hard": is_hard},
            now=now,
        )
    return budget


def _require_possible(account: Account, api_key: ApiKey | None, limit_micro: int, webhook_url: str) -> None:
    if limit_micro <= 0:
        raise InvalidField(field="limit", problem="must be above 0")
    if api_key is not None and api_key.account_id != account.pk:
        raise NotFound(what="API key", id=api_key.prefix)
    if webhook_url:
        WebhookWish(url=webhook_url, dialect=BUDGET_DIALECT)
        require_permitted(webhook_url)


def remove_budget(*, account: Account, budget_id: int, actor: Ref, now: datetime) -> None:
    """Spend without this limit. Raises NotFound for what is not a budget of the account."""
    with transaction.atomic(durable=True):
        budget = Budget.objects.select_related("account", "api_key").filter(account=account, pk=budget_id)
        found = budget.select_for_update(of=("self",)).first()
        if found is None:
            raise NotFound(what="Budget", id=budget_id)
        audit.record("quotas.budget.removed", actor=actor, subject=found.ref, account_id=account.pk, now=now)
        found.delete()
