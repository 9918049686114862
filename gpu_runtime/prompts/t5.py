"""Prompts for T5 text encoders, with a weight for each token. T5 reads hundreds of tokens in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.prompts.clip import weighted
from gpu_runtime.prompts.reading import Reading
from gpu_runtime.prompts.weighting import plain_text


def encode_t5(
    tokenizer: Any, encoder: Any, component: str, text: str, reading: Reading, *, length: int
) -> Tensor:  # Any: untyped in transformers
    """Hidden states [1, length, width] in the encoder's dtype; longer prompts are cut."""
    plain, weights = plain_text(reading.sections(text))
    tokens = tokenizer(
        plain,
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
        return_offsets_mapping=True,
    )
    with applied(encoder, component, [reading.adapters.loras]):
        hidden: Tensor = encoder(tokens.input_ids.to(encoder.device))[0]
    if all(weight == 1 for weight in weights):
        return hidden
    return weighted(hidden, _token_weights(plain, tokens.offset_mapping[0].tolist(), weights))


def _token_weights(text: str, offsets: Sequence[Sequence[int]], weights: Sequence[float]) -> Tensor:
    """[1, length] float32: each token has the weight of its first letter; marks and padding have 1."""
    starts = [_first_letter(text, start, stop) for start, stop in offsets]
    return torch.tensor([[1.0 if start is None else weights[start] for start in starts]])


def _first_letter(text: str, start: int, stop: int) -> int | None:
    """Where the token that reaches from `start` to `stop` begins to be seen; None for no text.

    Some tokenizers count the space before a word to it, and that may lie outside the word's bracket.
    """
    if stop <= start:
        return None
    return next((place for place in range(start, stop) if not text[place].isspace()), start)
