"""Secrets at rest, sealed with a key derived from DARKROOM_SECRET_KEY: a dump of the database has none.

A seal names its purpose: a sealed webhook secret put into the column of the API key does not open.
"""

from __future__ import annotations

import base64
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class SealBroken(Exception):
    """The text was sealed with another DARKROOM_SECRET_KEY, for another purpose, or has been changed."""


def seal(text: str, *, purpose: str) -> str:
    """Encrypted and authenticated (AES-256-GCM), as URL-safe text; "" stays ""."""
    if not text:
        return ""
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(_key()).encrypt(nonce, text.encode(), purpose.encode())
    return base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """What was sealed. Raises SealBroken."""
    if not sealed:
        return ""
    try:
        raw = base64.urlsafe_b64decode(sealed.encode())
        return AESGCM(_key()).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], purpose.encode()).decode()
    except (InvalidTag, ValueError):
        raise SealBroken(
            f"The stored {purpose} cannot be opened: DARKROOM_SECRET_KEY has changed. Enter it again."
        ) from None


def _key() -> bytes:
    # Its name is older than this module: another would open nothing that was sealed before.
    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"darkroom.payments.sealing")
    return derive.derive(settings.SECRET_KEY.encode())
