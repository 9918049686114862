"""Who may read `/metrics`: whoever has the token, or without one this machine alone."""

from __future__ import annotations

import ipaddress
from secrets import compare_digest

from django.conf import settings
from django.http import HttpRequest

FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")
"""What a proxy adds: then the address that a request comes from is the proxy's."""


def may_read(request: HttpRequest) -> bool:
    """With DARKROOM_METRICS_TOKEN set it is asked of everybody, of this machine's programs as well."""
    if settings.METRICS_TOKEN:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and compare_digest(
            given.strip().encode(), settings.METRICS_TOKEN.encode()
        )
    return not any(name in request.headers for name in FORWARDED) and _is_here(request)


def _is_here(request: HttpRequest) -> bool:
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        # A socket in the file system has no address, and its users have been judged by its permissions.
        return False
