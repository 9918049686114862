"""Sends the request of a recorded exchange as its client does, to the appliance in the given situation.

A request names its sender in `as`, its `method` and `path`, and has `headers` and one of `body` (JSON), `raw`
(text as it is), `form` (multipart; a list is a name several times) or `bytes`. Placeholders stand in any of
them; those of FILES are files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.test.client import encode_multipart
from PIL import Image

from tests.contracts.masking import answer_of
from tests.contracts.recording import Exchange, fill_in, write_down
from tests.contracts.situations import SITUATIONS, Situations, Stage, key_of
from tests.factories import png_bytes

MULTIPART: Final = "multipart/form-data; boundary=the-end; charset=utf-8"


def mask_bytes() -> bytes:
    """A PNG whose right half is transparent."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (32, 0, 64, 64))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


FILES: Final[Mapping[str, bytes]] = {
    "<picture>": png_bytes(width=64, height=64),
    "<mask>": mask_bytes(),
    "<many bytes>": b"\0" * 1_100_000,
    "<weights>": b"0123456789",
}


def check(exchange: Exchange, stage: Stage, situations: Situations = SITUATIONS, /, **more: str) -> None:
    """The answer is the recorded one, whole; an exchange without one gets it, and fails."""
    known = dict(situations[exchange.given](stage))
    answer = answer_of(_send(exchange.request, stage, known | more))
    if not exchange.response:
        write_down(exchange, answer)
        pytest.fail(f"{exchange.file} was recorded; judge it before you keep it")
    assert answer == exchange.response


def path_of(request: Mapping[str, Any]) -> str:
    """Without the query."""
    return str(request["path"]).partition("?")[0]


def _send(request: Mapping[str, Any], stage: Stage, known: dict[str, str]) -> Any:
    client = Client(raise_request_exception=False)
    key = key_of(request["as"], stage.cast)
    headers = dict(fill_in(request.get("headers", {}), known))
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data, content_type = _content(request, known)
    return client.generic(
        request["method"], fill_in(request["path"], known), data, content_type, headers=headers
    )


def _content(request: Mapping[str, Any], known: dict[str, str]) -> tuple[bytes, str]:
    if "form" in request:
        parts = {name: _part(value, known) for name, value in request["form"].items()}
        return encode_multipart("the-end", parts), MULTIPART
    if "bytes" in request:
        return FILES[request["bytes"]], request.get("type", "application/octet-stream")
    if "raw" in request:
        return request["raw"].encode(), "application/json"
    if "body" in request:
        return json.dumps(fill_in(request["body"], known)).encode(), "application/json"
    return b"", "application/octet-stream"


def _part(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_part(item, known) for item in value]
    if value in FILES:
        name, media_type = ("a.safetensors", "") if value == "<weights>" else ("image.png", "image/png")
        return SimpleUploadedFile(name, FILES[value], media_type or "application/octet-stream")
    return fill_in(value, known)
