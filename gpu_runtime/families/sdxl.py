"""Stable Diffusion XL: two CLIP text encoders, a UNet that also takes image sizes, KL autoencoder.

Serves base, turbo, lightning and LCM checkpoints, epsilon and v-prediction; which one stands in the
checkpoint's configurations. Refiner, inpainting and instruction checkpoints need an image and are refused.

Reference: diffusers' StableDiffusionXLPipeline with original and target size equal to the image's and no
crop. In float32 an image from here equals that pipeline's (tests/gpu_runtime/test_family_equality.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.text import TextAdapters, run_clip
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import Conditioning, ForwardInputs, Row, TextEncoding
from gpu_runtime.families.guidance import combine, embedded_scales, gather
from gpu_runtime.families.image_inputs import latent_sides, require_prompt_only
from gpu_runtime.families.prompt_cache import PromptCache
from gpu_runtime.messages import ImageRequest
from gpu_runtime.samplers import SamplerFactory, SchedulerConfig
from gpu_runtime.weights.source import WeightsSource

SIZE_NUMBERS = 6
"""Original height and width, top and left of the crop, target height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The networks of one checkpoint. Any: diffusers' and transformers' classes reach us untyped."""

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
    unet: Any
    vae: Any
    scheduler_config: SchedulerConfig


def load_components(source: WeightsSource) -> Components:
    """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
    if not source.has("text_encoder"):
        raise UnsupportedCombination("a refiner refines another model's image; it makes none from a prompt")
    return Components(
        tokenizer=source.tokenizer(),
        tokenizer_2=source.tokenizer("tokenizer_2"),
        text_encoder=source.network("text_encoder", allowed=("CLIPTextModel",)),
        text_encoder_2=source.network("text_encoder_2", allowed=("CLIPTextModelWithProjection",)),
        unet=source.network("unet", allowed=("UNet2DConditionModel",)),
        # float32 always: most autoencoders of this family overflow in float16, and bfloat16 shows banding.
        vae=source.network("vae", allowed=("AutoencoderKL", "AutoencoderTiny"), dtype=torch.float32),
        scheduler_config=source.scheduler_config(),
    )


class StableDiffusionXL:
    """One loaded Stable Diffusion XL checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises as `load_components`, and UnsupportedCombination for a UNet that takes other sizes."""
        self._parts = load_components(source)
        _require_size_numbers(self._parts)
        self._plan = source.plan
        self._adapters = source.adapters
        self._networks = {
            "unet": self._parts.unet,
            "text_encoder": self._parts.text_encoder,
            "text_encoder_2": self._parts.text_encoder_2,
        }
        self._prompts = PromptCache(source.prompt_cache_entries)
        self._samplers = SamplerFactory(self._parts.scheduler_config, self._plan.device)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._scale_width: int | None = self._parts.unet.config.time_cond_proj_dim
        """Of the guidance embedding, for UNets distilled to take the scale as an input; else None."""
        self._zeros_for_empty = bool(source.settings().get("force_zeros_for_empty_prompt", True))
        """Whether an empty negative prompt is zeros, as in training, or the encoded empty text."""

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompts, the negative one only where it counts. Raises UnsupportedCombination."""
        config = self._parts.unet.config
        require_prompt_only(config.in_channels, self._parts.vae.config.latent_channels)
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        adapters = TextAdapters(loras, self._adapters.words(request.embeddings))
        positive = self._encode_text(request.prompt, adapters)
        negative = None
        if request.guidance_scale > 1 and self._scale_width is None:
            is_zeros = self._zeros_for_empty and not request.negative_prompt
            text = request.negative_prompt
            negative = _zeros_like(positive) if is_zeros else self._encode_text(text, adapters)
        return Conditioning(
            positive=positive, negative=negative, guidance_scale=request.guidance_scale, loras=loras
        )

    def begin(self, request: ImageRequest, index: int, conditioning: Conditioning) -> Row:
        """Noise and sampler of image `index`. Raises UnsupportedCombination."""
        sides = latent_sides(request, factor=self._vae_factor)
        sampler = self._samplers.make(request.sampler, steps=request.steps, seed=request.seeds[index])
        latents = sampler.initial_latents((int(self._parts.unet.config.in_channels), *sides))
        return Row(conditioning=conditioning, sampler=sampler, latents=latents)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        inputs = gather(rows, self._plan)
        extra = {"time_ids": self._time_ids(inputs.latents)}
        if self._scale_width is not None:
            scales = embedded_scales(rows, self._scale_width, self._plan)
            extra["timestep_cond"] = scales.to(self._plan.dtype)
        return replace(inputs, extra=extra)

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The UNet's raw prediction for these forward rows, float32 [len, C, h, w]."""
        pooled, scales = inputs.pooled, inputs.extra.get("timestep_cond")
        with applied(self._parts.unet, "unet", inputs.loras[part]):
            predicted: Tensor = self._parts.unet(
                inputs.latents[part],
                inputs.timesteps[part],
                encoder_hidden_states=inputs.context[part],
                timestep_cond=None if scales is None else scales[part],
                added_cond_kwargs={
                    "text_embeds": None if pooled is None else pooled[part],
                    "time_ids": inputs.extra["time_ids"][part],
                },
                return_dict=False,
            )[0]
        # float32 from here on: guidance subtracts two nearly equal numbers and samplers integrate.
        return predicted.float()

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        """Classifier-free guidance, float32 [images, C, h, w]."""
        return combine(prediction, inputs)

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Images of final latents: float32 [B, 3, H, W] on the device, nominally -1 to 1."""
        vae = vae or self._parts.vae
        image: Tensor = vae.decode(_unscaled(latents, vae.config), return_dict=False)[0]
        return image

    def _time_ids(self, latents: Tensor) -> Tensor:
        """[B, 6], the denoiser's dtype: the whole image, uncropped. bfloat16 holds multiples of 8 exactly."""
        size = [side * self._vae_factor for side in latents.shape[-2:]]
        numbers = torch.tensor([[*size, 0, 0, *size]], dtype=self._plan.dtype, device=self._plan.device)
        return numbers.expand(latents.shape[0], -1)

    def _encode_text(self, text: str, adapters: TextAdapters) -> TextEncoding:
        return self._prompts.get((text, adapters.key), lambda: self._run_text_encoders(text, adapters))

    def _run_text_encoders(self, text: str, adapters: TextAdapters) -> TextEncoding:
        """[1, 77, both widths] (the tokenizers' length); longer prompts are cut there."""
        parts = self._parts
        first = self._run_encoder(parts.tokenizer, "text_encoder", text, adapters)
        second = self._run_encoder(parts.tokenizer_2, "text_encoder_2", text, adapters)
        tokens = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        dtype = self._plan.dtype
        return TextEncoding(tokens=tokens.to(dtype), pooled=second[0].to(dtype))

    def _run_encoder(
        self, tokenizer: Any, name: str, text: str, adapters: TextAdapters
    ) -> Any:  # a transformers output
        encoder = self._networks[name]
        return run_clip(tokenizer, encoder, name, text, adapters, output_hidden_states=True)


def _require_size_numbers(parts: Components) -> None:
    """Refuse a UNet whose added embedding is not made of six size numbers and the pooled prompt."""
    config = parts.unet.config
    if config.addition_embed_type != "text_time":
        raise UnsupportedCombination("this UNet takes no image sizes; it is not of family sdxl")
    width = SIZE_NUMBERS * config.addition_time_embed_dim + parts.text_encoder_2.config.projection_dim
    if config.projection_class_embeddings_input_dim != width:
        raise UnsupportedCombination(
            f"this UNet's added embedding is {config.projection_class_embeddings_input_dim} wide where its "
            f"text encoder and {SIZE_NUMBERS} size numbers make {width}"
        )


def _zeros_like(encoding: TextEncoding) -> TextEncoding:
    pooled = None if encoding.pooled is None else torch.zeros_like(encoding.pooled)
    return TextEncoding(tokens=torch.zeros_like(encoding.tokens), pooled=pooled)


def _unscaled(latents: Tensor, config: Any) -> Tensor:  # an untyped diffusers configuration
    """Latents as the autoencoder made them in training; few checkpoints also state a mean and deviation."""
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean is None or deviation is None:
        return latents / config.scaling_factor
    shift, scale = (latents.new_tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
    return latents * scale / config.scaling_factor + shift
