"""Which pages there are to look at, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OWNER, NEWCOMER, DEVELOPER, NOBODY = "owner", "newcomer", "developer", "nobody"
HALFWAY = "halfway"
"""The developer after the password, before the second factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One page as one person sees it."""

    name: str
    """Of the file."""
    path: str
    """With {name} for what `Seeded.ids` knows."""
    who: str = OWNER
    submit: str = ""
    """The form to send once its required fields are filled: what it answers is the page."""
    template: str = ""
    """Shown at this address though no visit leads there by itself."""


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
    Shot(name="job", path="/portal/jobs/{job}"),
    Shot(name="job-failed", path="/portal/jobs/{failed_job}"),
    Shot(name="key", path="/portal/keys/{key}"),
    Shot(name="key-issued", path="/portal/keys/new", submit="main form"),
    Shot(name="delivery", path="/portal/webhooks/deliveries/{delivery}"),
    Shot(name="invoice-jobs", path="/portal/billing/card-invoices/{invoice}/jobs"),
    Shot(name="leaving", path="/portal/shown-leaving", template="portal/billing/leaving.html"),
    Shot(name="security", path="/accounts/2fa/"),
    Shot(name="sessions", path="/accounts/sessions/"),
    Shot(name="addresses", path="/accounts/email/"),
    Shot(name="confirm-address", path="/accounts/confirm-email/", who=NOBODY),
    Shot(name="confirm-unknown", path="/accounts/confirm-email/unknown/", who=NOBODY),
    Shot(name="password-sent", path="/accounts/password/reset/done/", who=NOBODY),
    Shot(name="awaiting-approval", path="/portal/awaiting-approval", who=NOBODY),
    Shot(name="sign-out", path="/accounts/logout/"),
    Shot(name="forbidden", path="/portal/billing", who=DEVELOPER),
    Shot(name="security-on", path="/accounts/2fa/", who=DEVELOPER),
    Shot(name="second-factor", path="/accounts/2fa/authenticate/", who=HALFWAY),
    Shot(name="app-add", path="/accounts/2fa/totp/activate/"),
    Shot(name="app-remove", path="/accounts/2fa/totp/deactivate/", who=DEVELOPER),
    Shot(name="codes", path="/accounts/2fa/recovery-codes/", who=DEVELOPER),
    Shot(name="codes-renew", path="/accounts/2fa/recovery-codes/generate/", who=DEVELOPER),
    Shot(name="key-add", path="/accounts/2fa/webauthn/add/"),
    Shot(name="key-list", path="/accounts/2fa/webauthn/", who=DEVELOPER),
    Shot(name="key-rename", path="/accounts/2fa/webauthn/keys/{security_key}/edit/", who=DEVELOPER),
    Shot(name="key-remove", path="/accounts/2fa/webauthn/keys/{security_key}/remove/", who=DEVELOPER),
    Shot(name="again-password", path="/accounts/reauthenticate/", who=DEVELOPER),
    Shot(name="again-code", path="/accounts/2fa/reauthenticate/", who=DEVELOPER),
    Shot(name="password-change", path="/accounts/password/change/"),
    Shot(name="password-new", path="/accounts/password/reset/key/{reset}/", who=NOBODY),
    Shot(name="password-old-link", path="/accounts/password/reset/key/1-unknown/", who=NOBODY),
    Shot(name="password-changed", path="/accounts/password/reset/key/done/", who=NOBODY),
    Shot(name="confirm-link", path="/accounts/confirm-email/{confirmation}/", who=NOBODY),
    Shot(name="switched-off", path="/accounts/inactive/", who=NOBODY),
    Shot(name="sign-up-closed", path="/portal/shown-closed", template="account/signup_closed.html"),
    Shot(name="connections", path="/accounts/3rdparty/"),
    Shot(name="provider", path="/accounts/saml/acme/login/", who=NOBODY),
    Shot(name="provider-leaving", path="/portal/shown-provider", template="socialaccount/leaving.html"),
    Shot(name="provider-cancelled", path="/accounts/3rdparty/login/cancelled/", who=NOBODY),
    Shot(name="provider-failed", path="/accounts/3rdparty/login/error/", who=NOBODY),
    Shot(name="too-many", path="/portal/shown-429", template="429.html"),
    Shot(name="bad-request", path="/portal/shown-400", template="400.html"),
    Shot(name="too-old", path="/portal/shown-csrf", template="403_csrf.html"),
    Shot(name="server-error", path="/portal/shown-500", template="500.html"),
)
