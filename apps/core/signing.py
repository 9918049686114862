"""Keyed hashes with separated purposes, so that a signature made for one use never fits another."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256

from django.conf import settings
from django.utils.crypto import constant_time_compare


def signature(purpose: str, message: str) -> str:
    """URL-safe HMAC-SHA-256 over purpose and message, cut to 128 bits (22 characters)."""
    digest = hmac.new(settings.SECRET_KEY.encode(), f"{purpose}\0{message}".encode(), sha256).digest()
    return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")


def is_genuine(purpose: str, message: str, candidate: str) -> bool:
    """Whether `candidate` is the signature of `message`; compares in constant time."""
    return constant_time_compare(signature(purpose, message), candidate)
