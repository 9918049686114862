"""How the prompts of one request are read: style, adapters of the encoders, layers left out."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.adapters.text import TextAdapters
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.messages import ImageRequest, PromptStyle
from gpu_runtime.prompts.weighting import Section, sections_of


@dataclass(frozen=True)
class Reading:
    """What holds for every prompt of a request."""

    adapters: TextAdapters = field(default_factory=TextAdapters)
    style: PromptStyle = PromptStyle.PLAIN
    clip_skip: int = 0
    """Last layers of CLIP to leave out."""

    def sections(self, text: str) -> tuple[Section, ...]:
        """The parts of a prompt, at least one."""
        return sections_of(text, self.style)

    @property
    def negative(self) -> Reading:
        """How negative prompts are read.

        Diffusers' pipelines leave out no layers there and AUTOMATIC1111 does: each style follows its own.
        """
        return self if self.style is PromptStyle.WEIGHTED else replace(self, clip_skip=0)

    @cached_property
    def key(self) -> Hashable:
        """Equal where every prompt is encoded alike."""
        return self.adapters.key, self.style, self.clip_skip


def reading_of(request: ImageRequest, loras: tuple[LoraUse, ...], bank: AdapterBank) -> Reading:
    """How this request wants its prompts read. Raises what reading its embeddings raises."""
    adapters = TextAdapters(loras, bank.words(request.embeddings))
    return Reading(adapters, request.prompt_style, request.clip_skip)
