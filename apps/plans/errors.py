"""Refusals and faults of plans."""

from __future__ import annotations

from apps.core.errors import DomainError


class KindNotInPlan(DomainError):
    """The account's plan does not include this kind of generation."""

    code = "kind_not_in_plan"
    http_status = 403
    message = "Your plan {plan} does not include {kind}."


class PlanMalformed(ValueError):
    """A plan's limits cannot be read. An operator's mistake, never a caller's."""
