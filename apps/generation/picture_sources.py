"""Where a picture comes from: an address, base64, the bytes themselves, or one that was stored before."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

from apps.artifacts.errors import ArtifactNotFound
from apps.artifacts.selectors import access_by_url, is_own_link
from apps.core.fetch_policy import FetchRefused, policy_from_settings
from apps.core.http import FetchFailed, FetchTooLarge, fetch
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_store import DIGEST, uploaded_bytes

MAX_BYTES: Final = 20_000_000
FETCH_S: Final = 10.0
UPLOAD_PREFIX: Final = "upload:"
_DATA_URL: Final = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class UrlSource:
    """An http or https address."""

    url: str


@dataclass(frozen=True, slots=True)
class BytesSource:
    """A file as it came."""

    data: bytes


@dataclass(frozen=True, slots=True)
class UploadSource:
    """A picture that the same account has brought within the last hour, by its digest."""

    id: str


PictureSource: TypeAlias = UrlSource | BytesSource | UploadSource


def read_source(value: object) -> PictureSource:
    """An address, `upload:` and an id, a data URL, or base64 with or without padding. Raises BadPicture."""
    if isinstance(value, bytes | bytearray | memoryview):
        return BytesSource(bytes(value))
    if not isinstance(value, str):
        raise BadPicture(f"must be an address or base64, not {type(value).__name__}")
    text = value.strip()
    if not text:
        raise BadPicture("is empty")
    if text[:8].lower().startswith(("http://", "https://")):
        return UrlSource(text)
    if text.startswith(UPLOAD_PREFIX):
        return _upload(text.removeprefix(UPLOAD_PREFIX))
    return BytesSource(_from_base64(text))


def _upload(name: str) -> UploadSource:
    if DIGEST.fullmatch(name) is None:
        raise BadPicture("names no upload: an upload's id has 64 hexadecimal digits")
    return UploadSource(name)


def _from_base64(text: str) -> bytes:
    prefix = _DATA_URL.match(text[:300])
    if prefix is not None:
        if not prefix[0].lower().endswith(";base64,"):
            raise BadPicture("is a data URL that is not base64")
        text = text[prefix.end() :]
    elif re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", text[:40]):
        raise BadPicture("must be an http or https address, a data URL or base64")
    # Three bytes in four characters, and room for line breaks.
    if len(text) > MAX_BYTES * 3 // 2:
        raise BadPicture(_too_large())
    packed = _BLANKS.sub("", text).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadPicture("is neither an address nor base64") from None


def _too_large() -> str:
    return f"is larger than {MAX_BYTES // 1_000_000} MB"


def at_hand(source: PictureSource) -> PictureSource:
    """The same picture without need of the database: links to our own images become their bytes.

    Raises BadPicture for such links that lead to no image.
    """
    own = _own_image(source.url) if isinstance(source, UrlSource) else None
    return source if own is None else BytesSource(own)


def content_of(source: PictureSource, *, account_id: int | None) -> bytes:
    """The file; may be called from any thread after `at_hand`. Raises BadPicture.

    `account_id` says whose uploads can be named; without one, none can.
    """
    match source:
        case BytesSource(data):
            content = data
        case UploadSource(digest):
            content = _uploaded(digest, account_id)
        case UrlSource(url):
            content = _fetched(url)
    if len(content) > MAX_BYTES:
        raise BadPicture(_too_large())
    return content


def _uploaded(digest: str, account_id: int | None) -> bytes:
    try:
        return uploaded_bytes(digest, account_id=account_id)
    except FileNotFoundError:
        raise BadPicture("names an upload that is not there any more: send it again") from None


def _fetched(url: str) -> bytes:
    try:
        return fetch(
            url,
            policy=policy_from_settings(),
            max_bytes=MAX_BYTES,
            total_s=FETCH_S,
            headers={"Accept": "image/*"},
        ).content
    except FetchTooLarge:
        raise BadPicture(_too_large()) from None
    except (FetchRefused, FetchFailed) as error:
        raise BadPicture(f"could not be fetched: {error}") from None


def _own_image(url: str) -> bytes | None:
    """The file behind a link that this appliance gave out; None for any other address.

    Read from the store, not through HTTP: the appliance's own address is usually a private one, and a process
    that waits for itself may wait for ever.
    """
    if not is_own_link(url):
        return None
    try:
        return access_by_url(url).file_path.read_bytes()
    except (ArtifactNotFound, FileNotFoundError):
        raise BadPicture("is a link to an image of this server that has expired or never existed") from None
