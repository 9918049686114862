"""Sending the forms of billing, and reading what the pages answer."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from django.test import Client

PAGE = "/portal/billing"


def send(browser: Client, path: str, **fields: Any) -> Any:
    """A form, with a token of its own unless one is given; the page that it leads to."""
    return browser.post(path, {"token": str(uuid4())} | fields, follow=True)


def text_of(response: Any) -> str:
    html: str = response.content.decode()
    return html


def dismissed(html: str) -> list[str]:
    """What the messages on a page say."""
    return re.findall(r'<span class="toast-text">([^<]*)</span>', html)
