"""The connection to Stripe: the only module that imports its package.

Decides the API version, the time limits and the retries, and turns Stripe's errors into ours. What is asked
of Stripe stands in `apps.payments.calls`, by subject; every write there has a key derived from a row of ours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

import stripe

from apps.payments.errors import (
    CardDeclined,
    EventRefused,
    PaymentRefused,
    PaymentsMisconfigured,
    PaymentsNotConfigured,
    PaymentsUnavailable,
)

API_VERSION: Final = "2026-10-28.endive"
CONNECT_S: Final = 3.0
READ_S: Final = 15.0
RETRIES: Final = 2
# Stripe signs when it sends; clocks differ, and a message on its way for longer was kept by somebody.
MAX_EVENT_AGE_S: Final = 300

Json: TypeAlias = Mapping[str, Any]
"""An object of Stripe's as its API sends it; `apps.payments.seen` reads it (hence Any)."""
Client: TypeAlias = stripe.StripeClient
Options: TypeAlias = stripe.RequestOptions
Answer: TypeAlias = stripe.StripeObject

log = logging.getLogger(__name__)

# What the package would add to each request about the last one.
stripe.enable_telemetry = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeConfig:
    """Everything needed to speak to Stripe."""

    secret_key: str
    webhook_secret: str
    """Empty: no message can be believed."""
    publishable_key: str
    api_base: str
    is_live: bool
    is_tax_on: bool


class StripeApi:
    """Asks Stripe. Raises CardDeclined, PaymentRefused, PaymentsMisconfigured and PaymentsUnavailable."""

    def __init__(self, config: StripeConfig) -> None:
        if not config.secret_key:
            raise PaymentsNotConfigured
        self.config = config
        self._client = _client(config.secret_key, config.api_base)

    def ask(self, call: Callable[[Client], Answer]) -> Json:
        """The answer to one request as plain data."""
        try:
            return call(self._client).to_dict()
        except stripe.StripeError as error:
            raise translated(error) from error

    def find(self, call: Callable[[Client], Answer]) -> Json | None:
        """The same, or None for what Stripe does not have (any more)."""
        try:
            return call(self._client).to_dict()
        except stripe.InvalidRequestError as error:
            if error.http_status == 404 or error.code == "resource_missing":
                return None
            raise translated(error) from error
        except stripe.StripeError as error:
            raise translated(error) from error

    def every(self, call: Callable[[Client], stripe.ListObject[Any]]) -> Iterator[Json]:
        """Each row of a list, page after page (Any: rows of every type)."""
        try:
            for row in call(self._client).auto_paging_iter():
                yield row.to_dict()
        except stripe.StripeError as error:
            raise translated(error) from error


@lru_cache(maxsize=4)
def _client(secret_key: str, api_base: str) -> Client:
    http = stripe.RequestsClient(timeout=(CONNECT_S, READ_S))
    return stripe.StripeClient(
        secret_key,
        stripe_version=API_VERSION,
        base_addresses={"api": api_base, "files": api_base, "connect": api_base, "meter_events": api_base},
        max_network_retries=RETRIES,
        http_client=http,
    )


def once(key: str) -> Options:
    """Options of a write: Stripe answers a repetition with the first answer."""
    return {"idempotency_key": key}


def translated(error: stripe.StripeError) -> Exception:
    """Stripe's error as one of ours; what only the operator can mend is logged in full."""
    match error:
        case stripe.CardError():
            return CardDeclined(reason=sentence(error))
        case stripe.AuthenticationError() | stripe.PermissionError():
            log.error("Stripe does not accept our key: %s", error)
            return PaymentsMisconfigured()
        case stripe.RateLimitError():
            return PaymentsUnavailable(retry_after_s=5)
        case stripe.InvalidRequestError() | stripe.IdempotencyError():
            # 409: another request with the same key is under way.
            if error.http_status == 409:
                return PaymentsUnavailable(retry_after_s=5)
            log.warning("Stripe refused a request: %s", error)
            return PaymentRefused(reason=sentence(error))
        case _:
            log.warning("Stripe cannot be reached: %s", error)
            return PaymentsUnavailable(retry_after_s=60)


def sentence(error: stripe.StripeError) -> str:
    """Stripe's own words, which are meant for people, ending in a full stop."""
    words = (error.user_message or "it gave no reason").strip()
    return words if words.endswith((".", "!", "?")) else f"{words}."


def verify_signature(*, body: bytes, header: str, secret: str, now: datetime) -> None:
    """Whether `body` is what Stripe signed, not long before `now`. Raises EventRefused.

    Stripe's own verifier compares the signature; the age is compared with our clock, both ways.
    """
    try:
        stripe.WebhookSignature.verify_header(body, header, secret)
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        raise EventRefused(reason="its signature is missing or does not fit.") from None
    sent_at = _signed_time(header)
    if abs(now.timestamp() - sent_at) > MAX_EVENT_AGE_S:
        raise EventRefused(reason="it was signed more than five minutes ago, or in the future.")


def _signed_time(header: str) -> int:
    """The first `t=` of a header that has been verified: the one that the signature covers."""
    return next(int(part[2:]) for part in header.split(",") if part.startswith("t="))
