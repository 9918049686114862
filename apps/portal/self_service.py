"""Whether customers may come in by themselves."""

from __future__ import annotations

from apps.accounts.openings import get_sign_up_settings


def is_open() -> bool:
    """Whether anybody may open an account; if not, pages speak of signing in alone."""
    rules = get_sign_up_settings()
    return rules.self_service and not rules.invitation_only
