"""The rules in their order, and what to say when none of them claims a file."""

from __future__ import annotations

from collections.abc import Callable

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification import (
    architectures,
    controlnets,
    diffusers_denoiser,
    embeddings,
    flux,
    ip_adapters,
    ldm,
    loras,
    sd3,
    text_encoders,
    upscalers,
    vae,
)
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.taxonomy import Identified

Rule = Callable[[Contents], Identified | None]
"""None for "not mine"; WeightsCorrupt or NotRecognised for "mine, but"."""

RULES: tuple[Rule, ...] = (
    loras.claim,
    ldm.claim,
    sd3.claim,
    flux.claim,
    architectures.claim,
    controlnets.claim,
    diffusers_denoiser.claim,
    ip_adapters.claim,
    vae.claim,
    text_encoders.claim,
    embeddings.claim,
    upscalers.claim,
)

_KNOWN_STRANGERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("vace_blocks.", "model.diffusion_model.patch_embedding.", "patch_embedding."), "a video model (Wan)"),
    (("patchify_proj.", "model.diffusion_model.patchify_proj."), "a video model (LTX)"),
    (("txt_in.individual_token_refiner.", "model.diffusion_model.txt_in.individual"), "a video model"),
    (("down_blocks.0.motion_modules.",), "a motion module of AnimateDiff"),
    (("decoder.middle.0.", "decoder.mid_block.resnets.0.conv1.conv."), "a video autoencoder"),
    (("model.layers.0.self_attn.", "language_model.", "transformer.h.0."), "a language model"),
    (("layers.0.self_attn.q_proj.", "model.language_model."), "a language model"),
    (
        ("visual.transformer.resblocks.", "vision_model.encoder.layers.", "visual.blocks."),
        "an image encoder in one file (its folder with config.json can be imported)",
    ),
    (("layers.0.residual_group.blocks.0.",), "an upscaler of the SwinIR or HAT architecture"),
    (("layers.0.blocks.0.attn.", "block_1.c1_r.sk."), "an upscaler of an architecture that is not built in"),
    (("stylegan_decoder", "final_conv.0.", "style_mlp."), "a face-restoration model"),
    (("conv1.0.weight", "layer1.0.conv1.weight", "features.0.weight"), "an image classifier"),
)
"""What prefixes of names give away about files that no rule claims."""


_QUANTISED = (
    (".absmax", "bitsandbytes"),
    (".weight_scale", "scaled float8"),
    (".comfy_quant", "scaled float8"),
    (".qweight", "a 4-bit quantisation"),
    (".qzeros", "a 4-bit quantisation"),
)
"""Ends of names that come with weights whose numbers mean something only together with others."""


def apply(contents: Contents) -> Identified:
    """The first rule's answer. Raises WeightsCorrupt or NotRecognised."""
    _refuse_quantised(contents)
    for rule in RULES:
        answer = rule(contents)
        if answer is not None:
            return answer
    raise NotRecognised(explain(contents))


def _refuse_quantised(contents: Contents) -> None:
    ends = tuple(end for end, _ in _QUANTISED)
    for name in contents.tensors:
        if name.endswith(ends):
            how = next(how for end, how in _QUANTISED if name.endswith(end))
            raise NotRecognised(
                f"{contents.path.name} is stored in {how}, which is not supported; import the plain version"
            )


def explain(contents: Contents) -> str:
    """One sentence on what unclaimed weights look like."""
    name = contents.path.name
    for prefixes, what in _KNOWN_STRANGERS:
        if any(contents.has(prefix) for prefix in prefixes):
            return f"{name} looks like {what}, which is not supported"
    first = ", ".join(contents.names[:3])
    return f"{name} has {len(contents.tensors)} tensors of an unknown architecture (first: {first})"
