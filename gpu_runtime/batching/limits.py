"""How much of everything a request may bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gpu_runtime.messages import ImageRequest, Sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What this engine accepts."""

    families: frozenset[str] | None = None
    """Families it can run; None accepts any (the fake engine never looks at weights)."""
    max_steps: Mapping[Sampler, int] = field(default_factory=dict)
    """Samplers that allow fewer than `max_steps_default` steps."""
    max_steps_default: int = 150
    min_side_px: int = 16
    max_side_px: int = 2048
    max_output_side_px: int = 8192
    max_images: int = 64
    max_prompt_chars: int = 32_000
    max_loras: int = 8
    max_lora_scale: float = 4.0
    """Of its absolute value."""
    max_embeddings: int = 16
    max_references: int = 16
    max_controls: int = 5
    max_ip_adapters: int = 3
    max_control_scale: float = 5.0
    max_ip_adapter_scale: float = 2.0
    max_clip_skip: int = 11
    max_true_guidance_scale: float = 30.0


Rule = Callable[[ImageRequest, Limits], str]
"""Answers "" when it has no objection to a request, else the reason."""
