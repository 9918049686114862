"""What people type as a source, and the names that come of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apps.catalog.choices import ImportSource
from apps.catalog.imports.addresses import (
    clean_file_name,
    clean_name,
    name_of,
    read_source,
    source_url_of,
    take_token_out,
    without_query,
)
from apps.core.errors import InvalidField
from tests.apps.catalog.imports.studio import hub, url


@pytest.fixture(autouse=True)
def endpoint(settings: Any) -> None:
    settings.HF_ENDPOINT = "https://hub.test"


@pytest.mark.parametrize(
    ("text", "source", "address", "revision", "file"),
    [
        ("lab/tiny", "hub", "lab/tiny", "", ""),
        (" lab/tiny ", "hub", "lab/tiny", "", ""),
        ("lab/tiny/sub/a.safetensors", "hub", "lab/tiny", "", "sub/a.safetensors"),
        ("https://hub.test/lab/tiny", "hub", "lab/tiny", "", ""),
        ("https://hub.test/lab/tiny/tree/v1", "hub", "lab/tiny", "v1", ""),
        ("https://hub.test/lab/tiny/blob/main/a.safetensors", "hub", "lab/tiny", "main", "a.safetensors"),
        ("https://hub.test/lab/tiny/resolve/v1/sub/a.bin", "hub", "lab/tiny", "v1", "sub/a.bin"),
        ("https://example.com/a.safetensors", "url", "https://example.com/a.safetensors", "", ""),
        (
            "https://civitai.com/models/4384/dreamshaper?modelVersionId=128713",
            "url",
            "https://civitai.com/api/download/models/128713",
            "",
            "",
        ),
        ("https://civitai.com/models/4384", "url", "https://civitai.com/models/4384", "", ""),
    ],
)
def test_sources(text: str, source: str, address: str, revision: str, file: str) -> None:
    options = read_source(text)
    assert (options.source, options.address) == (source, address)
    assert (options.revision, options.file) == (revision, file)


def test_a_path_that_exists_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    options = read_source("lab/tiny")
    assert (options.source, options.address) == (ImportSource.FOLDER, str(tmp_path / "lab" / "tiny"))
    assert options.is_anywhere
    # Who has no shell on the server cannot mean a path of it.
    assert read_source("lab/tiny", may_be_path=False).source == ImportSource.HUB


@pytest.mark.parametrize("text", ["", "word", "/nowhere/at/all", "./nothing", "two words/x"])
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(InvalidField):
        read_source(text)


@pytest.mark.parametrize(
    ("address", "rest", "token", "parameter"),
    [
        ("https://a.test/x?token=secret", "https://a.test/x", "secret", "token"),
        ("https://a.test/x?type=Model&Token=secret&b=", "https://a.test/x?type=Model&b=", "secret", "Token"),
        ("https://a.test/x?api_key=s%2Bt", "https://a.test/x", "s+t", "api_key"),
        ("https://a.test/x?type=Model", "https://a.test/x?type=Model", "", ""),
        ("https://a.test/x?token=", "https://a.test/x?token=", "", ""),
    ],
)
def test_tokens_leave_the_address(address: str, rest: str, token: str, parameter: str) -> None:
    options = take_token_out(url(address))
    assert (options.address, options.token, options.token_parameter) == (rest, token, parameter)


def test_a_token_that_was_given_apart_goes_first() -> None:
    options = take_token_out(url("https://a.test/x?token=old", token="new"))
    assert (options.address, options.token) == ("https://a.test/x", "new")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (hub("lab/Tiny-SD"), "tiny-sd"),
        (hub("lab/loras", file="sub/Ink Style.safetensors"), "ink-style"),
        (hub("lab/Ink-Style", file="pytorch_lora_weights.safetensors"), "ink-style"),
        (url("https://a.test/files/Real.Vision_v5.1.safetensors?x=1"), "real.vision_v5.1"),
        (url("https://a.test/api/download/models/4711"), ""),
    ],
)
def test_names_when_nobody_chose_one(options: Any, name: str) -> None:
    assert name_of(options) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Über Model!!.safetensors", "ber-model"),
        ("---.ckpt", "model"),
        ("a" * 300, "a" * 120),
        ("org/name/", "name"),
        ("v1.5", "v1.5"),
        ("org/Tags", "tags-model"),
    ],
)
def test_names_are_clean(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".hidden.safetensors", "hidden.safetensors"),
        ("a b\x00\n;rm.safetensors", "a_b_rm.safetensors"),
        ("...", "model"),
        ("", "model"),
        ("x" * 300 + ".safetensors", "x" * 150 + ".safetensors"),
        ("x" * 300, "x" * 150),
    ],
)
def test_file_names_are_safe_to_write(text: str, name: str) -> None:
    assert clean_file_name(text, otherwise="model") == name


def test_links_back_to_the_source() -> None:
    assert source_url_of(hub("lab/tiny")) == "https://hub.test/lab/tiny"
    assert (
        source_url_of(hub("lab/tiny", file="a.bin", revision="v1"))
        == "https://hub.test/lab/tiny/blob/v1/a.bin"
    )
    assert source_url_of(url("https://a.test/x?signature=secret")) == "https://a.test/x"
    assert without_query("https://a.test/x?y#z") == "https://a.test/x"
    assert without_query("/models/what?") == "/models/what?"
