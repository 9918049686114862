from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.test import Client
from PIL import Image

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog import previews
from apps.catalog.errors import PreviewUnusable
from apps.catalog.models import CatalogEntry
from apps.catalog.previews import MAX_PREVIEWS, add_preview, remove_preview
from apps.catalog.services import delete_entry
from apps.core.errors import NotFound
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, png_bytes


def _image(format_: str, mode: str = "RGB", size: tuple[int, int] = (1024, 256)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, "teal").save(buffer, format_)
    return buffer.getvalue()


def _add(entry: CatalogEntry, data: bytes, clock: FrozenClock) -> CatalogEntry:
    return add_preview(entry=entry, data=data, actor=SYSTEM, now=clock.now())


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (_image("PNG"), (512, 128)),
        (_image("JPEG"), (512, 128)),
        (_image("WEBP"), (512, 128)),
        (_image("PNG", "RGBA"), (512, 128)),
        (_image("PNG", "P"), (512, 128)),
        (_image("PNG", size=(64, 100)), (64, 100)),
    ],
)
def test_a_picture_is_shrunk_and_served_for_ever(
    db: None, clock: FrozenClock, client: Client, model_dir: Path, data: bytes, size: tuple[int, int]
) -> None:
    entry = _add(make_checkpoint("tiny"), data, clock)
    [preview] = entry.previews
    assert (preview["width"], preview["height"], preview["media_type"]) == (*size, "image/webp")
    response = client.get(f"/previews/{preview['file']}")
    with Image.open(io.BytesIO(b"".join(response.streaming_content))) as image:  # type: ignore[attr-defined]
        assert (image.format, image.size) == ("WEBP", size)
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["X-Content-Type-Options"] == "nosniff"
    again = client.get(f"/previews/{preview['file']}", headers={"If-None-Match": response["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert [path.name for path in (model_dir / "previews").iterdir()] == [preview["file"]]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "must be a PNG, JPEG or WebP image"),
        (b"<html>no</html>", "must be a PNG, JPEG or WebP image"),
        (_image("GIF"), "must be a PNG, JPEG or WebP image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a PNG, JPEG or WebP image"),
        (_image("PNG")[:60], "cannot be read"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "cannot be read"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 " + b"\xff" * 40, "cannot be read"),
        (_image("PNG", "L", (8192, 2052)), "more than 16.8 million pixels"),
    ],
)
def test_what_is_no_picture_is_refused(
    db: None, clock: FrozenClock, model_dir: Path, data: bytes, problem: str
) -> None:
    entry = make_checkpoint("tiny")
    with pytest.raises(PreviewUnusable, match=problem):
        _add(entry, data, clock)
    entry.refresh_from_db()
    assert (entry.previews, list(model_dir.iterdir()), AuditEvent.objects.count()) == ([], [], 0)


def test_a_large_file_is_refused_unread(
    db: None, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "MAX_BYTES", 100)
    with pytest.raises(PreviewUnusable, match="is larger than"):
        _add(make_checkpoint("tiny"), _image("PNG"), clock)


def test_there_is_an_end_of_previews(db: None, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny")
    for side in range(MAX_PREVIEWS):
        entry = _add(entry, _image("PNG", size=(side + 1, 1)), clock)
    assert len(_add(entry, _image("PNG", size=(1, 1)), clock).previews) == MAX_PREVIEWS
    with pytest.raises(PreviewUnusable, match="at most 12"):
        _add(entry, _image("PNG", size=(99, 1)), clock)


def test_a_shared_picture_stays_until_nobody_shows_it(db: None, clock: FrozenClock, model_dir: Path) -> None:
    one, two = make_checkpoint("one"), make_checkpoint("two")
    one, two = _add(one, png_bytes(), clock), _add(two, png_bytes(), clock)
    file = one.previews[0]["file"]
    one = remove_preview(entry=one, file=file, actor=SYSTEM, now=clock.now())
    assert one.previews == [] and (model_dir / "previews" / file).is_file()
    with pytest.raises(NotFound):
        remove_preview(entry=one, file=file, actor=SYSTEM, now=clock.now())
    delete_entry(entry=two, actor=SYSTEM, now=clock.now(), require_unused=lambda row: None)
    assert not (model_dir / "previews" / file).exists()


@pytest.mark.parametrize(
    "file", ["x", "0" * 64 + ".webp", "0" * 64 + ".png", "%2e%2e%2fsecret", "..%2f..%2fetc%2fpasswd"]
)
def test_other_addresses_lead_nowhere(client: Client, model_dir: Path, file: str) -> None:
    (model_dir / "secret").write_text("x")
    assert client.get(f"/previews/{file}").status_code == 404
