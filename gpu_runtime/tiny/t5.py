"""A T5 text encoder and a tokenizer that knows letters, digits and a few frequent pieces."""

from __future__ import annotations

from functools import cache
from typing import Any

from transformers import T5Config, T5EncoderModel, T5Tokenizer

from gpu_runtime.tiny.seeding import seeded

WIDTH = 64
"""1/64 of T5-XXL's 4096."""

SPECIAL_PIECES = ("<pad>", "</s>", "<unk>")
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()[]<>-_/&%+*=#@"
FREQUENT = (
    "▁a",
    "▁the",
    "▁of",
    "▁in",
    "▁on",
    "▁with",
    "▁and",
    "ing",
    "er",
    "ed",
    "es",
    "▁red",
    "▁green",
    "▁blue",
)


@cache
def tokenizer(tokens: int) -> T5Tokenizer:
    """A Unigram tokenizer in T5's format; `tokens` is the longest prompt. No sentinel tokens."""
    pieces = [(piece, 0.0) for piece in SPECIAL_PIECES]
    pieces += [("▁", -2.0), *((piece, -3.0) for piece in FREQUENT)]
    pieces += [(character, -5.0) for character in CHARACTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=tokens)


def text_encoder(*, seed: int) -> Any:
    """T5EncoderModel with v1.1's gated feed-forward. Any: untyped in transformers."""
    config = T5Config(
        vocab_size=len(tokenizer(512)),
        d_model=WIDTH,
        d_kv=16,
        d_ff=2 * WIDTH,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return seeded(lambda: T5EncoderModel(config), seed)
