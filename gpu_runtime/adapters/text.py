"""What a request's adapters change in its text encoders: LoRAs of the encoders, and embeddings."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from gpu_runtime.adapters.embeddings import Word
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
