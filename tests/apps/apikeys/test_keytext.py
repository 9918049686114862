from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from apps.apikeys import keytext
from apps.core.ids import ALPHABET


def test_a_generated_key_reads_back() -> None:
    text = keytext.generate()
    assert re.fullmatch(r"dkr_[a-z0-9]{8}_[a-z0-9]{32}_[a-z0-9]{7}", text.plaintext)
    assert keytext.parse(text.plaintext) == text
    assert keytext.parse(f"  {text.plaintext}\n") == text


def test_two_keys_differ() -> None:
    assert keytext.generate() != keytext.generate()


def test_the_digest_needs_the_pepper_and_both_parts() -> None:
    text = keytext.KeyText(prefix="a" * 8, secret="b" * 32)
    others = [
        text.digest(pepper="other"),
        keytext.KeyText(prefix="c" * 8, secret="b" * 32).digest(pepper="pepper"),
        keytext.KeyText(prefix="a" * 8, secret="c" * 32).digest(pepper="pepper"),
    ]
    assert text.digest(pepper="pepper") not in others
    assert text.digest(pepper="pepper") == text.digest(pepper="pepper")


@given(position=st.integers(0, 55), character=st.sampled_from(ALPHABET + "_-ü "))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    good = keytext.KeyText(prefix="a1b2c3d4", secret="0123456789abcdefghijklmnopqrstuv").plaintext
    position %= len(good)
    mistyped = good[:position] + character + good[position + 1 :]
    if mistyped.strip() != good:
        assert keytext.parse(mistyped) is None


@given(st.text(max_size=80))
def test_anything_else_is_no_key(presented: str) -> None:
    assert keytext.parse(presented) is None


def test_wrong_lengths_are_no_key_even_with_a_fitting_checksum() -> None:
    assert keytext.parse(keytext.KeyText(prefix="short", secret="x" * 32).plaintext) is None
    assert keytext.parse(keytext.KeyText(prefix="a" * 8, secret="ü" * 32).plaintext) is None
