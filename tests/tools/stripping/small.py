"""Files with layouts of their own: upscalers, embeddings, IP-adapters."""

from __future__ import annotations

from collections.abc import Iterator

import torch

State = dict[str, torch.Tensor]


def _empty(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def _convolution(name: str, given: int, made: int, side: int = 3) -> State:
    return {f"{name}.weight": _empty(made, given, side, side), f"{name}.bias": _empty(made)}


def _dense_block(prefix: str, names: str, features: int = 64, growth: int = 32) -> State:
    """Five convolutions, each of which sees all before it. `names` has a place for the number."""
    state: State = {}
    for number in range(1, 6):
        made = growth if number < 5 else features
        state |= _convolution(prefix + names.format(number), features + (number - 1) * growth, made)
    return state


def real_esrgan(*, blocks: int = 23, fold: int = 1) -> State:
    """RRDBNet by Real-ESRGAN's names; `fold` pixels a side go into the channels."""
    state = _convolution("conv_first", 3 * fold**2, 64)
    for block in range(blocks):
        for dense in range(1, 4):
            state |= _dense_block(f"body.{block}.rdb{dense}.", "conv{}")
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        state |= _convolution(name, 64, 64)
    return state | _convolution("conv_last", 64, 3)


def old_esrgan(*, blocks: int = 23, doublings: int = 2) -> State:
    """RRDBNet by the numbered names of the community's models."""
    state = _convolution("model.0", 3, 64)
    for block in range(blocks):
        for dense in range(1, 4):
            state |= _dense_block(f"model.1.sub.{block}.RDB{dense}.", "conv{}.0")
    state |= _convolution(f"model.1.sub.{blocks}", 64, 64)
    number = 3
    for _ in range(doublings):
        state |= _convolution(f"model.{number}", 64, 64)
        number += 3
    number -= 1
    return state | _convolution(f"model.{number}", 64, 64) | _convolution(f"model.{number + 2}", 64, 3)


def first_esrgan(*, blocks: int = 23) -> State:
    """RRDBNet by the names of the paper's release."""
    state = _convolution("conv_first", 3, 64)
    for block in range(blocks):
        for dense in range(1, 4):
            state |= _dense_block(f"RRDB_trunk.{block}.RDB{dense}.", "conv{}")
    for name in ("trunk_conv", "upconv1", "upconv2", "HRconv"):
        state |= _convolution(name, 64, 64)
    return state | _convolution("conv_last", 64, 3)


def srvgg(*, convolutions: int, scale: int) -> State:
    state = _convolution("body.0", 3, 64) | {"body.1.weight": _empty(64)}
    for number in range(convolutions):
        state |= _convolution(f"body.{2 + 2 * number}", 64, 64) | {
            f"body.{3 + 2 * number}.weight": _empty(64)
        }
    return state | _convolution(f"body.{2 + 2 * convolutions}", 64, 3 * scale**2)


def upconv7() -> State:
    channels = (3, 16, 32, 64, 128, 128, 256)
    state: State = {}
    for number in range(6):
        state |= _convolution(f"conv{number + 1}", channels[number], channels[number + 1])
    return state | {"conv7.weight": _empty(256, 3, 4, 4), "conv7.bias": _empty(3)}


def swin_ir() -> State:
    """A few layers of an architecture that is not built in."""
    return {
        "conv_first.weight": _empty(180, 3, 3, 3),
        "layers.0.residual_group.blocks.0.attn.qkv.weight": _empty(540, 180),
        "layers.0.residual_group.blocks.0.attn.relative_position_bias_table": _empty(225, 6),
        "conv_last.weight": _empty(3, 64, 3, 3),
    }


_SD15_SIDES = (320, 320, 640, 640, 1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 1280)


def _attentions(sides: tuple[int, ...], context: int) -> Iterator[tuple[str, torch.Tensor]]:
    for index, side in enumerate(sides):
        yield f"ip_adapter.{2 * index + 1}.to_k_ip.weight", _empty(side, context)
        yield f"ip_adapter.{2 * index + 1}.to_v_ip.weight", _empty(side, context)


def ip_adapter_sd15(*, is_plus: bool) -> State:
    projection = _resampler(768, 768) if is_plus else _linear_projection(768, 1024)
    return projection | dict(_attentions(_SD15_SIDES, 768))


def ip_adapter_sdxl() -> State:
    sides = (640,) * 4 + (1280,) * 20 + (1280,) * 30 + (640,) * 6 + (1280,) * 10
    return _linear_projection(2048, 1280) | dict(_attentions(sides, 2048))


def _linear_projection(context: int, image: int) -> State:
    return {
        "image_proj.proj.weight": _empty(4 * context, image),
        "image_proj.proj.bias": _empty(4 * context),
        "image_proj.norm.weight": _empty(context),
        "image_proj.norm.bias": _empty(context),
    }


def _resampler(width: int, context: int) -> State:
    state = {
        "image_proj.latents": _empty(1, 16, width),
        "image_proj.proj_in.weight": _empty(width, 1280),
        "image_proj.proj_in.bias": _empty(width),
        "image_proj.proj_out.weight": _empty(context, width),
        "image_proj.proj_out.bias": _empty(context),
        "image_proj.norm_out.weight": _empty(context),
        "image_proj.norm_out.bias": _empty(context),
    }
    for layer in range(4):
        for name, shape in (("0.to_q", (768, width)), ("0.to_kv", (1536, width)), ("0.to_out", (width, 768))):
            state[f"image_proj.layers.{layer}.{name}.weight"] = _empty(*shape)
        state[f"image_proj.layers.{layer}.1.1.weight"] = _empty(4 * width, width)
        state[f"image_proj.layers.{layer}.1.3.weight"] = _empty(width, 4 * width)
    return state


def ip_adapter_flux() -> State:
    """XLabs' layout."""
    state = {
        "ip_adapter_proj_model.proj.weight": _empty(16384, 768),
        "ip_adapter_proj_model.proj.bias": _empty(16384),
        "ip_adapter_proj_model.norm.weight": _empty(4096),
        "ip_adapter_proj_model.norm.bias": _empty(4096),
    }
    for block in range(19):
        for each in "kv":
            stem = f"double_blocks.{block}.processor.ip_adapter_double_stream_{each}_proj"
            state |= {f"{stem}.weight": _empty(3072, 4096), f"{stem}.bias": _empty(3072)}
    return state


def embedding(**vectors: tuple[int, int]) -> State:
    return {name: _empty(*shape) for name, shape in vectors.items()}


def t2i_adapter() -> State:
    return {
        "adapter.conv_in.weight": _empty(320, 192, 3, 3),
        "adapter.body.0.resnets.0.block1.weight": _empty(320, 320, 3, 3),
    }


def control_lora() -> State:
    return {
        "lora_controlnet": _empty(),
        "input_hint_block.0.weight": _empty(16, 3, 3, 3),
        "zero_convs.0.0.weight": _empty(320, 320, 1, 1),
        "time_embed.0.up": _empty(1280, 128),
        "time_embed.0.down": _empty(128, 320),
    }


def wan_video() -> State:
    return {
        "patch_embedding.weight": _empty(1536, 16, 1, 2, 2),
        "blocks.0.self_attn.q.weight": _empty(1536, 1536),
        "blocks.0.cross_attn.k.weight": _empty(1536, 1536),
        "head.modulation": _empty(1, 2, 1536),
    }


def language_model() -> State:
    return {
        "model.embed_tokens.weight": _empty(151936, 2560),
        "model.layers.0.self_attn.q_proj.weight": _empty(4096, 2560),
        "model.norm.weight": _empty(2560),
    }
