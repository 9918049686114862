"""Text encoders that also see: language models beside an encoder of pictures, which a text leaves unused.

Any throughout: untyped in transformers.
"""

from __future__ import annotations

from typing import Any

from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)

from gpu_runtime.tiny import language_tokenizers as tokenizers
from gpu_runtime.tiny.language_models import GROUPED, WIDTH
from gpu_runtime.tiny.seeding import seeded

MARKS = {
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
}

SIGLIP_WIDTH = 24

QWEN_VISION = {
    "depth": 1,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_heads": 2,
    "out_hidden_size": WIDTH,
}


def _mark_ids() -> dict[str, Any]:
    return {name: tokenizers.qwen().convert_tokens_to_ids(mark) for name, mark in MARKS.items()}


def _qwen_text(sections: list[int]) -> dict[str, Any]:
    """`sections` share the rotary dimensions out to time, row and column."""
    rope = {"rope_type": "default", "mrope_section": sections, "rope_theta": 1000000.0}
    return GROUPED | {"vocab_size": len(tokenizers.qwen()), "rope_parameters": rope}


def qwen25_vl(*, seed: int) -> Any:
    """Qwen2.5-VL, of Qwen-Image and HunyuanImage."""
    config = Qwen2_5_VLConfig(text_config=_qwen_text([1, 1, 2]), vision_config=QWEN_VISION, **_mark_ids())
    return seeded(lambda: Qwen2_5_VLForConditionalGeneration(config), seed)


def qwen3_vl(*, seed: int, layers: int = 2, is_causal: bool = False) -> Any:
    """Qwen3-VL, of Krea 2 and Ideogram 4; with its output layer for the others."""
    text = _qwen_text([2, 1, 1]) | {"num_hidden_layers": layers}
    vision = QWEN_VISION | {"deepstack_visual_indexes": [0], "num_position_embeddings": 256}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_mark_ids())
    network = Qwen3VLForConditionalGeneration if is_causal else Qwen3VLModel
    return seeded(lambda: network(config), seed)


def mistral3(*, seed: int, layers: int = 2, is_causal: bool = False) -> Any:
    """Mistral Small 3, of ERNIE-Image; with its output layer for FLUX.2."""
    text = GROUPED | {
        "model_type": "mistral",
        "vocab_size": len(tokenizers.glm()),
        "num_hidden_layers": layers,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "image_size": 32,
        "patch_size": 8,
    }
    config = Mistral3Config(text_config=text, vision_config=vision)
    network = Mistral3ForConditionalGeneration if is_causal else Mistral3Model
    return seeded(lambda: network(config), seed)


def siglip2(*, seed: int) -> Any:
    """SigLIP 2, of Z-Image-Omni."""
    config = Siglip2VisionConfig(
        hidden_size=SIGLIP_WIDTH,
        intermediate_size=2 * SIGLIP_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_patches=256,
        patch_size=16,
    )
    return seeded(lambda: Siglip2VisionModel(config), seed)
