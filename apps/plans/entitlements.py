"""What an account may do, read strictly from its plan. Knows nothing of what it has used."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from apps.plans.errors import KindNotInPlan, PlanMalformed


class Unlimited(enum.Enum):
    """No limit: a value of its own, so that no arithmetic can mistake it for a large number."""

    UNLIMITED = "unlimited"


UNLIMITED: Final = Unlimited.UNLIMITED

Limit: TypeAlias = "int | Unlimited"

LIMIT_NAMES = frozenset({"calls_per_day", "queue_depth", "max_samples", "kinds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlements:
    """The limits and features of one account."""

    plan_code: str
    calls_per_day: Limit
    """Accepted calls a day, in the account's time zone."""
    queue_depth: Limit
    """Most open jobs at once."""
    max_samples: int
    """Most images of one call."""
    kinds: frozenset[str]
    """Kinds of generation, e.g. `txt2img`."""
    weight: float
    """Share of the device when accounts compete; above 0."""

    def require_kind(self, kind: str) -> None:
        """Raises KindNotInPlan unless the plan includes `kind`."""
        if kind not in self.kinds:
            raise KindNotInPlan(plan=self.plan_code, kind=kind)


def parse_entitlements(*, plan_code: str, limits: Any, weight: float) -> Entitlements:
    """Entitlements from a plan's JSON (hence Any).

    Raises PlanMalformed for anything missing, unknown or of another type.
    """
    if not isinstance(limits, dict):
        raise PlanMalformed(f"plan {plan_code}: limits must be an object")
    if limits.keys() != LIMIT_NAMES:
        wrong = ", ".join(sorted(limits.keys() ^ LIMIT_NAMES))
        raise PlanMalformed(f"plan {plan_code}: missing or unknown limits: {wrong}")
    if not weight > 0:
        raise PlanMalformed(f"plan {plan_code}: weight must be above 0")
    max_samples = _limit(plan_code, "max_samples", limits["max_samples"])
    if isinstance(max_samples, Unlimited) or max_samples < 1:
        raise PlanMalformed(f"plan {plan_code}: max_samples must be a whole number from 1")
    return Entitlements(
        plan_code=plan_code,
        calls_per_day=_limit(plan_code, "calls_per_day", limits["calls_per_day"]),
        queue_depth=_limit(plan_code, "queue_depth", limits["queue_depth"]),
        max_samples=max_samples,
        kinds=_kinds(plan_code, limits["kinds"]),
        weight=float(weight),
    )


def _limit(plan_code: str, name: str, value: Any) -> Limit:
    if value == UNLIMITED.value:
        return UNLIMITED
    # bool is an int to Python, never to a plan.
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PlanMalformed(f'plan {plan_code}: {name} must be a number from 0 or "unlimited", not {value!r}')
    return value


def _kinds(plan_code: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(kind, str) and kind for kind in value):
        raise PlanMalformed(f"plan {plan_code}: kinds must be a list of names")
    return frozenset(value)
