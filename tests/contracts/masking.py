"""Answers as recorded exchanges hold them: whole, with a mask where two runs differ.

Masked are what is drawn or counted by the database: ids, signatures, secrets, cursors. Times are not, for the
clock stands still. Of a file its type and size are kept, for encoders change their bytes.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

HEADERS: Final = (
    "Content-Type",
    "Cache-Control",
    "Location",
    "ETag",
    "Content-Range",
    "Accept-Ranges",
    "Retry-After",
    "Allow",
    "WWW-Authenticate",
    "Idempotent-Replayed",
    "Preference-Applied",
    "RateLimit",
    "RateLimit-Policy",
    "X-RateLimit-Limit-Requests",
    "X-RateLimit-Remaining-Requests",
    "X-RateLimit-Reset-Requests",
    "X-Accel-Buffering",
    "X-Should-Retry",
    "X-Darkroom-Error",
    "X-Darkroom-Job",
    "X-Darkroom-Tier",
    "Darkroom-Funding",
    "Darkroom-Price-Micro",
)
"""What of an answer's headers is part of the contract."""

IDS: Final = frozenset({"id", "job_id", "import_id", "key"})
"""Names under which numbers, and what keys are known by, are ids."""
PREFIX: Final = re.compile(r"[a-z0-9]{8}")
"""By which a key is known."""
FILE_CHARS: Final = 100
"""Texts of base64 from this length on are files, and sizes from it on those of files we encode."""
MASKS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"/media/[0-9]+\.[A-Za-z0-9_-]{22}/", "/media/<signed>/"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
        (r"\breq_[a-z0-9]{20}\b", "<request id>"),
        (r"\bmsg_[a-z0-9]{24}\b", "<event id>"),
        (r"\bwhsec_[A-Za-z0-9+/=]+", "<secret>"),
        (r"\bdkr_[A-Za-z0-9_]+", "<key>"),
        (r"\([a-z0-9]{8}\)", "(<prefix>)"),
        (r"(?<=revoke the key )[a-z0-9]{8}\b", "<prefix>"),
        (r"\b[0-9a-f]{64}\b", "<digest>"),
        (r"\b(?=[a-z]*[0-9])[a-z0-9]{24}\b", "<id>"),
        (r"(?<=/jobs/)[0-9]+|(?<=/imports/)[0-9]+", "<id>"),
        (r"(?<=[Jj]ob )[0-9]+|(?<=Request )[0-9]+|(?<=Import )[0-9]+", "<id>"),
    )
)
DRAWN: Final[Mapping[str, str]] = {
    "next_cursor": "<cursor>",
    "ends_with": "<end>",
    "revision": "<revision>",
}
"""Names whose text is drawn at random, or counts rows."""


def answer_of(response: Any) -> dict[str, Any]:  # Any: a response of Django's test client
    """Status, headers and body."""
    headers = {name: mask_text(response[name]) for name in HEADERS if name in response}
    if "X-Darkroom-Job" in headers:
        headers["X-Darkroom-Job"] = "<id>"
    return {"status": response.status_code, "headers": headers, "body": _body(response)}


def _body(response: Any) -> Any:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    if not content:
        return None
    if media_type == "text/event-stream":
        return [_event(block) for block in content.decode().split("\n\n") if block]
    if media_type.endswith("json"):
        return mask(json.loads(content))
    return _picture(content) or mask_text(content.decode("utf-8", "replace"))


def _event(block: str) -> dict[str, Any]:
    """Lines of one event by their names; comments under ""."""
    lines = dict(line.split(": ", 1) for line in block.splitlines())
    if "data" in lines:
        return {**lines, "data": mask(json.loads(lines["data"]))}
    return lines


def mask(value: Any, name: str = "") -> Any:
    """A JSON value without what differs from run to run."""
    if isinstance(value, dict):
        return {key: mask(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item, name) for item in value]
    if name in IDS and (isinstance(value, int) or (isinstance(value, str) and PREFIX.fullmatch(value))):
        return "<id>"
    if name == "size_bytes" and isinstance(value, int) and value >= FILE_CHARS:
        return "<size>"
    if isinstance(value, str) and value:
        return DRAWN.get(name) or mask_text(value)
    return value


def mask_text(text: str) -> str:
    """A text without what differs from run to run."""
    if len(text) >= FILE_CHARS:
        picture = _picture(_decoded(text.rpartition(",")[2]))
        if picture is not None:
            return picture
    for pattern, words in MASKS:
        text = pattern.sub(words, text)
    return text


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _picture(data: bytes) -> str | None:
    """What a file shows of itself; None for what is no picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f"<{image.format} {image.width}x{image.height} {image.mode}>"
    except OSError:
        return None
