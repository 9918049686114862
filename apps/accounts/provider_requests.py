"""Our own requests to sign-in providers: to the host that the operator has named, or to where anybody may.

A provider's discovery document says where to send codes and secrets and where to fetch keys. It is the
organisation's own text: without a check it would send this server to whatever is on the operator's network.
"""

from __future__ import annotations

import io
import ipaddress
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore2
import httpx2
import requests
from allauth.socialaccount.models import SocialApp
from requests.adapters import BaseAdapter

from apps.accounts.hosts import is_this_machine
from apps.core.fetch_policy import AllowedNetwork, FetchPolicy, FetchRefused, policy_from_settings
from apps.core.http import FetchTooLarge, describe_failure, open_client
from apps.core.http_connections import Resolve, resolve_name

TIMEOUT_S: Final = 10.0
"""For one request as a whole: whoever signs in waits for it."""
MAX_BYTES: Final = 1024 * 1024
"""Of one answer; discovery documents, keys and tokens have some kilobytes."""


class ProviderSession(requests.Session):
    """Judges each hop, redirects too, and connects to the very address that was judged.

    Raises requests' InvalidURL for what is refused and other RequestExceptions for what fails. No proxy and
    no password file of the environment is used, as everywhere else here.
    """

    def __init__(self, *, resolve: Resolve = resolve_name) -> None:
        super().__init__()
        self.trust_env = False
        for scheme in ("https://", "http://"):
            self.mount(scheme, _SafeAdapter(resolve))


class _SafeAdapter(BaseAdapter):
    """Sends what requests has prepared by the appliance's one safe way out; see `apps.core.http`."""

    def __init__(self, resolve: Resolve) -> None:
        super().__init__()
        self._resolve = resolve

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Any: requests' own options; time, certificates and proxies are our business."""
        url = request.url or ""
        try:
            answer = self._ask(request, _policy_for(url))
        except (FetchRefused, ValueError, httpx2.InvalidURL) as error:
            raise requests.exceptions.InvalidURL(f"A sign-in provider cannot be asked: {error}") from None
        except (httpx2.HTTPError, httpcore2.ReadTimeout, FetchTooLarge) as error:
            text = str(error) if isinstance(error, FetchTooLarge) else describe_failure(error)
            raise requests.exceptions.ConnectionError(f"A sign-in provider cannot be asked: {text}") from None
        return _as_requests_knows_it(answer, request)

    def _ask(self, request: requests.PreparedRequest, policy: FetchPolicy) -> httpx2.Response:
        client = open_client(
            policy,
            max_bytes=MAX_BYTES,
            max_connections=1,
            resolve=self._resolve,
            deadline=time.monotonic() + TIMEOUT_S,
        )
        body = request.body.encode() if isinstance(request.body, str) else request.body
        with client:
            return client.send(
                client.build_request(
                    request.method or "GET", request.url or "", content=body, headers=dict(request.headers)
                ),
                follow_redirects=False,
            )

    def close(self) -> None:
        """Nothing is kept open between requests."""


def _as_requests_knows_it(answer: httpx2.Response, request: requests.PreparedRequest) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status_code
    response.reason = answer.reason_phrase
    response.headers.update(answer.headers)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    response.raw = io.BytesIO(answer.content)
    response.url = str(answer.url)
    response.request = request
    return response


def _policy_for(url: str) -> FetchPolicy:
    """Where one request may go. Raises FetchRefused, and ValueError for what is no address."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_this_machine(host)):
        raise FetchRefused(f"{url[:200]!r} is not an https address.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if (host, port) not in _issuers():
        return policy_from_settings()
    # The operator has named this host, which may be on their own network.
    anywhere = ("0.0.0.0/0", "::/0")
    return FetchPolicy(allow=tuple(AllowedNetwork(ipaddress.ip_network(text), port) for text in anywhere))


def _issuers() -> set[tuple[str, int]]:
    """Host and port of every provider that an operator has set up, also on the operator's own network."""
    apps = SocialApp.objects.filter(provider="openid_connect")
    addresses = [urlsplit(app.settings.get("server_url", "")) for app in apps]
    return {
        (each.hostname, each.port or (443 if each.scheme == "https" else 80))
        for each in addresses
        if each.hostname
    }
