"""Which passwords are refused beyond Django's own rules: what is guessed soon, and what was stolen before.

Nobody is asked: words and patterns ship with zxcvbn, and the breached ones are a file of the operator's.
"""

from __future__ import annotations

import mmap
from hashlib import sha1
from pathlib import Path
from typing import Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from zxcvbn import zxcvbn

MIN_GUESSES_LOG10: Final = 8.0
"""Guesses a password must withstand: 10^8 of them against a slow hash take one machine months."""
MAX_LENGTH: Final = 72
"""What zxcvbn looks at: its time grows with the square of the length."""
DIGEST_LENGTH: Final = 40


class BreachedFileUnreadable(OSError):
    """The file of breached passwords is missing or is something else."""


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
    """Refuses passwords of the operator's file of breached ones; without a file, none."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raises ValidationError, and BreachedFileUnreadable when the file cannot be used."""
        if not settings.BREACHED_PASSWORDS:
            return
        count = breach_count(password, path=Path(settings.BREACHED_PASSWORDS))
        if count:
            raise ValidationError(
                _("This password is known from stolen lists (%(count)d times). Choose another one.")
                % {"count": count},
                code="password_breached",
            )

    def get_help_text(self) -> str:
        """For forms."""
        return _("Your password must not be known from stolen lists.")


def breach_count(password: str, *, path: Path) -> int:
    """How often `password` stands in the breaches that `path` lists; 0 when it does not.

    `path` holds lines `SHA-1 in upper-case hex:count`, in the order of the digests. Found by bisection
    over the file: some forty reads of a few bytes, whatever its size. Raises BreachedFileUnreadable.
    """
    wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            line = _find_line(lines, wanted)
            return int(line[DIGEST_LENGTH + 1 :]) if line else 0
    except (OSError, ValueError) as error:
        # ValueError: an empty file cannot be mapped, and what is no number is no count.
        raise BreachedFileUnreadable(
            f"DARKROOM_BREACHED_PASSWORDS: {path} cannot be used ({error}). It must be a file of lines"
            " SHA-1:count, ordered by hash; unset the variable to do without."
        ) from error


def _find_line(lines: mmap.mmap, wanted: bytes) -> bytes:
    """The line that begins with `wanted`; empty when there is none."""
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high) // 2
        start = lines.rfind(b"\n", low, middle) + 1 or low
        end = lines.find(b"\n", start)
        end = len(lines) if end < 0 else end
        digest = lines[start : start + DIGEST_LENGTH]
        if len(digest) < DIGEST_LENGTH or lines[start + DIGEST_LENGTH : start + DIGEST_LENGTH + 1] != b":":
            raise ValueError(f"byte {start} begins no line SHA-1:count")
        if digest == wanted:
            return bytes(lines[start:end]).strip()
        if digest < wanted:
            low = end + 1
        else:
            high = start
    return b""
