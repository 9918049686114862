from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from apps.artifacts.links import artifact_url, thumbnail_path
from apps.artifacts.models import Artifact
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_artifact, png_bytes

MISSING = "This image is not available: it is not ready yet, has expired, or never existed."


@pytest.fixture
def artifact(cast: Cast) -> Artifact:
    return make_artifact(cast.account)


def _url(artifact: Artifact, *, extension: str = "png", lifetime: timedelta = timedelta(hours=1)) -> str:
    return artifact_url(
        group=artifact.group,
        index=artifact.index,
        extension=extension,
        expires_at=artifact.created_at + lifetime,
    )


def _get(url: str, client: Client, **headers: str) -> HttpResponse:
    return client.get(url.removeprefix("http://testserver"), headers=headers)


def _assert_missing(response: HttpResponse) -> None:
    assert response.status_code == 404
    assert json.loads(response.content) == {"status": "error", "message": MISSING, "messege": MISSING}
    assert response["Cache-Control"] == "no-store"


def test_the_link_ends_like_a_file(artifact: Artifact) -> None:
    assert re.fullmatch(
        rf"http://testserver/media/1772456400\.[\w-]{{22}}/generations/{artifact.group}-0\.png",
        _url(artifact),
    )


def test_anybody_with_the_link_gets_the_image(artifact: Artifact, client: Client) -> None:
    response: Any = _get(_url(artifact), client)
    assert response.status_code == 200
    assert b"".join(response.streaming_content) == png_bytes()
    assert response["Content-Type"] == "image/png"
    assert response["Content-Length"] == str(artifact.size_bytes)
    assert response["Cache-Control"] == "private, max-age=3600"
    assert response["ETag"] == f'"{artifact.sha256}"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"] == f'inline; filename="{artifact.group}-0.png"'


def test_the_same_file_as_base64_text(artifact: Artifact, client: Client) -> None:
    response = _get(_url(artifact, extension="base64"), client)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; charset=us-ascii"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert base64.b64decode(response.content, validate=True) == png_bytes()


def test_a_client_that_has_the_image_gets_304(artifact: Artifact, client: Client) -> None:
    etag = _get(_url(artifact), client)["ETag"]
    response = _get(_url(artifact), client, if_none_match=etag)
    assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    assert _get(_url(artifact, extension="base64"), client, if_none_match=etag).status_code == 200


def test_head_has_no_body(artifact: Artifact, client: Client) -> None:
    response: Any = client.head(_url(artifact).removeprefix("http://testserver"))
    assert (response.status_code, response["Content-Length"]) == (200, str(artifact.size_bytes))
    assert b"".join(response) == b""


def test_until_it_is_ready_a_link_is_missing(artifact: Artifact, client: Client) -> None:
    Artifact.objects.all().delete()
    _assert_missing(_get(_url(artifact), client))


def test_a_link_ends_when_it_says(artifact: Artifact, client: Client, clock: FrozenClock) -> None:
    url = _url(artifact, lifetime=timedelta(minutes=10))
    clock.advance(minutes=10, seconds=-1)
    assert _get(url, client).status_code == 200
    clock.advance(seconds=1)
    _assert_missing(_get(url, client))


def test_an_expired_image_is_missing_even_before_the_purge(
    artifact: Artifact, client: Client, clock: FrozenClock
) -> None:
    url = _url(artifact, lifetime=timedelta(days=1))
    assert _get(url, client).status_code == 200
    clock.move_to(artifact.expires_at)
    _assert_missing(_get(url, client))


def test_a_lost_file_is_missing_not_an_error(artifact: Artifact, client: Client) -> None:
    artifact.file_path.unlink()
    _assert_missing(_get(_url(artifact), client))
    _assert_missing(_get(_url(artifact, extension="base64"), client))


def test_nobody_can_write_links_of_their_own(artifact: Artifact, cast: Cast, client: Client) -> None:
    other = make_artifact(cast.strangers_account, job_id=2)
    url = _url(artifact)
    forged = [
        url.replace("/media/1772456400.", "/media/1972456400."),
        url.replace(str(artifact.group), str(other.group)),
        url.replace("-0.png", "-1.png"),
        url.replace(".png", ".base64"),
        re.sub(r"\.[\w-]{22}/", "." + "A" * 22 + "/", url),
        re.sub(r"\.[\w-]{22}/", "./", url),
    ]
    for attempt in forged:
        assert attempt != url
        _assert_missing(_get(attempt, client))
    assert _get(url, client).status_code == 200


def test_a_signed_link_to_another_type_is_missing(artifact: Artifact, client: Client) -> None:
    _assert_missing(_get(_url(artifact, extension="jpg"), client))


@pytest.mark.parametrize(
    "path",
    [
        "/media/",
        "/media/x",
        "/media/../settings.py",
        "/media/1772456400.AAAAAAAAAAAAAAAAAAAAAA/generations/../../../etc/passwd",
        "/media/1772456400.AAAAAAAAAAAAAAAAAAAAAA/generations/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/media/99999999999999999.AAAAAAAAAAAAAAAAAAAAAA/generations/x-0.png",
    ],
)
def test_whatever_else_lies_under_media_is_missing(db: None, client: Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    if path != "/media/":
        _assert_missing(response)


def test_links_can_only_be_read(artifact: Artifact, client: Client) -> None:
    assert client.post(_url(artifact).removeprefix("http://testserver")).status_code == 405


def test_a_thumbnails_path_is_stable_for_an_hour(
    artifact: Artifact, client: Client, clock: FrozenClock
) -> None:
    def path() -> str:
        return thumbnail_path(group=artifact.group, index=0, extension="png", now=clock.now())

    first = path()
    clock.advance(minutes=59)
    assert path() == first
    assert client.get(first).status_code == 200
    clock.advance(minutes=1)
    assert path() != first


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=10-", 10, None), ("bytes=-5", -5, None), ("bytes=70-99999", 70, None)],
)
def test_a_part_of_the_file(artifact: Artifact, client: Client, asked: str, first: int, last: int) -> None:
    data = png_bytes()
    wanted = data[first : None if last is None else last + 1]
    begin = data.index(wanted)

    response: Any = _get(_url(artifact), client, Range=asked)

    assert response.status_code == 206
    assert b"".join(response.streaming_content) == wanted
    assert response["Content-Range"] == f"bytes {begin}-{begin + len(wanted) - 1}/{len(data)}"
    assert response["Content-Length"] == str(len(wanted))
    assert (response["Content-Type"], response["Accept-Ranges"]) == ("image/png", "bytes")
    assert response["ETag"] == f'"{artifact.sha256}"'


@pytest.mark.parametrize("asked", ["bytes=99999-", "bytes=-0"])
def test_a_part_that_is_not_there(artifact: Artifact, client: Client, asked: str) -> None:
    response = _get(_url(artifact), client, Range=asked)

    assert (response.status_code, response.content) == (416, b"")
    assert response["Content-Range"] == f"bytes */{artifact.size_bytes}"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=0-1,5-6", "pages=1-2", "bytes=9-2", "bytes=x-2"])
def test_what_is_no_range_gets_the_whole(artifact: Artifact, client: Client, asked: str) -> None:
    response: Any = _get(_url(artifact), client, Range=asked)

    assert response.status_code == 200
    assert b"".join(response.streaming_content) == png_bytes()


def test_a_part_only_while_the_file_is_the_same(artifact: Artifact, client: Client) -> None:
    same = {"Range": "bytes=0-9", "If-Range": f'"{artifact.sha256}"'}

    assert _get(_url(artifact), client, **same).status_code == 206
    assert _get(_url(artifact), client, **same | {"If-Range": '"other"'}).status_code == 200


def test_head_says_what_get_would_send(artifact: Artifact, client: Client) -> None:
    path = _url(artifact).removeprefix("http://testserver")
    response = client.head(path, headers={"Range": "bytes=0-9"})

    assert (response.status_code, response["Content-Length"]) == (200, str(artifact.size_bytes))
    assert response["Accept-Ranges"] == "bytes"


def test_a_part_of_a_file_that_is_gone(artifact: Artifact, client: Client) -> None:
    artifact.file_path.unlink()

    _assert_missing(_get(_url(artifact), client, Range="bytes=0-9"))
