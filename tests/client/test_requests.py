"""What requests are made of: pictures of this machine, pages of lists, files in pieces, tolerant answers."""

from __future__ import annotations

import io
import json
import resource
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom import errors
from darkroom.account import list_keys
from darkroom.bodies import decode
from darkroom.catalogue import list_models, start_import
from darkroom.core import Reply, query_of
from darkroom.jobs import create, download, list_jobs, save, upload
from darkroom.kinds import control, detect, face_swap, inpaint, upscale
from darkroom.records import Job
from darkroom.saving import write_new
from darkroom.schema import Image as JobImage
from darkroom.schema import Usage
from tests.client.playing import Player, ok, sent
from tests.factories import png_bytes

PNG = png_bytes()
KEPT = ok({"id": "f" * 64}, 201)
DONE = ok({"id": 1, "state": "succeeded"})


def body_of(player: Player, index: int = -1) -> Any:
    return json.loads(player.requests[index].body or b"")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo ä.png"
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize("form", ["path", "bytes", "file", "pillow"])
def test_pictures_of_this_machine_are_uploaded(photo: Path, form: str) -> None:
    made: dict[str, Any] = {
        "path": photo,
        "bytes": PNG,
        "file": io.BytesIO(PNG),
        "pillow": Image.open(io.BytesIO(PNG)),
    }
    player = Player([KEPT, DONE])

    player.run(inpaint(player.core(), made[form], "https://example.com/mask.png", "a hat"))

    assert sent(player.requests) == ["POST /v1/uploads", "POST /v1/jobs"]
    assert player.requests[0].headers["content-type"] == "image/png"
    assert body_of(player) == {
        "kind": "inpaint",
        "image": "f" * 64,
        "mask": "https://example.com/mask.png",
        "prompt": "a hat",
    }


def test_a_picture_that_is_named_twice_is_sent_once(photo: Path) -> None:
    player = Player([KEPT, DONE])
    controls: Any = [{"type": "canny", "picture": photo}, {"type": "depth", "picture": PNG, "scale": 0.5}]

    player.run(control(player.core(), "a house", controls, image=photo))

    assert sent(player.requests) == ["POST /v1/uploads", "POST /v1/jobs"]
    assert [row["picture"] for row in body_of(player)["controls"]] == ["f" * 64] * 2


def test_text_is_never_a_file_of_this_machine(photo: Path) -> None:
    player = Player([])

    with pytest.raises(errors.InvalidRequest, match="pass pathlib") as caught:
        player.run(upscale(player.core(), str(photo), 2))
    assert caught.value.field == "image"
    assert player.requests == []


def test_prompts_may_look_like_anything() -> None:
    player = Player([DONE])

    player.run(create(player.core(), prompt="photo.png", track_id="image"))

    assert body_of(player)["prompt"] == "photo.png"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"%PDF-1.7", "is no PNG, JPEG, WebP or GIF"), (b"", "is no PNG"), (None, "cannot be read")],
)
def test_what_is_no_picture_is_not_sent(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "file.png"
    if content is not None:
        path.write_bytes(content)
    player = Player([])

    with pytest.raises(errors.InvalidRequest, match=told) as caught:
        player.run(face_swap(player.core(), "https://example.com/a.png", path))
    assert player.requests == []
    assert caught.value.field == "face_swap.source"


def test_fields_in_front_join_their_object() -> None:
    player = Player([DONE, DONE, DONE])
    core = player.core()
    address = "https://example.com/a.png"

    player.run(upscale(core, address, 4, upscale={"enhance_faces": True}))
    assert body_of(player)["upscale"] == {"enhance_faces": True, "factor": 4}
    player.run(detect(core, address, "canny", detect={"type": "hed", "resolution_px": 256}))  # type: ignore[typeddict-item]
    assert body_of(player)["detect"] == {"type": "canny", "resolution_px": 256}
    player.run(face_swap(core, address, address, face_swap={"source": address, "which": "all"}))
    assert body_of(player)["face_swap"] == {"source": address, "which": "all"}


def test_what_is_none_is_not_asked() -> None:
    player = Player([DONE])

    player.run(create(player.core(), prompt="ü\u2028", steps=None, timeout=3, on_event=None))  # type: ignore[typeddict-item]

    assert body_of(player) == {"kind": "txt2img", "prompt": "ü\u2028"}


def test_an_address_can_be_uploaded() -> None:
    player = Player([KEPT, KEPT])

    assert player.run(upload(player.core(), "https://example.com/a.png")).id == "f" * 64
    assert body_of(player) == {"image": "https://example.com/a.png"}
    player.run(upload(player.core(), PNG))
    assert player.requests[1].body == PNG


# --- lists ---


def page(first: int, count: int, cursor: str | None) -> Any:
    return ok({"items": [{"id": first - index} for index in range(count)], "next_cursor": cursor})


def test_250_jobs_are_three_pages() -> None:
    player = Player([page(250, 100, "151"), page(150, 100, "51"), page(50, 50, None)])

    player.run(list_jobs(player.core(), state=["queued", "running"]))

    assert [job.id for job in player.items] == list(range(250, 0, -1))
    assert [dict(request.query).get("cursor") for request in player.requests] == [None, "151", "51"]
    assert {dict(request.query)["state"] for request in player.requests} == {"queued,running"}


@pytest.mark.parametrize(("limit", "sizes"), [(1, ["1"]), (100, ["100"]), (130, ["100", "30"]), (0, [])])
def test_no_more_is_asked_than_is_wanted(limit: int, sizes: list[str]) -> None:
    answers = [page(1000 - 100 * number, int(size), "9") for number, size in enumerate(sizes)]
    player = Player(answers)

    player.run(list_keys(player.core(), limit=limit))

    assert len(player.items) == limit
    assert [dict(request.query)["limit"] for request in player.requests] == sizes


def test_pages_are_fetched_when_they_are_needed() -> None:
    player = Player([page(250, 100, "151")])

    player.run(list_models(player.core(), q="fox"), most=100)

    assert len(player.requests) == 1


def test_queries() -> None:
    assert query_of({"a": None, "b": True, "c": ["x", "y"], "d": 3, "e": ""}) == (
        ("b", "true"),
        ("c", "x,y"),
        ("d", "3"),
        ("e", ""),
    )


# --- files ---


@pytest.mark.parametrize(
    ("source", "field"), [("owner/name", "repository"), ("https://example.com/a.safetensors", "url")]
)
def test_sources_of_imports(source: str, field: str) -> None:
    player = Player([ok({"id": 3, "state": "queued"}, 202)])

    begun = player.run(start_import(player.core(), source, name="fox", kind=None))  # type: ignore[typeddict-item]

    assert begun.id == 3
    assert body_of(player) == {"name": "fox", field: source}


def test_links_are_followed_at_the_address_that_is_known_to_work() -> None:
    # Whatever the server thinks it is called.
    player = Player([ok(1)])

    player.run(download(player.core(), JobImage(url="http://10.0.0.1:8000/media/a/b-0.png")))

    [request] = player.requests
    assert (request.path, request.is_signed) == ("/media/a/b-0.png", False)


@pytest.mark.parametrize("body", [b"<html>", json.dumps({"code": "not_found", "detail": "no"}).encode()])
def test_images_that_have_gone(body: bytes) -> None:
    player = Player([Reply(status=404, headers={}, body=body)])

    with pytest.raises(errors.NotFound, match=r"has expired or was deleted: http://b/media/a\.png"):
        player.run(download(player.core(), JobImage(url="http://b/media/a.png")))


def test_images_never_overwrite(tmp_path: Path) -> None:
    (tmp_path / "darkroom-5.png").write_bytes(b"mine")
    job = Job(id=5, state="succeeded", images=(JobImage(url="http://b/media/a.png", media_type="image/png"),))
    player = Player([ok("new")])

    [written] = player.run(save(player.core(), job, tmp_path))

    assert written.name == "darkroom-5-2.png"
    assert (tmp_path / "darkroom-5.png").read_bytes() == b"mine"


def test_half_an_image_does_not_stay(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What a full disk does: the first bytes fit, the others do not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_new(tmp_path / "a.png", b"x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.png"))


# --- answers ---


def test_answers_need_not_be_complete_nor_known() -> None:
    told = {
        "id": 9,
        "images": [{"url": "u", "future": 1}, 7],
        "progress": None,
        "error": {"code": "x"},
        "new": 1,
    }

    job = decode(Job, told)

    assert (job.id, job.images[0].url, job.images[0].seed, len(job.images)) == (9, "u", 0, 1)
    assert (job.progress.total, job.state, job.is_done, job.raw["new"]) == (0, "", False, 1)
    assert job.error is not None and job.error.code == "x"


@pytest.mark.parametrize("value", [None, [], "text", 7, {"id": "nine", "images": {}, "eta_s": True}])
def test_answers_of_other_types_do_no_harm(value: object) -> None:
    job = decode(Job, value)

    assert (job.id, job.images, job.eta_s) == (0, (), 0.0)


def test_null_is_without_limit() -> None:
    used = decode(Usage, {"calls": {"limit": None, "used": 3}, "days": [{"day": "2026-03-02", "calls": 3}]})

    assert (used.calls.limit, used.calls.used, used.days[0].calls, used.queue.limit) == (None, 3, 3, None)
