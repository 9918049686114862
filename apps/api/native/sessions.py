"""Callers without an API key: members who are signed in to the portal, in the browser that shows it.

A browser sends its session cookie with whatever any page asks for, so a request that changes something must
carry the token that only our own pages know.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import CSRFCheck

from apps.accounts.current import current_membership
from apps.accounts.roles import can
from apps.api.bodies import FORM_TYPES
from apps.api.native.errors import CsrfRefused, RoleMissing
from apps.apikeys.errors import ApiKeyInvalid, ApiKeyMissing
from apps.apikeys.models import ApiKey
from apps.apikeys.portal import portal_key
from apps.apikeys.services import note_use
from apps.core.errors import MalformedBody

PERMISSION: Final = "playground"
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


def has_session(http: HttpRequest) -> bool:
    """Whether the request brings a session at all; what it is worth is another question."""
    return settings.SESSION_COOKIE_NAME in http.COOKIES


def session_caller(http: HttpRequest, *, now: datetime) -> ApiKey:
    """The portal key of the account that the session's member works for.

    Raises ApiKeyMissing for a session of nobody, ApiKeyInvalid for an account that is switched off,
    CsrfRefused and MalformedBody for what another site could have sent, RoleMissing.
    """
    membership = current_membership(http)
    if membership is None:
        raise ApiKeyMissing
    if not membership.account.is_active:
        raise ApiKeyInvalid
    if http.method not in SAFE_METHODS:
        _require_own_page(http)
    if not can(membership, PERMISSION):
        raise RoleMissing(role=str(membership.role), permission=PERMISSION)
    key = portal_key(account=membership.account, now=now)
    note_use(key, now=now)
    return key


def _require_own_page(http: HttpRequest) -> None:
    """The check would read a form's body, and no page of ours sends one here."""
    if http.content_type in FORM_TYPES:
        raise MalformedBody(problem="must be JSON or an image where a session asks; forms need an API key")
    check = CSRFCheck(_unused)
    check.process_request(http)
    # None for what is in order, else the reason in words; DRF's check makes no response of it.
    if check.process_view(http, _unused, (), {}):
        raise CsrfRefused


def _unused(request: HttpRequest) -> HttpResponse:
    """Stands where Django's middleware has the next one, and where it looks for marks of the view."""
    raise AssertionError("a check calls neither")
