"""Makes a stored picture smaller where it has to fit into something."""

from __future__ import annotations

import io
from datetime import datetime

from PIL import Image

from apps.generation.picture_store import keep_picture, picture_bytes
from apps.generation.sizes import Size
from apps.generation.wishes import StoredPicture


def fit_inside(picture: StoredPicture, size: Size, *, now: datetime) -> StoredPicture:
    """The picture itself if it fits; else a smaller one of the same proportions, stored as well.

    Raises FileNotFoundError for a picture that was swept meanwhile.
    """
    width, height = size
    if picture.width <= width and picture.height <= height:
        return picture
    scale = min(width / picture.width, height / picture.height)
    smaller = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    with Image.open(io.BytesIO(picture_bytes(picture.digest)), formats=("PNG",)) as file:
        return store_image(file.resize(smaller, Image.Resampling.LANCZOS), now=now)


def crop_to_square(picture: StoredPicture, *, now: datetime) -> StoredPicture:
    """The largest square from its middle."""
    return crop_to_ratio(picture, (1, 1), now=now)


def crop_to_ratio(picture: StoredPicture, size: Size, *, now: datetime) -> StoredPicture:
    """The largest part from its middle that has the proportions of `size`; itself where it has them."""
    scale = min(picture.width / size[0], picture.height / size[1])
    width = min(picture.width, max(1, round(size[0] * scale)))
    height = min(picture.height, max(1, round(size[1] * scale)))
    if (width, height) == (picture.width, picture.height):
        return picture
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    with Image.open(io.BytesIO(picture_bytes(picture.digest)), formats=("PNG",)) as file:
        return store_image(file.crop((left, top, left + width, top + height)), now=now)


def store_image(image: Image.Image, *, now: datetime) -> StoredPicture:
    """Into the store of pictures that requests bring, as `take_picture` does."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    return StoredPicture(
        digest=keep_picture(data, now=now),
        width=image.width,
        height=image.height,
        has_alpha=image.mode == "RGBA",
        size_bytes=len(data),
        media_type="image/png",
    )
