"""From the pixels of a finished picture to the bytes of its file, with what it says about itself in it.

PNG by fpng (see `gpu_runtime.images`) or, if large or grey, by zlib; JPEG and WebP by Pillow. Texts are put
beside the encoded pixels (`metadata/files.py`): nothing is encoded twice. No torch; knows nothing about
requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import fpng
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpu_runtime.metadata import png
from gpu_runtime.metadata.files import file_of, with_texts
from gpu_runtime.work import Encoding
from gpu_runtime.workshop.tools import Encoded

MOST_BY_FPNG: Final = 2048**2
"""Pixels of the largest picture that fpng writes: it keeps the interpreter to itself, for 20 ms at this size
and half a second at 8192 pixels a side, in which no request goes on. zlib takes twice as long."""

BAND_ROWS: Final = 64

COLOUR_TYPES: Final = {1: png.GREY, 3: png.RGB, 4: png.RGBA}

WHITE: Final = 255


def encode(picture: NDArray[np.uint8], encoding: Encoding, index: int) -> Encoded:
    """The file of one picture, uint8 [H, W, 3], [H, W, 4] or [H, W], the `index`th of its request."""
    texts = encoding.texts_of(index)
    height, width = picture.shape[:2]
    if encoding.media_type == "image/png":
        data = with_texts(png_of(picture), texts, encoding)
    else:
        data = file_of(_image_of(picture, encoding.media_type), texts, encoding)
    return Encoded(data=data, media_type=encoding.media_type, width=width, height=height)


def png_of(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of a picture."""
    height, width = picture.shape[:2]
    if picture.ndim == 3 and height * width <= MOST_BY_FPNG:
        data: bytes = fpng.from_ndarray(np.ascontiguousarray(picture))
        return data
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    rows = np.ascontiguousarray(picture).reshape(height, width * channels)
    return png.file_of_rows(_filtered(rows), width=width, height=height, colour_type=COLOUR_TYPES[channels])


def _image_of(picture: NDArray[np.uint8], media_type: str) -> Image.Image:
    if media_type == "image/jpeg" and picture.ndim == 3 and picture.shape[2] == 4:
        picture = on_white(picture)
    return Image.fromarray(np.ascontiguousarray(picture))


def on_white(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of RGBA as it looks on white: uint8 [H, W, 3] of [H, W, 4]."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    ground = Image.new("RGBA", image.size, (WHITE, WHITE, WHITE, WHITE))
    ground.alpha_composite(image)
    return np.asarray(ground.convert("RGB"))


def _filtered(rows: NDArray[np.uint8]) -> Iterator[bytes]:
    """Rows of samples, uint8 [H, W * channels], each as its difference to the one above (PNG filter 2)."""
    above = np.zeros_like(rows[:1])
    for first in range(0, len(rows), BAND_ROWS):
        band = rows[first : first + BAND_ROWS]
        filtered = np.empty((band.shape[0], band.shape[1] + 1), np.uint8)
        filtered[:, 0] = 2
        np.subtract(band, np.concatenate((above, band[:-1])), out=filtered[:, 1:])
        above = band[-1:]
        yield filtered.tobytes()
