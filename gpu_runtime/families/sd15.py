"""Stable Diffusion 1.x: CLIP text encoder, UNet with cross-attention, KL autoencoder.

Serves epsilon and v-prediction checkpoints alike: which one it is stands in the checkpoint's scheduler
configuration, and the noise scheduler acts on it.

Reference: diffusers' StableDiffusionPipeline. In float32 an image from here equals that pipeline's; the
tolerance and the test are in tests/gpu_runtime/test_equality.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import Conditioning, ForwardInputs, Row, TextEncoding
from gpu_runtime.messages import ImageRequest
from gpu_runtime.samplers import SamplerFactory, SchedulerConfig
from gpu_runtime.weights.source import WeightsSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The networks of one checkpoint. Any: diffusers' and transformers' classes reach us untyped."""

    tokenizer: Any
    text_encoder: Any
    unet: Any
    vae: Any
    scheduler_config: SchedulerConfig


def load_components(source: WeightsSource) -> Components:
    """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
    return Components(
        tokenizer=source.tokenizer(),
        text_encoder=source.network("text_encoder", allowed=("CLIPTextModel",)),
        unet=source.network("unet", allowed=("UNet2DConditionModel",)),
        # float32 always: in bfloat16 flat areas show banding, and one decode costs less than two steps.
        vae=source.network("vae", allowed=("AutoencoderKL", "AutoencoderTiny"), dtype=torch.float32),
        scheduler_config=source.scheduler_config(),
    )


class StableDiffusion15:
    """One loaded Stable Diffusion 1.x checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises as `load_components`, and UnsupportedCombination for a distilled guidance embedding."""
        self._parts = load_components(source)
        if self._parts.unet.config.time_cond_proj_dim is not None:
            raise UnsupportedCombination("this UNet embeds the guidance scale, which family sd15 does not do")
        self._plan = source.plan
        self._prompt_cache: OrderedDict[str, Tensor] = OrderedDict()
        self._prompt_cache_entries = source.prompt_cache_entries
        self._samplers = SamplerFactory(self._parts.scheduler_config, self._plan.device)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompts; the negative one only where guidance needs it."""
        is_guided = request.guidance_scale > 1
        return Conditioning(
            positive=TextEncoding(tokens=self._encode_text(request.prompt)),
            negative=TextEncoding(tokens=self._encode_text(request.negative_prompt)) if is_guided else None,
            guidance_scale=request.guidance_scale,
        )

    def begin(self, request: ImageRequest, index: int, conditioning: Conditioning) -> Row:
        """Noise and sampler of image `index`."""
        sampler = self._samplers.make(request.sampler, steps=request.steps, seed=request.seeds[index])
        shape = (
            int(self._parts.unet.config.in_channels),
            request.height // self._vae_factor,
            request.width // self._vae_factor,
        )
        return Row(conditioning=conditioning, sampler=sampler, latents=sampler.initial_latents(shape))

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        guided = tuple(i for i, row in enumerate(rows) if row.conditioning.negative is not None)
        scaled = [row.sampler.scale(row.latents) for row in rows]
        times = [row.sampler.timestep for row in rows]
        context = [row.conditioning.positive.tokens for row in rows]
        context += [row.conditioning.negative.tokens for row in rows if row.conditioning.negative is not None]
        device, dtype = self._plan.device, self._plan.dtype
        scales = [rows[i].conditioning.guidance_scale for i in guided]
        return ForwardInputs(
            latents=torch.cat([*scaled, *(scaled[i] for i in guided)]).to(dtype),
            timesteps=torch.tensor([*times, *(times[i] for i in guided)], dtype=torch.float32, device=device),
            context=torch.cat(context),
            guided=guided,
            guidance=torch.tensor(scales, dtype=torch.float32, device=device).view(-1, 1, 1, 1),
        )

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The UNet's raw prediction for these forward rows, float32 [len, C, h, w]."""
        predicted: Tensor = self._parts.unet(
            inputs.latents[part],
            inputs.timesteps[part],
            encoder_hidden_states=inputs.context[part],
            return_dict=False,
        )[0]
        # float32 from here on: guidance subtracts two nearly equal numbers and samplers integrate.
        return predicted.float()

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        """unconditional + scale * (conditional - unconditional), float32 [images, C, h, w].

        Source: Ho and Salimans 2022, arXiv:2207.12598, with the weight as in Imagen (1 is no guidance).
        """
        images = prediction.shape[0] - len(inputs.guided)
        combined = prediction[:images].clone()
        if inputs.guided:
            which = list(inputs.guided)
            unconditional = prediction[images:]
            combined[which] = unconditional + inputs.guidance * (combined[which] - unconditional)
        return combined

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Images of final latents: float32 [B, 3, H, W] on the device, nominally -1 to 1."""
        vae = vae or self._parts.vae
        image: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return image

    def _encode_text(self, text: str) -> Tensor:
        """[1, 77, width] (the tokenizer's length), the denoiser's dtype; longer prompts are cut there."""
        cached = self._prompt_cache.get(text)
        if cached is not None:
            self._prompt_cache.move_to_end(text)
            return cached
        encoded = self._run_text_encoder(text)
        self._prompt_cache[text] = encoded
        while len(self._prompt_cache) > self._prompt_cache_entries:
            self._prompt_cache.popitem(last=False)
        return encoded

    def _run_text_encoder(self, text: str) -> Tensor:
        tokenizer, encoder = self._parts.tokenizer, self._parts.text_encoder
        tokens = tokenizer(
            text,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        device = self._plan.device
        # Few checkpoints mask the padding; those that do say so in the text encoder's configuration.
        uses_mask = bool(encoder.config.to_dict().get("use_attention_mask", False))
        mask = tokens.attention_mask.to(device) if uses_mask else None
        hidden: Tensor = encoder(tokens.input_ids.to(device), attention_mask=mask)[0]
        return hidden.to(dtype=self._plan.dtype)
