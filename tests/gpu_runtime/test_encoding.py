"""Pictures to files: every pixel where the format keeps it, and what the file says about itself."""

from __future__ import annotations

import json
import threading
import time
import zlib
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from skimage import data as photographs

from gpu_runtime import encoding
from gpu_runtime.encoding import encode, png_of
from gpu_runtime.metadata.png import chunk, text_chunk, with_chunks
from gpu_runtime.metadata.reading import read_settings
from gpu_runtime.work import COMPOSITE, Encoding

Pixels = NDArray[np.uint8]

INFOTEXT = "a lighthouse, été\nNegative prompt: fog\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1"
OWN = json.dumps({"prompt": 'a "lighthouse" <b> & \x01 été', "steps": 20})
TEXTS = {"parameters": INFOTEXT, "darkroom": OWN}

EVERY_TYPE = pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])


def decoded(data: bytes) -> Pixels:
    image = Image.open(BytesIO(data))
    image.load()
    return np.asarray(image)


def photo(height: int = 96, width: int = 64) -> Pixels:
    image = Image.fromarray(photographs.astronaut()).resize((width, height))
    return np.asarray(image)


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def xmp_of(data: bytes) -> bytes:
    packet: bytes = Image.open(BytesIO(data)).info.get("xmp", b"")
    return packet


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        *(
            arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), *channels))
            for channels in ([], [st.just(3)], [st.just(4)])
        )
    )
)
def test_png_keeps_every_pixel(picture: Pixels) -> None:
    assert np.array_equal(decoded(png_of(picture)), picture)


@pytest.mark.parametrize("shape", [(33, 57), (33, 57, 3), (33, 57, 4), (1, 1), (1, 700, 3), (700, 1, 4)])
def test_png_with_texts_is_a_whole_file(shape: tuple[int, ...]) -> None:
    picture = noise(*shape)
    found = encode(picture, Encoding(texts=(TEXTS,)), 0)
    assert np.array_equal(decoded(found.data), picture)
    assert (found.media_type, found.width, found.height) == ("image/png", shape[1], shape[0])
    # Pillow checks each checksum.
    Image.open(BytesIO(found.data)).verify()


@pytest.mark.parametrize("channels", [[], [3], [4]])
@pytest.mark.parametrize("size", [(1, 1), (64, 3), (65, 2), (130, 7)])
def test_large_pictures_are_written_in_bands(
    size: tuple[int, int], channels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "MOST_BY_FPNG", 0)
    picture = noise(*size, *channels)
    assert np.array_equal(decoded(png_of(picture)), picture)


def test_other_threads_run_while_a_large_picture_is_written() -> None:
    """fpng holds the interpreter all the time: no step of any request would go on meanwhile."""
    picture = np.ascontiguousarray(np.tile(photographs.astronaut(), (5, 5, 1)))
    started, ended = threading.Event(), threading.Event()

    def write() -> None:
        started.set()
        png_of(picture)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    started.wait()
    turns = 0
    while not ended.is_set():
        time.sleep(0.0005)
        turns += 1
    thread.join()
    assert turns > 10


def test_views_that_are_not_contiguous_are_encoded_right() -> None:
    picture = noise(20, 30, 4)
    for view in (picture[::2, ::-1], picture[..., :3], picture[..., 0]):
        assert np.array_equal(decoded(png_of(view)), view)


def test_webp_of_quality_100_keeps_every_pixel_hidden_ones_as_well() -> None:
    for shape in ((31, 45, 3), (31, 45, 4)):
        picture = noise(*shape)
        found = encode(picture, Encoding(media_type="image/webp", quality=100), 0)
        assert np.array_equal(decoded(found.data), picture)


@pytest.mark.parametrize(("media_type", "most"), [("image/jpeg", 2.5), ("image/webp", 5.0)])
def test_quality_95_is_near_the_picture_and_lower_quality_smaller(media_type: str, most: float) -> None:
    picture = photo(256, 256)
    fine = encode(picture, Encoding(media_type=media_type), 0).data
    rough = encode(picture, Encoding(media_type=media_type, quality=60), 0).data
    assert difference(decoded(fine), picture) < most
    assert len(rough) < len(fine) / 2


@pytest.mark.parametrize(("quality", "layers"), [(90, (1, 1)), (89, (2, 2))])
def test_jpeg_keeps_the_resolution_of_colour_from_90_on(quality: int, layers: tuple[int, int]) -> None:
    data = encode(photo(), Encoding(media_type="image/jpeg", quality=quality), 0).data
    luma = Image.open(BytesIO(data)).layer[0]
    assert luma[1:3] == layers


def test_jpeg_shows_white_where_the_picture_is_transparent() -> None:
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[:, 8:, 3] = 255
    found = decoded(encode(picture, Encoding(media_type="image/jpeg"), 0).data)
    assert found[:, :4].min() > 245
    assert found[:, 12:].max() < 10


@EVERY_TYPE
def test_grey_is_written_in_every_format(media_type: str) -> None:
    mask = np.zeros((32, 48), np.uint8)
    mask[8:24, 8:40] = 255
    found = decoded(encode(mask, Encoding(media_type=media_type), 0).data)
    grey = found if found.ndim == 2 else found[..., 0]
    assert difference(grey, mask) < 3


@EVERY_TYPE
def test_what_was_written_is_read_back(media_type: str) -> None:
    found = read_settings(encode(photo(), Encoding(media_type=media_type, texts=(TEXTS,)), 0).data)
    assert found.source == "darkroom"
    assert found.infotext == INFOTEXT
    assert found.settings["Seed"] == "1"
    assert found.darkroom == json.loads(OWN)


@EVERY_TYPE
@pytest.mark.parametrize("source_type", ["trainedAlgorithmicMedia", COMPOSITE])
def test_file_says_that_a_model_made_it(media_type: str, source_type: str) -> None:
    marked = encode(photo(), Encoding(media_type=media_type, source_type=source_type), 0).data
    url = f"http://cv.iptc.org/newscodes/digitalsourcetype/{source_type}"
    root = ElementTree.fromstring(xmp_of(marked))
    name = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [node.attrib[name] for node in root.iter() if name in node.attrib] == [url]
    unmarked = encode(photo(), Encoding(media_type=media_type, is_marked=False), 0).data
    assert b"digitalsourcetype" not in unmarked
    assert not xmp_of(unmarked)


def test_png_texts_are_as_a1111_writes_them() -> None:
    latin, other = "été, 1:2", "灯台"
    data = encode(photo(), Encoding(texts=({"parameters": latin, "other": other},)), 0).data
    assert b"tEXtparameters\0" + latin.encode("latin-1") in data
    assert b"iTXtother\0\0\0\0\0" + other.encode() in data
    assert Image.open(BytesIO(data)).text["parameters"] == latin
    assert Image.open(BytesIO(data)).text["other"] == other


def test_jpeg_comment_is_as_a1111_writes_it() -> None:
    data = encode(photo(), Encoding(media_type="image/jpeg", texts=({"parameters": "灯台"},)), 0).data
    comment = Image.open(BytesIO(data)).getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + "灯台".encode("utf-16-be")
    assert b"Exif\0\0MM" in data


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/webp"])
def test_text_that_a_segment_cannot_hold_is_left_out_and_the_file_made(media_type: str) -> None:
    texts = {"parameters": "x" * 40_000, "darkroom": json.dumps({"prompt": "y" * 70_000})}
    data = encode(photo(), Encoding(media_type=media_type, texts=(texts,)), 0).data
    assert decoded(data).shape == (96, 64, 3)
    assert read_settings(data).infotext == ""
    assert b"digitalsourcetype" in data


def test_each_image_has_its_own_text_or_that_for_all() -> None:
    two = Encoding(texts=({"parameters": "one"}, {"parameters": "two"}))
    assert [read_settings(encode(photo(), two, index).data).infotext for index in range(3)] == [
        "one",
        "two",
        "",
    ]
    shared = Encoding(texts=({"parameters": "all"},))
    assert read_settings(encode(photo(), shared, 7).data).infotext == "all"


@pytest.mark.parametrize(
    "fields", [{"media_type": "image/gif"}, {"quality": 0}, {"quality": 101}, {"source_type": "photo"}]
)
def test_encoding_refuses_what_it_cannot_do(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Encoding(**fields)


def test_chunks_carry_length_and_checksum() -> None:
    made = chunk(b"tEXt", b"a\0b")
    assert made == b"\0\0\0\x03tEXta\0b" + zlib.crc32(b"tEXta\0b").to_bytes(4)
    data = png_of(photo())
    assert with_chunks(data, []) is data
    assert with_chunks(data, [made]).index(made) == 33


@pytest.mark.parametrize("keyword", ["", "x" * 80, "灯", "a\0b"])
def test_keyword_that_png_cannot_hold_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match="keyword"):
        text_chunk(keyword, "text")


def test_nul_which_png_cannot_hold_is_left_out() -> None:
    assert text_chunk("a", "b\0c") == text_chunk("a", "bc")
