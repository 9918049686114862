"""Tells OpenAI's clients from ours where both dialects have the same path: /v1/models.

Their libraries say who they are in three ways, and one is enough: the user agent (`OpenAI/Python 3.54`,
`AsyncOpenAI/Python`, `OpenAI/JS 6.1`), a header that begins with `OpenAI-`, or one of the `X-Stainless-`
headers that the generator of their libraries adds, also in browsers, where nobody can change the user agent.
Accept is no help: they ask for plain JSON, as everybody does. Whoever says nothing gets the native form;
below /openai/v1 everybody gets OpenAI's.
"""

from __future__ import annotations

import re

from django.http import HttpRequest

USER_AGENT = re.compile(r"[a-z]*openai/", re.IGNORECASE)
HEADER_PREFIXES = ("openai-", "x-stainless-")


def is_openai_client(http: HttpRequest) -> bool:
    """Whether this request comes from a library made for OpenAI's API."""
    if USER_AGENT.match(http.headers.get("User-Agent", "")):
        return True
    return any(name.lower().startswith(HEADER_PREFIXES) for name in http.headers)
