"""Groups of usage with the names that people know them by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.billing.choices import Source
from apps.billing.usage import By, Totals
from apps.generation.choices import Kind
from apps.portal.playground.words import KINDS
from apps.portal.usage_reads import GroupValue

SOURCES = {
    Source.PLAN: gettext_lazy("Plan"),
    Source.DAILY_FREE: gettext_lazy("Free calls of the day"),
    Source.PROMO: gettext_lazy("Credit"),
    Source.WALLET: gettext_lazy("Wallet"),
    Source.PAYG: gettext_lazy("Pay as you go"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A group as it stands in tables and charts."""

    value: GroupValue
    name: str
    sums: Totals
    share: int
    """Of the calls of all groups, percent."""


def named(groups: list[tuple[GroupValue, Totals]], *, grouping: By, account: Account) -> list[Named]:
    """The groups with their names; at most one query."""
    calls = sum(sums.calls for _value, sums in groups)
    keys = key_names((value for value, _sums in groups), account) if grouping is By.KEY else {}
    return [
        Named(
            value=value,
            name=name_of(value, grouping=grouping, keys=keys),
            sums=sums,
            share=round(100 * sums.calls / calls) if calls else 0,
        )
        for value, sums in groups
    ]


def key_names(values: Iterable[GroupValue], account: Account) -> dict[int, str]:
    """The names of the account's keys among `values`; one query."""
    rows = ApiKey.objects.filter(account=account, pk__in={value for value in values if value is not None})
    return {key.pk: key.name if key.is_portal else f"{key.name} (dkr_{key.prefix}…)" for key in rows}


def name_of(value: GroupValue, *, grouping: By, keys: dict[int, str]) -> str:
    """A group's name for people."""
    if grouping is By.KEY:
        return keys.get(value, _("without a key")) if isinstance(value, int) else _("without a key")
    if grouping is By.KIND and value in Kind.values and Kind(value) in KINDS:
        return str(KINDS[Kind(value)][0])
    if grouping is By.FUNDING and value in SOURCES:
        return str(SOURCES[Source(value)])
    return str(value) if value else _("none named")
