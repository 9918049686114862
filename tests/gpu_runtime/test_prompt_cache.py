"""Encodings are kept by recency, within a number of entries and of bytes."""

from __future__ import annotations

import torch

from gpu_runtime.families.family import TextEncoding
from gpu_runtime.prompts.cache import PromptCache

ENCODING_BYTES = (77 * 8 + 8) * 4


class Encoder:
    """Counts its work."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def get(self, cache: PromptCache, text: str) -> TextEncoding:
        def encode() -> TextEncoding:
            self.encoded.append(text)
            return TextEncoding(tokens=torch.zeros(1, 77, 8), pooled=torch.zeros(1, 8))

        return cache.get(text, encode)


def test_prompt_seen_lately_is_not_encoded_again() -> None:
    cache, encoder = PromptCache(2), Encoder()
    first = encoder.get(cache, "a")
    assert encoder.get(cache, "a") is first
    assert encoder.encoded == ["a"]


def test_least_recently_used_goes_first() -> None:
    cache, encoder = PromptCache(2), Encoder()
    for text in ("a", "b", "a", "c", "a", "b"):
        encoder.get(cache, text)
    assert encoder.encoded == ["a", "b", "c", "b"]


def test_bytes_limit_applies_before_entries() -> None:
    cache, encoder = PromptCache(9, max_bytes=2 * ENCODING_BYTES), Encoder()
    for text in ("a", "b", "c", "b", "a"):
        encoder.get(cache, text)
    assert encoder.encoded == ["a", "b", "c", "a"]


def test_without_entries_nothing_is_kept() -> None:
    cache, encoder = PromptCache(0), Encoder()
    for _ in range(2):
        assert encoder.get(cache, "a").tokens.shape == (1, 77, 8)
    assert encoder.encoded == ["a", "a"]
