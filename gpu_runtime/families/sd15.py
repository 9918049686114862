"""Stable Diffusion 1.x and 2.x: CLIP text encoder, UNet with cross-attention, KL autoencoder.

The two differ in the text encoder alone, which says so in its own configuration: 2.x has OpenCLIP's, cut
after its penultimate layer. Serves epsilon and v-prediction checkpoints alike: which one it is stands in the
checkpoint's scheduler configuration, and the noise scheduler acts on it.

Reference: diffusers' StableDiffusionPipeline. In float32 an image from here equals that pipeline's; the
tolerance and the test are in tests/gpu_runtime/test_equality.py.
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
from gpu_runtime.samplers import SamplerFactory, SchedulerConfig, pipeline_config
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
        scheduler_config=pipeline_config(source.scheduler_config()),
    )


class StableDiffusion15:
    """One loaded Stable Diffusion 1.x or 2.x checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises as `load_components`, and UnsupportedCombination for a UNet of another family."""
        self._parts = load_components(source)
        if self._parts.unet.config.addition_embed_type is not None:
            raise UnsupportedCombination("this UNet takes more than text and time, as those of sdxl do")
        self._plan = source.plan
        self._adapters = source.adapters
        self._networks = {"unet": self._parts.unet, "text_encoder": self._parts.text_encoder}
        self._prompts = PromptCache(source.prompt_cache_entries)
        self._samplers = SamplerFactory(self._parts.scheduler_config, self._plan.device)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._scale_width: int | None = self._parts.unet.config.time_cond_proj_dim
        """Of the guidance embedding, for UNets distilled to take the scale as an input; else None."""

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompts, the negative one only where it counts. Raises UnsupportedCombination."""
        self._require_text_to_image()
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        adapters = TextAdapters(loras, self._adapters.words(request.embeddings))
        is_guided = request.guidance_scale > 1 and self._scale_width is None
        return Conditioning(
            positive=self._encode_text(request.prompt, adapters),
            negative=self._encode_text(request.negative_prompt, adapters) if is_guided else None,
            guidance_scale=request.guidance_scale,
            loras=loras,
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
        if self._scale_width is None:
            return inputs
        scales = embedded_scales(rows, self._scale_width, self._plan)
        return replace(inputs, extra={"timestep_cond": scales.to(self._plan.dtype)})

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The UNet's raw prediction for these forward rows, float32 [len, C, h, w]."""
        with applied(self._parts.unet, "unet", inputs.loras[part]):
            predicted: Tensor = self._parts.unet(
                inputs.latents[part],
                inputs.timesteps[part],
                encoder_hidden_states=inputs.context[part],
                **{name: values[part] for name, values in inputs.extra.items()},
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
        image: Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return image

    def _require_text_to_image(self) -> None:
        config = self._parts.unet.config
        require_prompt_only(config.in_channels, self._parts.vae.config.latent_channels)
        if config.class_embed_type is not None:
            raise UnsupportedCombination("this checkpoint makes variations of an image, none from a prompt")

    def _encode_text(self, text: str, adapters: TextAdapters) -> TextEncoding:
        return self._prompts.get((text, adapters.key), lambda: self._run_text_encoder(text, adapters))

    def _run_text_encoder(self, text: str, adapters: TextAdapters) -> TextEncoding:
        """[1, 77, width] (the tokenizer's length); longer prompts are cut there."""
        tokenizer, encoder = self._parts.tokenizer, self._parts.text_encoder
        # Few checkpoints mask the padding; those that do say so in the text encoder's configuration.
        is_masked = bool(encoder.config.to_dict().get("use_attention_mask", False))
        encoded = run_clip(tokenizer, encoder, "text_encoder", text, adapters, is_masked=is_masked)
        return TextEncoding(tokens=encoded[0].to(dtype=self._plan.dtype))
