"""One set of readers, four spellings: what each dialect takes for a number, a flag and a text."""

from __future__ import annotations

import math

import pytest

from apps.api import readers
from apps.api.a1111 import readers as a1111
from apps.api.modelslab import readers as modelslab
from apps.api.native import readers as native
from apps.api.openai import readers as openai

DIALECTS = ("a1111", "modelslab", "native", "openai")
WHOLES = {
    "a1111": a1111.Whole,
    "modelslab": modelslab.Whole,
    "native": readers.Whole,
    "openai": openai.Whole,
}
NUMBERS = {
    "a1111": a1111.Number,
    "modelslab": modelslab.Number,
    "native": readers.Number,
    "openai": openai.Number,
}
FLAGS = {
    "a1111": a1111.Flag,
    "modelslab": modelslab.Flag,
    "native": readers.Flag,
    "openai": openai.Flag,
}


@pytest.mark.parametrize(
    ("value", "takers"),
    [
        (512, DIALECTS),
        (512.0, DIALECTS),
        (512.7, ("a1111",)),
        ("512", ("a1111", "modelslab", "openai")),
        (" 512 ", ("a1111", "modelslab")),
        ("+512", ("a1111", "modelslab")),
        ("512.0", ("modelslab",)),
        ("5_1_2", ()),
        ("٥١٢", ()),
        (True, ()),
        (math.nan, ()),
        (math.inf, ()),
        (10**400, ()),
        ([512], ()),
        (b"512", ()),
    ],
)
def test_a_whole_number_is_what_the_dialect_spells_so(value: object, takers: tuple[str, ...]) -> None:
    for dialect, kind in WHOLES.items():
        read = kind(lowest=1, highest=1024)
        if dialect in takers:
            assert read(value) == 512, dialect
        else:
            with pytest.raises(readers.BadValue, match="must be a whole number from 1 to 1024, not "):
                read(value)


@pytest.mark.parametrize(
    ("value", "takers"),
    [
        (0.5, DIALECTS),
        ("0.5", ("a1111", "modelslab", "openai")),
        (".5", ("a1111", "modelslab", "openai")),
        ("5e-1", ("a1111", "modelslab")),
        (" 0.5\n", ("a1111", "modelslab")),
        ("half", ()),
        (False, ()),
        (math.nan, ()),
        ("nan", ()),
        (10**400, ()),
        (None, ()),
    ],
)
def test_a_number_is_what_the_dialect_spells_so(value: object, takers: tuple[str, ...]) -> None:
    for dialect, kind in NUMBERS.items():
        read = kind(lowest=0.0, highest=1.0)
        if dialect in takers:
            assert read(value) == 0.5, dialect
        else:
            with pytest.raises(readers.BadValue, match="must be a number from 0 to 1, not "):
                read(value)


@pytest.mark.parametrize(
    ("value", "meaning", "takers"),
    [
        (True, True, DIALECTS),
        (False, False, DIALECTS),
        ("true", True, ("a1111", "modelslab", "openai")),
        (" FALSE ", False, ("a1111", "modelslab", "openai")),
        ("yes", True, ("a1111", "modelslab")),
        (0, False, ("a1111", "modelslab")),
        (1.0, True, ("a1111",)),
        ("t", True, ("a1111",)),
        ("perhaps", None, ()),
        (2, None, ()),
        (None, None, ()),
    ],
)
def test_a_flag_is_what_the_dialect_spells_so(
    value: object, meaning: bool | None, takers: tuple[str, ...]
) -> None:
    for dialect, kind in FLAGS.items():
        if dialect in takers:
            assert kind()(value) is meaning, dialect
        else:
            with pytest.raises(readers.BadValue, match=r"must be (true or false|yes or no \(.*\)), not "):
                kind()(value)


def test_a_text_that_is_too_long_is_told_in_the_dialects_own_way() -> None:
    long = "é" * 60
    with pytest.raises(readers.BadValue, match=r"must be text of at most 50 characters, not 60$"):
        readers.Text(max_chars=50)(long)
    with pytest.raises(readers.BadValue, match=r'must be text of at most 50 characters, not "\\u00e9'):
        native.Text(max_chars=50)(long)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
@pytest.mark.parametrize("kind", [readers.Text, native.Text, modelslab.Text])
def test_no_text_gets_through_that_the_database_cannot_hold(kind: type[readers.Text], text: str) -> None:
    with pytest.raises(readers.BadValue, match="must not contain"):
        kind(max_chars=50)(text)


@pytest.mark.parametrize(
    ("value", "elsewhere", "in_modelslab"),
    [
        ("x" * 38, '"' + "x" * 38 + '"', '"' + "x" * 38 + '"'),
        ("x" * 41, '"' + "x" * 39 + "...", '"' + "x" * 40 + '"...'),
        (["x"], "a list", "a list"),
        ({"x": 1}, "an object", "an object"),
        (b"x", "a file", "a file"),
        (10**50, "1" + "0" * 39 + "...", "1" + "0" * 39 + "..."),
    ],
)
def test_what_was_seen_is_shown_on_one_short_line(value: object, elsewhere: str, in_modelslab: str) -> None:
    assert readers.shown(value) == elsewhere
    assert modelslab.shown(value) == in_modelslab


def test_a_choice_is_one_of_its_words_as_they_are_written() -> None:
    read = readers.Choice(("png", "jpeg"))
    assert read("jpeg") == "jpeg"
    assert read.schema == {"type": "string", "enum": ["png", "jpeg"]}
    for value in ("JPEG", "", 1, None):
        with pytest.raises(readers.BadValue, match="must be one of png, jpeg, not "):
            read(value)


def test_a_bad_value_may_lead_on_to_where_it_stands() -> None:
    assert readers.BadValue("is required").path == ()
    assert readers.BadValue("is required", ("loras", 0)).path == ("loras", 0)
