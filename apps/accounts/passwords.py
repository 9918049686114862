"""Which passwords are refused beyond Django's own rules: what is guessed soon, and what was stolen before.

Nobody is asked: words and patterns ship with zxcvbn, and the breached ones are a file of the operator's.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from zxcvbn import zxcvbn

from apps.accounts.breached import BreachedFileUnreadable, BreachedList, breach_count, inspect_list

logger = logging.getLogger(__name__)

MIN_GUESSES_LOG10: Final = 8.0
"""Guesses a password must withstand: 10^8 of them against a slow hash take one machine months."""
MAX_LENGTH: Final = 72
"""What zxcvbn looks at: its time grows with the square of the length."""


class GuessedPasswordValidator:
    """Refuses what a guesser who knows words, names, dates and keyboards finds soon, and says why."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raises ValidationError."""
        address = str(getattr(user, "email", "") or "")
        known = [word for word in (address, address.partition("@")[0], "darkroom") if word]
        verdict = zxcvbn(password[:MAX_LENGTH], user_inputs=known, max_length=MAX_LENGTH)
        if verdict["guesses_log10"] >= MIN_GUESSES_LOG10:
            return
        feedback = verdict["feedback"]
        hints = [text.rstrip(".") for text in (feedback["warning"], *feedback["suggestions"]) if text]
        problem = _("This password is too easy to guess.")
        raise ValidationError(
            " ".join([problem, *(f"{_(hint)}." for hint in hints)]), code="password_guessable"
        )

    def get_help_text(self) -> str:
        """For forms."""
        return _("Use several words that do not belong together, or let a password manager choose.")


class BreachedPasswordValidator:
    """Refuses passwords of the operator's file of breached ones; without a file, none.

    A file that has become unreadable shuts nobody out: the log, the console and the preflight name it.
    """

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raises ValidationError."""
        if not settings.BREACHED_PASSWORDS:
            return
        try:
            count = breach_count(password, path=Path(settings.BREACHED_PASSWORDS))
        except BreachedFileUnreadable as error:
            logger.error("a password was taken without the list of breached ones: %s", error)
            return
        if count:
            raise ValidationError(
                _("This password is known from stolen lists (%(count)d times). Choose another one.")
                % {"count": count},
                code="password_breached",
            )

    def get_help_text(self) -> str:
        """For forms."""
        return _("Your password must not be known from stolen lists.")


def find_breached_list() -> BreachedList | None:
    """The operator's list as it is now; None when none is set. Raises BreachedFileUnreadable."""
    return inspect_list(Path(settings.BREACHED_PASSWORDS)) if settings.BREACHED_PASSWORDS else None


def describe_breached_list() -> str:
    """One sentence for operators: which passwords are refused as known, or why none are."""
    try:
        found = find_breached_list()
    except BreachedFileUnreadable as error:
        return f"Not in use: {error}"
    if found is None:
        return (
            "No list of breached passwords is set (DARKROOM_BREACHED_PASSWORDS). Refused are Django's 20,000"
            " most common ones and what zxcvbn guesses soon."
        )
    return f"Passwords of {found} are refused."
