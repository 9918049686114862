"""What is left of the day's calls, under the names that OpenAI's callers read.

    x-ratelimit-limit-requests: 100
    x-ratelimit-remaining-requests: 42
    x-ratelimit-reset-requests: 6h3m20s

Beside the names of all dialects. Tokens are not counted here, so nothing is said of them.
"""

from __future__ import annotations

from typing import Final

from django.http.response import HttpResponseBase

COUNTS: Final = ("Limit", "Remaining")
RESET: Final = "X-RateLimit-Reset"


def name_limits(response: HttpResponseBase) -> None:
    """Say again what the answer already says of limits; nothing where it says nothing."""
    if RESET not in response.headers:
        return
    for count in COUNTS:
        response.headers[f"X-RateLimit-{count}-Requests"] = response.headers[f"X-RateLimit-{count}"]
    response.headers[f"{RESET}-Requests"] = duration(int(response.headers[RESET]))


def duration(seconds: int) -> str:
    """As Go writes it, and so OpenAI: `45s`, `6m0s`, `12h0m0s`."""
    minutes, rest_s = divmod(seconds, 60)
    hours, rest_m = divmod(minutes, 60)
    if hours:
        return f"{hours}h{rest_m}m{rest_s}s"
    return f"{rest_m}m{rest_s}s" if rest_m else f"{rest_s}s"
