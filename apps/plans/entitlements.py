"""What an account may do, read strictly from its plan. Knows nothing of what it has used."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from apps.plans.errors import KindNotInPlan, ModelNotInPlan, PlanMalformed


class Unlimited(enum.Enum):
    """No limit: a value of its own, so that no arithmetic can mistake it for a large number."""

    UNLIMITED = "unlimited"


UNLIMITED: Final = Unlimited.UNLIMITED

Limit: TypeAlias = "int | Unlimited"

ALL_MODELS: Final = "all"
TRAINING: Final = "training"
"""The kind of whatever trains a model, as `require_kind` knows it."""
USUAL_SLA: Final = "standard"
"""The service level of plans that promise one without naming it."""
MAX_SLA_CHARS: Final = 40
REQUIRED_NAMES: Final = frozenset({"calls_per_day", "queue_depth", "max_samples", "kinds"})
DEFAULT_RETENTION_DAYS: Final = (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlements:
    """The limits and features of one account. Names that came later have defaults, for older plans."""

    plan_code: str
    calls_per_day: Limit
    """Accepted calls a day, in the account's time zone, whoever pays for them."""
    calls_per_month: Limit = UNLIMITED
    """Accepted calls a calendar month, in the account's time zone, whoever pays for them."""
    included_calls_per_month: Limit = UNLIMITED
    """Calls that the plan's own price pays, each month of its subscription; without one, each calendar month.

    Unlimited where money plays no part.
    """
    free_calls_per_day: Limit = 0
    """Calls a day that cost nothing, once the included ones are used up."""
    queue_depth: Limit
    """Most open jobs at once; more are refused."""
    max_samples: int
    """Most images of one call."""
    max_side: Limit = UNLIMITED
    """Longest side of an asked-for image, pixels."""
    max_parallel: Limit = UNLIMITED
    """Most jobs that run at once; more wait in the queue."""
    kinds: frozenset[str]
    """Kinds of generation, e.g. `txt2img`."""
    models: frozenset[str] | None = None
    """Names of checkpoints; None is all of them."""
    retention_days: tuple[int, ...] = DEFAULT_RETENTION_DAYS
    """How many days images may be kept, shortest first; the account chooses among these."""
    kept_days: int | None = None
    """What the account chose of them; None is as long as this installation keeps images."""
    training: bool = False
    """Whether models may be trained."""
    sla: str | None = None
    """Name of the service level that is promised; None is none."""
    dedicated_device: bool = False
    """Whether a device is kept for this account alone."""
    fair_use_calls_per_month: Limit = UNLIMITED
    """Calls a month beyond which the weight falls; never a refusal."""
    price_per_image_micro: int | None = None
    """Micro-USD for an image instead of the price book's."""
    seats: Limit = UNLIMITED
    """Most active members of the account."""
    weight: float
    """Share of the device when accounts compete; above 0."""
    period_start: datetime | None = None
    """When the present period began of the subscription that gives the plan; None without one."""
    period_end: datetime | None = None

    @property
    def daily_calls(self) -> Limit:
        """What a day is worth: the hard limit, or the calls that are free before money is asked for."""
        free = self.free_calls_per_day
        is_open = isinstance(self.calls_per_day, Unlimited) and not isinstance(free, Unlimited)
        return free if is_open and free else self.calls_per_day

    def require_kind(self, kind: str) -> None:
        """Raises KindNotInPlan unless the plan includes `kind`; training is an entitlement of its own."""
        if not (self.training if kind == TRAINING else kind in self.kinds):
            raise KindNotInPlan(plan=self.plan_code, kind=kind)

    def require_model(self, name: str) -> None:
        """Raises ModelNotInPlan unless the plan includes the checkpoint `name`."""
        if self.models is not None and name not in self.models:
            raise ModelNotInPlan(plan=self.plan_code, model=name)


def parse_entitlements(*, plan_code: str, limits: Any, weight: float) -> Entitlements:
    """Entitlements from a plan's JSON (hence Any).

    Raises PlanMalformed for anything missing of REQUIRED_NAMES, unknown or of another type.
    """
    if not isinstance(limits, dict):
        raise PlanMalformed(f"plan {plan_code}: limits must be an object")
    wrong = (REQUIRED_NAMES - limits.keys()) | (limits.keys() - READERS.keys())
    if wrong:
        raise PlanMalformed(f"plan {plan_code}: missing or unknown limits: {', '.join(sorted(wrong))}")
    if not weight > 0:
        raise PlanMalformed(f"plan {plan_code}: weight must be above 0")
    return Entitlements(plan_code=plan_code, weight=float(weight), **read_limits(plan_code, limits))


def read_limits(plan_code: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Known names with their checked values (Any: JSON in, fields of Entitlements out).

    A contract names some of them, a plan at least REQUIRED_NAMES. Raises PlanMalformed.
    """
    unknown = sorted(limits.keys() - READERS.keys())
    if unknown:
        raise PlanMalformed(f"plan {plan_code}: unknown limits: {', '.join(unknown)}")
    return {name: READERS[name](f"plan {plan_code}: {name}", value) for name, value in limits.items()}


def _limit(where: str, value: Any) -> Limit:
    if value == UNLIMITED.value:
        return UNLIMITED
    return _number(where, value, minimum=0, otherwise=' or "unlimited"')


def _side(where: str, value: Any) -> Limit:
    return UNLIMITED if value == UNLIMITED.value else _number(where, value, minimum=64)


def _parallel(where: str, value: Any) -> Limit:
    # None at all would let jobs wait for ever.
    return UNLIMITED if value == UNLIMITED.value else _number(where, value, minimum=1)


def _samples(where: str, value: Any) -> int:
    return _number(where, value, minimum=1)


def _price(where: str, value: Any) -> int | None:
    return None if value is None else _number(where, value, minimum=0, otherwise=" or null")


def _number(where: str, value: Any, *, minimum: int, otherwise: str = "") -> int:
    # bool is an int to Python, never to a plan.
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise PlanMalformed(f"{where} must be a whole number from {minimum}{otherwise}, not {value!r}")
    return value


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PlanMalformed(f"{where} must be true or false, not {value!r}")
    return value


def _service_level(where: str, value: Any) -> str | None:
    if isinstance(value, bool):
        return USUAL_SLA if value else None
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_SLA_CHARS:
        raise PlanMalformed(
            f"{where} must be true, false or a name of at most {MAX_SLA_CHARS} characters, not {value!r}"
        )
    return value.strip()


def _names(where: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise PlanMalformed(f"{where} must be a list of names")
    return frozenset(value)


def _models(where: str, value: Any) -> frozenset[str] | None:
    return None if value == ALL_MODELS else _names(where, value)


def _days(where: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise PlanMalformed(f"{where} must be a list of numbers of days")
    return tuple(sorted({_number(where, days, minimum=1) for days in value}))


READERS: Final[Mapping[str, Callable[[str, Any], object]]] = {
    "calls_per_day": _limit,
    "calls_per_month": _limit,
    "included_calls_per_month": _limit,
    "free_calls_per_day": _limit,
    "queue_depth": _limit,
    "max_samples": _samples,
    "max_side": _side,
    "max_parallel": _parallel,
    "kinds": _names,
    "models": _models,
    "retention_days": _days,
    "training": _flag,
    "sla": _service_level,
    "dedicated_device": _flag,
    "fair_use_calls_per_month": _limit,
    "price_per_image_micro": _price,
    "seats": _parallel,
}
"""Limits of a plan by name: how each is read."""
