"""Bodies and single values: forms and JSON in every spelling that libraries send, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api.openai.errors import Refusal
from apps.api.openai.fields import ALL, FIELDS, IGNORED, REFUSED, describe, fields_of, read_values
from apps.api.openai.forms import read_request
from apps.api.openai.readers import Flag, Loras, Number, Pictures, Size, Whole
from apps.api.readers import BadValue
from apps.core.errors import BodyTooLarge, MalformedBody
from apps.generation.picture_sources import BytesSource, UrlSource
from apps.generation.wishes import LoraWish

POST = RequestFactory().post


def form(**parts: Any) -> HttpRequest:
    return POST("/", parts)


def file(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("a.png", data, "image/png")


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ({"n": "2", "prompt": "x"}, {"n": "2", "prompt": "x"}),
        ({"image": file(b"1")}, {"image": [b"1"]}),
        ({"image[]": [file(b"1"), file(b"2")]}, {"image": [b"1", b"2"]}),
        ({"image": [file(b"1"), file(b"2")]}, {"image": [b"1", b"2"]}),
        ({"loras[]": ["ink", "film"]}, {"loras": ["ink", "film"]}),
        ({"svg[model]": "a", "svg[effort]": "b"}, {"svg": {"model": "a", "effort": "b"}}),
        ({"a[b][c]": "1"}, {"a[b][c]": "1"}),
    ],
)
def test_names_of_parts(parts: dict[str, Any], fields: dict[str, Any]) -> None:
    assert read_request(form(**parts)) == fields


@pytest.mark.parametrize(
    "parts",
    [
        {"n": ["1", "2"]},
        {"n": "1", "n[]": "2"},
        {"n": "1", "n[a]": "2"},
        {"n[a]": ["1", "2"]},
        {"n[]": "1", "n[a]": "2"},
        {"image": ["address", file(b"1")]},
    ],
)
def test_parts_that_do_not_go_together(parts: dict[str, Any]) -> None:
    with pytest.raises(MalformedBody, match="more than once"):
        read_request(form(**parts))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"n": 2}', "application/json"),
        ('{"n": 2}', "text/plain"),
        # What `curl -d` calls it.
        ('{"n": 2}', "application/x-www-form-urlencoded"),
    ],
)
def test_json_under_any_name(body: str, content_type: str) -> None:
    assert read_request(POST("/", body, content_type)) == {"n": 2}


def test_a_plain_form_and_no_body_at_all() -> None:
    assert read_request(POST("/", "n=2&prompt=a+fox", "application/x-www-form-urlencoded")) == {
        "n": "2",
        "prompt": "a fox",
    }
    assert read_request(POST("/", "", "application/json")) == {}


@pytest.mark.parametrize("make", [lambda: form(image=file(b"1" * 900)), lambda: POST("/", "1" * 900, "a/b")])
def test_a_body_that_is_too_large_is_refused_unread(make: Callable[[], HttpRequest], settings: Any) -> None:
    settings.MAX_BODY_BYTES = 500
    request = make()

    with pytest.raises(BodyTooLarge):
        read_request(request)
    assert not request._read_started  # type: ignore[attr-defined]  # the stubs do not know it


def test_a_request_keeps_nothing_of_its_body() -> None:
    """Nine hundred may wait at once, each for minutes, each with forty megabytes."""
    asked, uploaded = POST("/", '{"n": 2}', "application/json"), form(image=file(b"1" * 900))

    read_request(asked)
    read_request(uploaded)

    assert not hasattr(asked, "_body") and not hasattr(uploaded, "_body")
    assert [each.closed for each in uploaded.FILES.getlist("image")] == [True]


@pytest.mark.parametrize("value", [3, "3", 3.0])
def test_whole_numbers(value: object) -> None:
    assert Whole(lowest=1, highest=10)(value) == 3


@pytest.mark.parametrize("value", [True, "3.5", 3.5, "", "three", [3], "1e1", float("nan"), "9" * 30])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(BadValue, match="a whole number from 1 to 10"):
        Whole(lowest=1, highest=10)(value)


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), ("0.25", 0.25), (".5", 0.5), ("1.", 1.0)])
def test_numbers(value: object, number: float) -> None:
    assert Number(lowest=0.0, highest=2.0)(value) == number


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "", ".", "nan", True, "--1", "1" * 400])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(BadValue):
        Number(lowest=0.0, highest=2.0)(value)


def test_flags() -> None:
    assert [Flag()(value) for value in (True, "true", "True", False, "false")] == [True] * 3 + [False] * 2
    for value in (1, 0, "yes", ""):
        with pytest.raises(BadValue):
            Flag()(value)


def test_sizes() -> None:
    size = Size(lowest=64, highest=4096, multiple_of=8)
    assert (size("auto"), size("1536x1024")) == (None, (1536, 1024))
    for value in ("1024", "1024X1024", "x", "1030x1024", "8x8", "99999x64", 1024, None):
        with pytest.raises(BadValue):
            size(value)


def test_loras_are_named_with_or_without_a_scale() -> None:
    loras = Loras(most=2)
    expected = (LoraWish(name="ink", scale=0.5), LoraWish(name="film"))
    for value in ("ink:0.5, film", ["ink:0.5", {"name": "film"}], {"ink": 0.5, "film": "1"}):
        assert loras(value) == expected
    for value in ("a,b,c", [1], [{"name": ""}], [{"scale": 1}], {"ink": 9}, "ink:strong"):
        with pytest.raises(BadValue):
            loras(value)


def test_pictures_come_as_files_or_as_text() -> None:
    pictures = Pictures(most=2)
    assert pictures(b"1") == (BytesSource(b"1"),)
    assert pictures(["https://x.example/a.png", b"1"]) == (
        UrlSource("https://x.example/a.png"),
        BytesSource(b"1"),
    )
    assert pictures({"0": b"1", "1": b"2"}) == (BytesSource(b"1"), BytesSource(b"2"))
    for value in ([], [b"1"] * 3, {}, 5, {"image_url": 5}, "ftp://x.example/a.png"):
        with pytest.raises(BadValue):
            pictures(value)


def test_every_field_is_in_one_table_and_described() -> None:
    for endpoint in ALL:
        named = [field.theirs for field in fields_of(endpoint)]
        assert len(named) == len(set(named))
        assert not set(named) & (REFUSED.keys() | IGNORED.keys())
        schema: Any = describe()[endpoint]
        assert schema["properties"].keys() == set(named) | IGNORED.keys()
        assert set(schema["required"]) <= set(named)
        json.dumps(schema, allow_nan=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from([field.theirs for field in FIELDS]) | st.text(max_size=9)


@settings(max_examples=120, deadline=None)
@given(fields=st.dictionaries(NAMES, JSON, max_size=4), endpoint=st.sampled_from(sorted(ALL)))
def test_whatever_is_sent_is_read_or_refused(fields: dict[str, object], endpoint: str) -> None:
    try:
        read_values(fields, endpoint)
    except Refusal as refused:
        assert refused.answer.status == 400
        str(refused).encode("ascii")
