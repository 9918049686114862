"""Sends the request of a recorded ModelsLab exchange, and tells the answer as it is recorded.

A request has `method`, `path`, `headers` and a `body`: an object is sent as JSON, or with `"form": true` as a
form; text is sent as it is. `<picture>` is a data URL, `<mask>` base64, `<many bytes>` too much for a body.
"""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from apps.apikeys.choices import ALL_SCOPES
from apps.generation.models import GenerationJob
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import mask, picture
from tests.cast import Cast
from tests.contracts.placeholders import facts_of, take_out, uploads
from tests.contracts.recording import HEADERS, Exchange, fill_in
from tests.factories import make_account, make_key

MANY_BYTES = "<many bytes>"
OPERATOR = "<operator's key>"


def answer_to(exchange: Exchange, cast: Cast) -> dict[str, Any]:
    """Status, headers and body, with placeholders for what varies."""
    known = _keys(exchange, cast) | {"<picture>": picture(128, 64), "<mask>": mask(128, 64)}
    request = fill_in(exchange.request, known | facts_of(GenerationJob.objects.last()))
    answer = _send(request)
    told = {
        "status": answer.status_code,
        "headers": {name: answer[name] for name in HEADERS if name in answer},
        "body": _body(answer),
    }
    told = take_out(told, facts_of(GenerationJob.objects.last()) | uploads())
    assert isinstance(told, dict)
    return told


def _keys(exchange: Exchange, cast: Cast) -> dict[str, str]:
    keys = {"<key>": cast.key_text, "<stranger's key>": cast.strangers_key_text}
    if OPERATOR in str(exchange.request):
        keys[OPERATOR] = make_key(make_account("operator"), scopes=ALL_SCOPES).plaintext
    return keys


def _send(request: dict[str, Any]) -> Any:
    client = ApiClient(None)
    body, headers = request.get("body"), request.get("headers", {})
    if request["method"] != "POST":
        return client.http.generic(request["method"], request["path"], headers=headers)
    if body == MANY_BYTES:
        body = b" " * (settings.MAX_BODY_BYTES + 1)
    if isinstance(body, dict) and request.get("form"):
        return client.http.post(request["path"], body, headers=headers)
    return client.post(request["path"], body, **headers)


def _body(answer: Any) -> Any:
    """JSON, streamed or whole; None for an empty body."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return json.loads(content) if content else None
