"""Prompts of one request as encodings of one length: guidance needs both in one call."""

from __future__ import annotations

from collections.abc import Callable

from gpu_runtime.families.family import TextEncoding
from gpu_runtime.prompts.reading import Reading

EncodeText = Callable[[Reading, str, int | None], TextEncoding]
"""Takes how to read, a text, and a number of chunks to fill it up to; None for as many as it has."""


def encode_pair(
    reading: Reading, prompt: str, negative: str | None, encode: EncodeText, *, chunk: int
) -> tuple[TextEncoding, TextEncoding | None]:
    """Both prompts with as many tokens as the longer one has; `chunk` is the tokens of a chunk."""
    first = encode(reading, prompt, None)
    if negative is None:
        return first, None
    second = encode(reading.negative, negative, None)
    longest = max(first.tokens.shape[1], second.tokens.shape[1])
    if first.tokens.shape[1] < longest:
        first = encode(reading, prompt, longest // chunk)
    if second.tokens.shape[1] < longest:
        second = encode(reading.negative, negative, longest // chunk)
    return first, second


def shape_of(encoding: TextEncoding, *, chunk: int) -> tuple[int, ...]:
    """`Conditioning.shape` for prompts of this length: empty for the usual one chunk."""
    tokens = encoding.tokens.shape[1]
    return () if tokens == chunk else (tokens,)
