"""Headers and signatures as Standard Webhooks has them (github.com/standard-webhooks, version 1.0.0).

A secret is derived from the appliance's key and a nonce, so that the database alone does not give it away.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from django.conf import settings

PREFIX: Final = "whsec_"
PURPOSE: Final = "webhooks.secret"


def secret_of(*, account_id: int, nonce: str) -> bytes:
    """32 bytes, the same as long as DARKROOM_SECRET_KEY stays."""
    message = f"{PURPOSE}\0{account_id}\0{nonce}"
    return hmac.new(settings.SECRET_KEY.encode(), message.encode(), sha256).digest()


def secret_text(secret: bytes) -> str:
    """As receivers configure it."""
    return PREFIX + base64.b64encode(secret).decode()


def signature(secret: bytes, *, event_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA-256 over id, time and body, joined by dots."""
    message = b"%b.%d.%b" % (event_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(secret, message, sha256).digest()).decode()


def signed_headers(*, secrets: Sequence[bytes], event_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The three headers, with one signature for each secret: during a rotation either verifies."""
    timestamp = int(now.timestamp())
    signatures = [signature(secret, event_id=event_id, timestamp=timestamp, body=body) for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
