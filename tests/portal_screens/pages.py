"""Which pages there are to look at, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OWNER, NEWCOMER, NOBODY = "owner", "newcomer", "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One page as one person sees it."""

    name: str
    """Of the file."""
    path: str
    who: str = OWNER


SHOTS: Final = (
    Shot(name="landing", path="/", who=NOBODY),
    Shot(name="pricing", path="/pricing", who=NOBODY),
    Shot(name="sign-in", path="/accounts/login/", who=NOBODY),
    Shot(name="sign-up", path="/accounts/signup/", who=NOBODY),
    Shot(name="dashboard", path="/portal"),
    Shot(name="dashboard-new", path="/portal", who=NEWCOMER),
    Shot(name="usage", path="/portal/usage"),
    Shot(name="usage-new", path="/portal/usage", who=NEWCOMER),
    Shot(name="billing", path="/portal/billing"),
    Shot(name="billing-plans", path="/portal/billing/plans"),
    Shot(name="billing-choose", path="/portal/billing/plans/premium"),
    Shot(name="statement", path="/portal/billing/statement"),
    Shot(name="billing-new", path="/portal/billing", who=NEWCOMER),
    Shot(name="settings", path="/portal/settings"),
    Shot(name="new-key", path="/portal/keys/new"),
    Shot(name="join", path="/portal/join/unknown", who=NOBODY),
    Shot(name="password-forgotten", path="/accounts/password/reset/", who=NOBODY),
    Shot(name="playground", path="/portal/playground"),
    Shot(name="keys", path="/portal/keys"),
    Shot(name="jobs", path="/portal/jobs"),
    Shot(name="webhooks", path="/portal/webhooks"),
    Shot(name="team", path="/portal/team"),
    Shot(name="account", path="/portal/account"),
    Shot(name="not-found", path="/portal/nothing-here"),
    Shot(name="docs", path="/docs/guides", who=NOBODY),
    Shot(name="reference", path="/docs", who=NOBODY),
)
