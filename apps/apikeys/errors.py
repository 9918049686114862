"""Refusals of the key check. They never tell which part of a key was wrong."""

from __future__ import annotations

from apps.core.errors import DomainError


class ApiKeyMissing(DomainError):
    """The request carries no key at all."""

    code = "api_key_missing"
    http_status = 401
    message = "An API key is required: send it as `key` in the body or as `Authorization: Bearer <key>`."


class ApiKeyInvalid(DomainError):
    """Mistyped, unknown, expired, revoked, inactive account, another address: all look the same."""

    code = "api_key_invalid"
    http_status = 401
    message = "Invalid API key"


class ScopeMissing(DomainError):
    """The key is genuine, but was not made for this."""

    code = "scope_missing"
    http_status = 403
    message = "This API key lacks the scope {scope}."


class KeyStronger(DomainError):
    """The other key is of the same account, and has fewer limits than the one that asks."""

    code = "key_stronger"
    http_status = 403
    message = "This API key may not revoke the key {prefix}, which {excess}. Use one without that limit."
