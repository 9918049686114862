"""What servers' headers say: digests, names, lengths."""

from __future__ import annotations

import base64

import httpx2
import pytest

from apps.catalog.imports.sources.answers import digest_in_headers, retry_after_s
from apps.catalog.imports.sources.url import name_in_answer, size_of, with_suffix

DIGEST = "ab" * 32
ENCODED = base64.b64encode(bytes.fromhex(DIGEST)).decode()


def answer(status: int = 200, url: str = "https://cdn.test/path/file.bin", **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers=named, request=httpx2.Request("GET", url))


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Linked_Etag": f'"{DIGEST}"'},
        {"X_Linked_Etag": f'W/"{DIGEST.upper()}"'},
        {"X_Checksum_Sha256": DIGEST},
        {"X_Amz_Checksum_Sha256": ENCODED},
        {"Digest": f"sha-256={ENCODED}"},
        {"Repr_Digest": f"md5=:AAAA:, sha-256=:{ENCODED}:"},
    ],
)
def test_digests(headers: dict[str, str]) -> None:
    assert digest_in_headers(answer(**headers)) == DIGEST


@pytest.mark.parametrize(
    "headers", [{}, {"ETag": f'"{DIGEST}"'}, {"X_Linked_Etag": '"abc"'}, {"Digest": "sha-256=####"}]
)
def test_what_is_no_digest(headers: dict[str, str]) -> None:
    assert digest_in_headers(answer(**headers)) == ""


def test_a_redirect_may_promise_the_digest() -> None:
    final = answer()
    final.history = [answer(302, X_Linked_Etag=f'"{DIGEST}"')]
    assert digest_in_headers(final) == DIGEST


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('attachment; filename="My Model.safetensors"', "My_Model.safetensors"),
        ("attachment; filename=plain.safetensors; size=3", "plain.safetensors"),
        (
            "attachment; filename=\"fallback\"; filename*=UTF-8''na%C3%AFve%20v2.safetensors",
            "na_ve_v2.safetensors",
        ),
        ('attachment; filename="..\\\\..\\\\evil.exe.safetensors"', "evil.exe.safetensors"),
        ('attachment; filename="/etc/cron.d/x"', "x"),
        ('attachment; filename=""', "model"),
        ("attachment", "file.bin"),
    ],
)
def test_file_names(disposition: str, name: str) -> None:
    assert name_in_answer(answer(Content_Disposition=disposition)) == name


def test_a_signed_address_names_its_file() -> None:
    url = "https://cdn.test/4711?response-content-disposition=attachment%3B%20filename%3D%22A%20b.safetensors%22"
    assert name_in_answer(answer(url=url)) == "A_b.safetensors"


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        (200, {"Content_Length": "10"}, 10),
        (200, {}, None),
        (206, {"Content_Range": "bytes 0-3/10", "Content_Length": "4"}, 10),
        (206, {"Content_Range": "bytes 0-3/*", "Content_Length": "4"}, None),
        (206, {"Content_Length": "4"}, None),
    ],
)
def test_lengths(status: int, headers: dict[str, str], size: int | None) -> None:
    assert size_of(answer(status, **headers)) == size


def test_an_ending_from_the_first_bytes() -> None:
    assert with_suffix("model", b"\x10\0\0\0\0\0\0\0{") == "model.safetensors"
    assert with_suffix("4711", b"PK\x03\x04") == "4711.ckpt"
    assert with_suffix("a.PT", b"PK\x03\x04") == "a.PT"


def test_patience() -> None:
    assert retry_after_s(answer(Retry_After="7")) == 7.0
    assert retry_after_s(answer(Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")) is None
