"""Links to images, valid without credentials until they expire.

    {BASE_URL}/media/{expires}.{signature}/generations/{group}-{index}.{extension}

The signature is in the path, since clients look at how a link ends.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.conf import settings

from apps.core import signing

PURPOSE = "artifacts.link"


def artifact_url(*, group: UUID, index: int, extension: str, expires_at: datetime) -> str:
    """The link to one image, which may still have to be made; extension `base64` gives it as text."""
    base_url: str = settings.BASE_URL
    return base_url + _path(group, index, extension, expires=int(expires_at.timestamp()))


def thumbnail_path(*, group: UUID, index: int, extension: str, now: datetime) -> str:
    """A link for our own pages, without host name; the same for an hour, so that browsers keep the image."""
    hour_s = 3600
    return _path(group, index, extension, expires=(int(now.timestamp()) // hour_s + 2) * hour_s)


def _path(group: UUID, index: int, extension: str, *, expires: int) -> str:
    name = file_name(group=group, index=index, extension=extension)
    mark = signing.signature(PURPOSE, f"{expires}/{name}")
    return f"/media/{expires}.{mark}/generations/{name}"


def file_name(*, group: UUID, index: int, extension: str) -> str:
    """How the link ends."""
    return f"{group}-{index}.{extension}"


def is_valid(*, expires: int, mark: str, name: str, now: datetime) -> bool:
    """Whether we signed this link and its time has not run out."""
    return signing.is_genuine(PURPOSE, f"{expires}/{name}", mark) and now.timestamp() < expires
