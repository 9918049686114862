"""How allauth keeps second factors here: encrypted, so that a copy of the database gives no codes."""

from __future__ import annotations

import base64
import logging
from hashlib import sha256
from typing import NoReturn

from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.contrib import messages
from django.shortcuts import redirect
from django.utils.translation import gettext as _

logger = logging.getLogger(__name__)


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth ships no types
    """allauth's, with secrets encrypted under the installation's key."""

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Turns the visitor away when the installation's secret key is another than it was."""
        try:
            return _cipher().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            _turn_away()


def _turn_away() -> NoReturn:
    """Neither a wrong code nor our mistake: other ways in, such as a security key, still work."""
    logger.error("codes of a user cannot be opened: DARKROOM_SECRET_KEY has changed")
    messages.error(context.request, _("Your codes cannot be read any more. Ask the operator of this server."))
    raise ImmediateHttpResponse(redirect("portal:account"))


def _cipher() -> Fernet:
    key = sha256(b"accounts.second_factor\0" + settings.SECRET_KEY.encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
