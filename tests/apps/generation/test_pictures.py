"""Pictures that requests bring: the right result or a clear refusal, quickly and without much memory."""

from __future__ import annotations

import base64
import io
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from apps.artifacts.links import artifact_url
from apps.core.errors import InvalidField
from apps.generation.choices import Kind
from apps.generation.picture_headers import BadPicture
from apps.generation.picture_store import TEMPORARY_PREFIX
from apps.generation.pictures import (
    Brought,
    BytesSource,
    PictureSource,
    UploadSource,
    UrlSource,
    picture_bytes,
    read_source,
    sweep_pictures,
    take_picture,
    take_pictures,
)
from apps.generation.wishes import StoredPicture
from tests.apps.generation.hostile_pictures import CASES, Case, Refused, Taken, quarters, saved
from tests.apps.generation.studio import Studio, claim_one, finish
from tests.clocks import FrozenClock
from tests.factories import write_artifact
from tests.harness.peaks import measured_peak

LIMIT_S = 0.1
MEMORY_KB = 60_000
"""Above what the process had: the pictures are small, whatever they say of themselves."""


def take(data: bytes, clock: FrozenClock) -> StoredPicture:
    return take_picture(BytesSource(data), field="image", now=clock.now())


def opened(picture: StoredPicture) -> Image.Image:
    return Image.open(io.BytesIO(picture_bytes(picture.digest)))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_hostile_pictures_end_well(case: Case, clock: FrozenClock) -> None:
    data = case.make()
    with measured_peak() as peak:
        started = time.process_time()
        outcome = _outcome(data, clock)
        took_s = time.process_time() - started
    if isinstance(case.outcome, Refused):
        assert case.outcome.problem in str(outcome)
        assert str(outcome).startswith("image ")
    else:
        assert isinstance(outcome, StoredPicture), outcome
        _assert_alike(outcome, case.outcome)
    assert took_s < LIMIT_S
    assert peak.growth_kb < MEMORY_KB


def test_a_flood_of_pixels_would_be_seen_after_a_larger_one() -> None:
    flood = saved(Image.new("RGB", (6000, 6000)), "PNG")
    for _ in range(2):
        with measured_peak() as peak:
            Image.open(io.BytesIO(flood)).load()
        assert peak.growth_kb > MEMORY_KB


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


def _outcome(data: bytes, clock: FrozenClock) -> StoredPicture | InvalidField:
    try:
        return take(data, clock)
    except InvalidField as refusal:
        return refusal


def _assert_alike(picture: StoredPicture, wanted: Taken) -> None:
    image = opened(picture)
    assert (image.format, image.mode, image.size) == ("PNG", wanted.mode, wanted.size)
    assert (picture.width, picture.height) == wanted.size
    assert picture.has_alpha == (wanted.mode == "RGBA")
    right, bottom = wanted.size[0] - 1, wanted.size[1] - 1
    places = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    for place, colour in zip(places, wanted.corners, strict=False):
        found = image.getpixel(place)
        assert _distance(found, colour) <= wanted.tolerance, (place, found, colour)


def _distance(found: Any, wanted: Any) -> int:
    if isinstance(wanted, int):
        return abs(int(found) - int(wanted))
    return max(abs(int(one) - int(other)) for one, other in zip(found, wanted, strict=True))


PLAIN = saved(quarters(), "PNG")


def test_equal_pixels_are_stored_once(clock: FrozenClock, settings: Any) -> None:
    as_png = take(PLAIN, clock)
    as_webp = take(saved(quarters(), "WEBP", lossless=True), clock)
    assert as_png == as_webp
    assert len(list(settings.INPUT_DIR.glob("*/*"))) == 1
    assert as_png.size_bytes == len(picture_bytes(as_png.digest))


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PLAIN).decode(),
        base64.b64encode(PLAIN).decode().rstrip("="),
        base64.urlsafe_b64encode(PLAIN).decode(),
        base64.encodebytes(PLAIN).decode(),
        "data:image/png;base64," + base64.b64encode(PLAIN).decode(),
        "data:;base64," + base64.b64encode(PLAIN).decode(),
        # Whatever type it claims to be.
        "DATA:text/html;charset=utf-8;base64," + base64.b64encode(PLAIN).decode(),
    ],
    ids=["plain", "without padding", "for addresses", "in lines", "data URL", "bare data URL", "wrong type"],
)
def test_base64_is_read_in_every_spelling(text: str) -> None:
    assert read_source(text) == BytesSource(PLAIN)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (None, "must be an address or base64, not NoneType"),
        (["https://example.com/a.png"], "must be an address or base64, not list"),
        ("not base64!", "is neither an address nor base64"),
        ("aGVsbG8gd29ybGQ=aGVsbG8", "is neither an address nor base64"),
        ("data:image/png,%89PNG", "is a data URL that is not base64"),
        ("file:///etc/passwd", "must be an http or https address, a data URL or base64"),
        ("ftp://example.com/a.png", "must be an http or https address, a data URL or base64"),
        ("upload:../../secret", "names no upload: an upload's id has 64 hexadecimal digits"),
        ("A" * 30_000_001, "is larger than 20 MB"),
    ],
)
def test_what_is_no_source_is_refused_in_words(value: object, problem: str) -> None:
    with pytest.raises(BadPicture) as refusal:
        read_source(value)
    assert str(refusal.value) == problem


def test_addresses_and_uploads_are_told_apart(clock: FrozenClock) -> None:
    assert read_source(" HTTPS://example.com/a.png ") == UrlSource("HTTPS://example.com/a.png")
    assert read_source(f"upload:{'0a' * 32}") == UploadSource("0a" * 32)


ADA, CLEO = 1, 2


def test_an_upload_is_there_for_the_account_that_brought_it(clock: FrozenClock) -> None:
    def take_for(source: PictureSource, account_id: int | None) -> StoredPicture:
        return take_picture(source, field="mask", now=clock.now(), account_id=account_id)

    stored = take_for(BytesSource(PLAIN), ADA)
    upload = UploadSource(stored.digest)
    assert take_for(upload, ADA) == stored
    for stranger in (CLEO, None):
        with pytest.raises(InvalidField, match=UPLOAD_IS_GONE):
            take_for(upload, stranger)
    # In her own right, once she has brought the same picture.
    take_for(BytesSource(PLAIN), CLEO)
    assert take_for(upload, CLEO) == stored
    with pytest.raises(InvalidField, match=UPLOAD_IS_GONE):
        take_for(UploadSource("0" * 64), ADA)


UPLOAD_IS_GONE = r"^mask names an upload that is not there any more: send it again$"


def test_an_upload_ends_with_its_hour_although_a_job_or_a_stranger_keeps_the_picture(
    studio: Studio, clock: FrozenClock
) -> None:
    mine = take_picture(BytesSource(PLAIN), field="image", now=clock.now(), account_id=ADA)
    studio.submit(kind=Kind.IMG2IMG, image=mine)
    clock.advance(hours=1, seconds=1)
    take_picture(BytesSource(PLAIN), field="image", now=clock.now(), account_id=CLEO)
    assert sweep_pictures(now=clock.now()) == 0
    take_picture(UploadSource(mine.digest), field="mask", now=clock.now(), account_id=CLEO)
    with pytest.raises(InvalidField, match=UPLOAD_IS_GONE):
        take_picture(UploadSource(mine.digest), field="mask", now=clock.now(), account_id=ADA)


def test_a_file_of_more_than_20_mb_is_refused(clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match=r"^image is larger than 20 MB$"):
        take(PLAIN + bytes(20_000_001), clock)


@pytest.fixture
def web(settings: Any) -> Iterator[str]:
    """The address of a server that has a picture, a page, and something large."""
    pages = {
        "/cat.png": ("text/plain", PLAIN),
        "/page": ("image/png", b"<!doctype html><p>no"),
        "/large": ("image/png", bytes(20_000_001)),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, body = pages.get(self.path, ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        settings.FETCH_ALLOW = [f"127.0.0.1:{server.server_port}"]
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_fetched_whatever_type_it_claims(web: str, clock: FrozenClock) -> None:
    assert take_picture(UrlSource(f"{web}/cat.png"), field="image", now=clock.now()) == take(PLAIN, clock)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/page", "is a web page or other markup, which is not taken: send PNG, JPEG, WebP or GIF"),
        ("/large", "is larger than 20 MB"),
        ("/gone", "could not be fetched: 127.0.0.1 answered 404."),
    ],
)
def test_an_address_without_a_picture_is_refused(
    web: str, clock: FrozenClock, path: str, problem: str
) -> None:
    with pytest.raises(InvalidField) as refusal:
        take_picture(UrlSource(web + path), field="init_image", now=clock.now())
    assert str(refusal.value) == f"init_image {problem}"


def test_an_address_inside_the_private_network_is_refused(clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match=r"^image could not be fetched: .* private network"):
        take_picture(UrlSource("http://127.0.0.1/cat.png"), field="image", now=clock.now())


def test_several_are_taken_at_once_and_the_first_bad_one_is_named(web: str, clock: FrozenClock) -> None:
    good = Brought("image", UrlSource(f"{web}/cat.png"))
    assert (
        take_pictures([good, Brought("mask", BytesSource(PLAIN))], now=clock.now())
        == [take(PLAIN, clock)] * 2
    )
    assert take_pictures([], now=clock.now()) == []
    with pytest.raises(InvalidField, match=r"^mask is empty$"):
        bad = Brought("mask", BytesSource(b"")), Brought("control", BytesSource(b"no"))
        take_pictures([good, *bad], now=clock.now())


def test_a_link_to_our_own_image_is_read_without_http(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    image = write_artifact(group=job.artifact_group, data=PLAIN, seed=int(job.request["seed"]))
    finish(job, artifacts=[image])
    expires_at = clock.now() + timedelta(hours=1)
    url = artifact_url(group=job.artifact_group, index=0, extension="png", expires_at=expires_at)
    assert take_picture(UrlSource(url), field="image", now=clock.now()) == take(PLAIN, clock)
    problem = "image is a link to an image of this server that has expired or never existed"
    for wrong in (url.replace(".png", ".jpg"), url + "x", "http://testserver/media/nothing"):
        with pytest.raises(InvalidField, match=f"^{problem}$"):
            take_picture(UrlSource(wrong), field="image", now=clock.now())


def test_the_sweep_deletes_what_no_open_job_names(studio: Studio, clock: FrozenClock) -> None:
    needed, forgotten = take(PLAIN, clock), take(saved(quarters(size=(16, 16)), "PNG"), clock)
    studio.submit(kind=Kind.IMG2IMG, image=needed)
    running = claim_one()
    clock.advance(hours=1)
    assert sweep_pictures(now=clock.now()) == 0
    clock.advance(seconds=1)
    fresh = take(saved(quarters(size=(8, 8)), "PNG"), clock)
    assert sweep_pictures(now=clock.now()) == 1
    assert picture_bytes(needed.digest) and picture_bytes(fresh.digest)
    with pytest.raises(FileNotFoundError):
        picture_bytes(forgotten.digest)
    finish(running)
    assert sweep_pictures(now=clock.now()) == 1
    with pytest.raises(FileNotFoundError):
        picture_bytes(needed.digest)


def test_a_picture_that_comes_again_stays_another_hour(db: None, clock: FrozenClock) -> None:
    first = take(PLAIN, clock)
    clock.advance(hours=2)
    assert take(PLAIN, clock) == first
    assert sweep_pictures(now=clock.now()) == 0
    assert picture_bytes(first.digest)


def test_half_written_files_are_swept_too(db: None, clock: FrozenClock, settings: Any) -> None:
    take(PLAIN, clock)
    [folder] = settings.INPUT_DIR.glob("[0-9a-f][0-9a-f]")
    (folder / f"{TEMPORARY_PREFIX}x").write_bytes(b"half")
    os.utime(folder / f"{TEMPORARY_PREFIX}x", (0, 0))
    assert sweep_pictures(now=clock.now()) == 1
    assert len(list(folder.iterdir())) == 1


def test_the_sweep_asks_once_for_a_folder_and_not_for_fresh_files(
    studio: Studio, clock: FrozenClock, django_assert_num_queries: Any
) -> None:
    take(PLAIN, clock)
    with django_assert_num_queries(0):
        sweep_pictures(now=clock.now())
    with django_assert_num_queries(1):
        sweep_pictures(now=clock.now() + timedelta(hours=2))


def test_a_digest_never_leads_out_of_the_store() -> None:
    for name in ("../../etc/passwd", "a" * 63, "A" * 64):
        with pytest.raises(ValueError, match="is no SHA-256"):
            picture_bytes(name)
