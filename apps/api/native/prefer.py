"""What a caller prefers: `Prefer: wait=10` waits for the result, `respond-async` does not (RFC 7240)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest

MAX_WAIT_S: Final = 60.0
"""Longer waits are cut: proxies close connections that are silent for a minute."""
_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,6})"?')


@dataclass(frozen=True, slots=True)
class Preference:
    """What was asked for; what cannot be read counts as not asked, as the RFC wants it."""

    wait_s: float
    applied: str
    """For `Preference-Applied`; "" when nothing was preferred."""

    @property
    def headers(self) -> dict[str, str]:
        """To say that it was heeded."""
        return {"Preference-Applied": self.applied} if self.applied else {}


def read_preference(http: HttpRequest) -> Preference:
    """Waiting is for those who ask for it. Both together: the answer comes after the wait at the latest."""
    words = [word.split(";")[0].strip().lower() for word in http.headers.get("Prefer", "").split(",")]
    for word in words:
        found = _WAIT.fullmatch(word)
        if found is not None:
            seconds = min(MAX_WAIT_S, float(found[1]))
            return Preference(wait_s=seconds, applied=f"wait={seconds:g}")
    return Preference(wait_s=0.0, applied="respond-async" if "respond-async" in words else "")
