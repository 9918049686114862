"""What a plan offers, in words for customers. Reads entitlements; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.plans.entitlements import Entitlements, Limit, Unlimited
from apps.plans.models import Plan
from apps.plans.selectors import list_offered
from apps.portal.templatetags.portal import usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One plan as it stands on a page."""

    plan: Plan
    features: tuple[str, ...]
    is_free: bool
    """It costs nothing a month; calls beyond what is free may still cost."""


def list_offers() -> list[Offer]:
    """What customers may choose, the cheapest first."""
    return [offer_of(plan) for plan in list_offered()]


def offer_of(plan: Plan) -> Offer:
    """A plan in words."""
    return Offer(plan=plan, features=tuple(_features(plan.entitlements())), is_free=plan.price_micro == 0)


def _features(may: Entitlements) -> Iterator[str]:
    yield from _calls(may)
    if may.price_per_image_micro:
        yield _("%(price)s an image beyond that") % {"price": usd(may.price_per_image_micro)}
    if not isinstance(may.max_parallel, Unlimited):
        yield ngettext("%(count)s job at a time", "%(count)s jobs at a time", may.max_parallel) % {
            "count": may.max_parallel
        }
    if not isinstance(may.max_side, Unlimited):
        yield _("Up to %(pixels)s pixels a side") % {"pixels": _words(may.max_side)}
    days = may.retention_days[-1]
    yield ngettext("Images kept for a day", "Images kept for up to %(days)s days", days) % {"days": days}
    if may.models is None:
        yield _("Every model that is installed")
    if may.dedicated_device:
        yield _("A device of your own, by contract")
    if may.sla:
        yield _("Service level: %(name)s") % {"name": may.sla}
    # Nothing of training: no part of the product offers it yet.


def _calls(may: Entitlements) -> Iterator[str]:
    included = may.included_calls_per_month
    if isinstance(included, Unlimited):
        if isinstance(may.calls_per_day, Unlimited):
            yield _("Unlimited calls")
    elif included:
        yield _("%(count)s calls a month included") % {"count": _words(included)}
    if may.free_calls_per_day and not isinstance(may.free_calls_per_day, Unlimited):
        yield _("%(count)s free calls a day") % {"count": _words(may.free_calls_per_day)}
    if not isinstance(may.calls_per_day, Unlimited) and may.calls_per_day != may.free_calls_per_day:
        yield _("Up to %(count)s calls a day") % {"count": _words(may.calls_per_day)}
    if not isinstance(may.fair_use_calls_per_month, Unlimited):
        yield _("Fair use: beyond %(count)s calls a month your jobs wait longer, and none is refused") % {
            "count": _words(may.fair_use_calls_per_month)
        }
    if included == 0 and not isinstance(included, Unlimited) and not may.free_calls_per_day:
        yield _("Pay for what you make, nothing a month")


def _words(limit: Limit) -> str:
    return _("unlimited") if isinstance(limit, Unlimited) else number_format(limit, force_grouping=True)
