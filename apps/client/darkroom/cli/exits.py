"""Exit codes of the command: one table from what went wrong to what a script is told."""

from __future__ import annotations

from typing import Final

from darkroom.errors import (
    AuthenticationError,
    DarkroomError,
    InvalidRequest,
    NotReachable,
    PaymentRequired,
    PermissionDenied,
    QueueFull,
    QuotaExceeded,
    UnexpectedAnswer,
)

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
AUTHENTICATION: Final = 3
QUOTA: Final = 4
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    FAILED: "the server refused it, or the job failed",
    USAGE: "wrong arguments, or fields that the server does not take",
    AUTHENTICATION: "no key, a wrong key, or a key that may not do this",
    QUOTA: "the day's calls or the money are used up, or too many jobs are open",
    UNREACHABLE: "no server answers at this address",
    INTERRUPTED: "Ctrl-C; a job that was waited for is canceled",
}


class UsageError(DarkroomError):
    """Arguments that cannot be meant."""


CODES: Final[tuple[tuple[type[DarkroomError], int], ...]] = (
    (UsageError, USAGE),
    (AuthenticationError, AUTHENTICATION),
    (PermissionDenied, AUTHENTICATION),
    (PaymentRequired, QUOTA),
    (QuotaExceeded, QUOTA),
    (QueueFull, QUOTA),
    (InvalidRequest, USAGE),
    (NotReachable, UNREACHABLE),
    (UnexpectedAnswer, UNREACHABLE),
)
"""The first that fits counts; everything else is FAILED."""


def exit_code(error: DarkroomError) -> int:
    """What a script is told of `error`."""
    return next((code for kind, code in CODES if isinstance(error, kind)), FAILED)
