"""Takes in the pictures of a request: fetched, checked, made plain and stored before it is accepted.

    source = read_source(value)                     # an address, a data URL, base64, bytes
    picture = take_picture(source, field="image", now=now)

What a job refers to stays until it has ended; `sweep_pictures` deletes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, TypeVar

from apps.core.errors import InvalidField
from apps.generation.picture_decoding import MEDIA_TYPE, normalise
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_sources import (
    BytesSource,
    PictureSource,
    UploadSource,
    UrlSource,
    at_hand,
    content_of,
    read_source,
)
from apps.generation.picture_store import keep_picture, picture_bytes, sweep_pictures
from apps.generation.wishes import StoredPicture

__all__ = [
    "BadPicture",
    "Brought",
    "BytesSource",
    "PictureSource",
    "UploadSource",
    "UrlSource",
    "picture_bytes",
    "read_source",
    "sweep_pictures",
    "take_picture",
    "take_pictures",
]

T = TypeVar("T")

MAX_AT_ONCE: Final = 8


class Brought(NamedTuple):
    """One picture of a request, under the field that a refusal names."""

    field: str
    source: PictureSource


def take_picture(
    source: PictureSource, *, field: str, now: datetime, account_id: int | None = None
) -> StoredPicture:
    """One picture, stored. Raises InvalidField with what is wrong with it. See `take_pictures`."""
    return take_pictures([Brought(field, source)], now=now, account_id=account_id)[0]


def take_pictures(
    brought: Sequence[Brought], *, now: datetime, account_id: int | None = None
) -> list[StoredPicture]:
    """Several at once, in their order: fetching them one after another may take 10 s each.

    `account_id` is who brings them: it alone can name them as uploads for the next hour, and only its uploads
    can be named here; without one, none. Raises InvalidField for the first that cannot be used.
    """
    sources = [_guarded(each.field, partial(at_hand, each.source)) for each in brought]
    if len(sources) == 1:
        return [_guarded(brought[0].field, partial(_take, sources[0], now, account_id))]
    with ThreadPoolExecutor(max_workers=min(MAX_AT_ONCE, len(sources) or 1)) as threads:
        taken = [threads.submit(_take, source, now, account_id) for source in sources]
    return [_guarded(each.field, future.result) for each, future in zip(brought, taken, strict=True)]


def _guarded(field: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except BadPicture as error:
        raise InvalidField(field=field, problem=str(error)) from None


def _take(source: PictureSource, now: datetime, account_id: int | None) -> StoredPicture:
    """Raises BadPicture."""
    data, picture = normalise(content_of(source, account_id=account_id))
    return StoredPicture(
        digest=keep_picture(data, now=now, account_id=account_id),
        width=picture.width,
        height=picture.height,
        has_alpha=picture.mode == "RGBA",
        size_bytes=len(data),
        media_type=MEDIA_TYPE,
    )
