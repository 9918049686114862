"""What the tensors of autoencoders, text encoders and transformers say about their configuration.

As `unet_shapes`: what shapes tell is taken from them, the rest from the family's own configuration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.configs import Config
from gpu_runtime.weights.importing.unet_shapes import groups_of


def vae_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """AutoencoderKL in LDM's layout, or by diffusers' names."""
    is_ldm = any(name.startswith("encoder.down.") for name in tensors)
    level, block = ("encoder.down.", ".block.") if is_ldm else ("encoder.down_blocks.", ".resnets.")
    attention = "encoder.mid.attn_1." if is_ldm else "encoder.mid_block.attentions.0."
    levels = 1 + _highest(tensors, rf"{re.escape(level)}(\d+)\.")
    channels = [_side(tensors, f"{level}{index}{block}0.conv1.weight", 0) for index in range(levels)]
    return dict(base) | {
        "in_channels": _side(tensors, "encoder.conv_in.weight", 1),
        "out_channels": _side(tensors, "decoder.conv_out.weight", 0),
        "latent_channels": _side(tensors, "decoder.conv_in.weight", 1),
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": 1 + _highest(tensors, rf"{re.escape(level)}0{re.escape(block)}(\d+)\."),
        "norm_num_groups": groups_of(channels[0]),
        "use_quant_conv": "quant_conv.weight" in tensors,
        "use_post_quant_conv": "post_quant_conv.weight" in tensors,
        "mid_block_add_attention": any(name.startswith(attention) for name in tensors),
    }


def clip_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """CLIPTextModel, with or without projection, by transformers' names under `text_model.`."""
    vocabulary, width = _shape(tensors, "text_model.embeddings.token_embedding.weight")
    config = dict(base) | {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": _side(tensors, "text_model.encoder.layers.0.mlp.fc1.weight", 0),
        "max_position_embeddings": _side(tensors, "text_model.embeddings.position_embedding.weight", 0),
        "num_hidden_layers": 1 + _highest(tensors, r"text_model\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": _heads(int(base["num_attention_heads"]), width),
    }
    if "text_projection.weight" in tensors:
        config["projection_dim"] = _side(tensors, "text_projection.weight", 0)
    return config


def t5_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """T5EncoderModel by transformers' names."""
    embedding = "shared.weight" if "shared.weight" in tensors else "encoder.embed_tokens.weight"
    vocabulary, width = _shape(tensors, embedding)
    block = "encoder.block.0.layer."
    buckets, heads = _shape(tensors, f"{block}0.SelfAttention.relative_attention_bias.weight")
    is_gated = f"{block}1.DenseReluDense.wi_0.weight" in tensors
    inner = "wi_0" if is_gated else "wi"
    return dict(base) | {
        "vocab_size": vocabulary,
        "d_model": width,
        "num_heads": heads,
        "d_kv": _side(tensors, f"{block}0.SelfAttention.q.weight", 0) // heads,
        "d_ff": _side(tensors, f"{block}1.DenseReluDense.{inner}.weight", 0),
        "num_layers": 1 + _highest(tensors, r"encoder\.block\.(\d+)\."),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if is_gated else "relu",
    }


def sd3_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """SD3Transformer2DModel by Stability's names."""
    width, channels, patch, _ = _shape(tensors, "x_embedder.proj.weight")
    blocks = 1 + _highest(tensors, r"joint_blocks\.(\d+)\.")
    norm = "joint_blocks.0.x_block.attn.ln_q.weight"
    # The original has as many heads as blocks; where queries are normed, the norm tells their width.
    head = _side(tensors, norm, 0) if norm in tensors else width // blocks
    dual = sorted(
        {
            int(match[1])
            for name in tensors
            if (match := re.match(r"joint_blocks\.(\d+)\.x_block\.attn2\.", name))
        }
    )
    return dict(base) | {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": _side(tensors, "final_layer.linear.weight", 0) // patch**2,
        "num_layers": blocks,
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "caption_projection_dim": _side(tensors, "context_embedder.weight", 0),
        "joint_attention_dim": _side(tensors, "context_embedder.weight", 1),
        "pooled_projection_dim": _side(tensors, "y_embedder.mlp.0.weight", 1),
        "pos_embed_max_size": math.isqrt(_side(tensors, "pos_embed", 1)),
        "qk_norm": "rms_norm" if norm in tensors else None,
        "dual_attention_layers": dual,
    }


def flux_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """FluxTransformer2DModel by Black Forest Labs' names."""
    width, channels = _shape(tensors, "img_in.weight")
    head = _side(tensors, "double_blocks.0.img_attn.norm.query_norm.scale", 0)
    return dict(base) | {
        "in_channels": channels,
        "out_channels": _side(tensors, "final_layer.linear.weight", 0),
        "num_layers": 1 + _highest(tensors, r"double_blocks\.(\d+)\."),
        "num_single_layers": 1 + _highest(tensors, r"single_blocks\.(\d+)\."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": _side(tensors, "txt_in.weight", 1),
        "pooled_projection_dim": _side(tensors, "vector_in.in_layer.weight", 1),
        "guidance_embeds": "guidance_in.in_layer.weight" in tensors,
        # The original splits the head's 128 rotary dimensions into 16, 56 and 56.
        "axes_dims_rope": [head // 8, head * 7 // 16, head * 7 // 16],
    }


def _heads(published: int, width: int) -> int:
    """As many as the encoder has where that fits, else one for every 64 channels."""
    return published if width % published == 0 else max(1, width // 64)


def _highest(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """The highest number that the pattern finds. Raises WeightsCorrupt when it finds none."""
    compiled = re.compile(pattern)
    highest = max((int(match[1]) for name in tensors if (match := compiled.match(name))), default=None)
    if highest is None or highest > 1000:
        raise WeightsCorrupt(f"no tensor is named like {pattern.replace(chr(92), '')}, or too many are")
    return highest


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsCorrupt(f"the tensor {name} is missing")
    return tuple(tensors[name].shape)


def _side(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    return _shape(tensors, name)[axis]
