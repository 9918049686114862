"""Our own requests to sign-in providers: to the host that the operator has named, or to where anybody may.

A provider's discovery document says where to send codes and secrets and where to fetch keys. It is the
organisation's own text: without a check it would send this server to whatever is on the operator's network.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import requests
from allauth.socialaccount.models import SocialApp

from apps.accounts.hosts import is_this_machine
from apps.core.fetch_policy import FetchRefused, policy_from_settings
from apps.core.http_connections import resolve_name

TIMEOUT_S: Final = 10.0


class ProviderSession(requests.Session):
    """Judges each hop, redirects too, before anything is sent. Raises requests' InvalidURL for refused ones.

    No proxy and no password file of the environment is used, as everywhere else here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Any: requests' own options."""
        try:
            _require_permitted(request.url or "")
        except (FetchRefused, OSError, ValueError) as error:
            raise requests.exceptions.InvalidURL(f"A sign-in provider cannot be asked: {error}") from None
        if options.get("timeout") is None:
            options["timeout"] = TIMEOUT_S
        return super().send(request, **options)


def _require_permitted(url: str) -> None:
    """Raises FetchRefused, OSError for a name that is not known, ValueError for what is no address."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(host)):
        raise FetchRefused(f"{url[:200]!r} is not an https address.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if (host, port) in _issuers():
        return
    policy = policy_from_settings()
    policy.check_url(scheme=parts.scheme, host=host, has_password=bool(parts.username or parts.password))
    policy.choose(host, port, resolve_name(host, port))


def _issuers() -> set[tuple[str, int]]:
    """Host and port of every provider that an operator has set up, also on the operator's own network."""
    apps = SocialApp.objects.filter(provider="openid_connect")
    addresses = [urlsplit(app.settings.get("server_url", "")) for app in apps]
    return {
        (each.hostname, each.port or (443 if each.scheme == "https" else 80))
        for each in addresses
        if each.hostname
    }
