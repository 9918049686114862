"""Runs a text encoder on a prompt with a request's adapters: LoRAs of the encoder, and embeddings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.embeddings import Word, injected, prompt_ids
from gpu_runtime.adapters.lora_names import TEXT_ENCODERS
from gpu_runtime.adapters.use import LoraUse


@dataclass(frozen=True, slots=True)
class TextAdapters:
    """What changes how a request's prompts are read."""

    loras: tuple[LoraUse, ...] = ()
    words: tuple[Word, ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal where every prompt is encoded alike: part of the key under which encodings are kept."""
        loras = tuple(
            (use.lora.key, use.scale)
            for use in self.loras
            if any(use.lora.layers.get(encoder) for encoder in TEXT_ENCODERS)
        )
        return loras, tuple((word.token, word.embedding.digest) for word in self.words)


def run_clip(
    tokenizer: Any,
    encoder: Any,
    component: str,
    text: str,
    adapters: TextAdapters,
    *,
    length: int | None = None,
    is_masked: bool = False,
    **options: Any,
) -> Any:  # transformers' classes are untyped
    """The output of a CLIP encoder for one prompt, cut at `length` or else the tokenizer's own.

    `component` is the encoder's name in the checkpoint; `options` go to the encoder. With `is_masked` it does
    not look at the padding. Raises UnsupportedCombination for an embedding of another width.
    """
    prompt = prompt_ids(tokenizer, encoder, component, text, adapters.words, length=length)
    if is_masked:
        options["attention_mask"] = prompt.mask.to(encoder.device)
    with applied(encoder, component, [adapters.loras]), injected(encoder, prompt):
        return encoder(prompt.ids.to(encoder.device), **options)
