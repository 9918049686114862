"""Refusals and faults of plans."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, InvalidField


class KindNotInPlan(DomainError):
    """The account's plan does not include this kind of generation."""

    code = "kind_not_in_plan"
    http_status = 403
    message = "Your plan {plan} does not include {kind}."


class ModelNotInPlan(DomainError):
    """The account's plan does not include this checkpoint."""

    code = "model_not_in_plan"
    http_status = 403
    message = "Your plan {plan} does not include the model {model}."


class PlanMalformed(ValueError):
    """A plan's limits cannot be read. An operator's mistake, never a caller's."""


class PlanUnavailable(Conflict):
    """The plan is archived, or not offered to this account."""


class SubscriptionConflict(Conflict):
    """The subscription is not in the state that the act expects; somebody else was faster."""


class CouponRefused(Conflict):
    """The coupon does not exist, has ended, is used up or was used by this account."""


class LicenceRefused(InvalidField):
    """The licence file is not genuine, not for now, or cannot be read."""

    def __init__(self, *, problem: str) -> None:
        super().__init__(field="licence", problem=problem)
