"""FLUX.1: T5 for the prompt's tokens, CLIP for its summary, a transformer over packed latents.

A rectified flow with 16 latent channels; the transformer sees 2 x 2 latent pixels as one token. Dev and
Kontext were distilled to take the guidance scale as an input, schnell takes none; so no image here has an
unconditional row and negative prompts have no effect. Kontext makes images from a prompt alone like dev.
Fill and control checkpoints need an image and are refused.

Latents are kept as [1, 16, h, w]: samplers work element by element, so packing around the transformer alone
gives the same numbers.

Reference: diffusers' FluxPipeline with true_cfg_scale 1. In float32 an image from here equals that
pipeline's (tests/gpu_runtime/test_family_equality.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.text import TextAdapters, run_clip
from gpu_runtime.families.family import Conditioning, ForwardInputs, Row, TextEncoding
from gpu_runtime.families.guidance import combine, gather
from gpu_runtime.families.image_inputs import latent_sides, require_prompt_only
from gpu_runtime.families.prompt_cache import PromptCache
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.messages import ImageRequest
from gpu_runtime.samplers import SchedulerConfig
from gpu_runtime.weights.source import WeightsSource

PATCH = 2
"""Latent pixels on each side of a token."""

DEV_TOKENS = 512
SCHNELL_TOKENS = 256
"""Length to which T5 prompts are cut and filled up: what each was distilled with. Fixed for a checkpoint, so
that rows with prompts of any length can be stacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The networks of one checkpoint. Any: diffusers' and transformers' classes reach us untyped."""

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
    transformer: Any
    vae: Any
    scheduler_config: SchedulerConfig


def load_components(source: WeightsSource) -> Components:
    """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
    return Components(
        tokenizer=source.tokenizer(),
        tokenizer_2=source.tokenizer("tokenizer_2"),
        text_encoder=source.network("text_encoder", allowed=("CLIPTextModel",)),
        text_encoder_2=source.network("text_encoder_2", allowed=("T5EncoderModel",)),
        transformer=source.network("transformer", allowed=("FluxTransformer2DModel",)),
        # float32 always: in bfloat16 flat areas show banding, and one decode costs less than two steps.
        vae=source.network("vae", allowed=("AutoencoderKL", "AutoencoderTiny"), dtype=torch.float32),
        scheduler_config=source.scheduler_config(),
    )


class Flux:
    """One loaded FLUX.1 checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises as `load_components`."""
        self._parts = load_components(source)
        self._plan = source.plan
        self._adapters = source.adapters
        self._networks = {
            "transformer": self._parts.transformer,
            "text_encoder": self._parts.text_encoder,
            "text_encoder_2": self._parts.text_encoder_2,
        }
        self._prompts = PromptCache(source.prompt_cache_entries)
        config = self._parts.scheduler_config
        self._samplers = FlowSamplerFactory(config, self._plan.device, starts_even=True)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._embeds_guidance = bool(self._parts.transformer.config.guidance_embeds)
        self._t5_tokens = DEV_TOKENS if self._embeds_guidance else SCHNELL_TOKENS

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompt; the negative one has no effect. Raises UnsupportedCombination."""
        # A mask comes at full resolution, one channel for each image pixel of a latent pixel.
        require_prompt_only(
            self._latent_channels(),
            self._parts.vae.config.latent_channels,
            mask_channels=self._vae_factor**2,
        )
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        adapters = TextAdapters(loras, self._adapters.words(request.embeddings))
        return Conditioning(
            positive=self._encode_text(request.prompt, adapters),
            negative=None,
            guidance_scale=request.guidance_scale,
            loras=loras,
        )

    def begin(self, request: ImageRequest, index: int, conditioning: Conditioning) -> Row:
        """Noise and sampler of image `index`. Raises UnsupportedCombination."""
        height, width = latent_sides(request, factor=self._vae_factor, patch=PATCH)
        sampler = self._samplers.make(
            request.sampler,
            steps=request.steps,
            seed=request.seeds[index],
            image_tokens=(height // PATCH) * (width // PATCH),
        )
        latents = sampler.initial_latents((self._latent_channels(), height, width))
        return Row(conditioning=conditioning, sampler=sampler, latents=latents)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: one row an image."""
        inputs = gather(rows, self._plan)
        if not self._embeds_guidance:
            return inputs
        scales = [row.conditioning.guidance_scale for row in rows]
        guidance = torch.tensor(scales, dtype=torch.float32, device=self._plan.device)
        return replace(inputs, extra={"guidance": guidance})

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The transformer's raw prediction for these forward rows, float32 [len, C, h, w]."""
        latents, pooled = inputs.latents[part], inputs.pooled
        guidance = inputs.extra.get("guidance")
        with applied(self._parts.transformer, "transformer", inputs.loras[part]):
            predicted: Tensor = self._parts.transformer(
                hidden_states=_packed(latents),
                # The transformer multiplies by 1000 again, in its own dtype: the order of the reference.
                timestep=inputs.timesteps[part].to(self._plan.dtype) / 1000,
                guidance=None if guidance is None else guidance[part],
                pooled_projections=None if pooled is None else pooled[part],
                encoder_hidden_states=inputs.context[part],
                txt_ids=torch.zeros((inputs.context.shape[1], 3), device=latents.device),
                img_ids=_positions(latents),
                return_dict=False,
            )[0]
        # float32 from here on: samplers integrate.
        return _unpacked(predicted.float(), latents)

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        """The prediction as it is, since no image has an unconditional row."""
        return combine(prediction, inputs)

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        """Images of final latents: float32 [B, 3, H, W] on the device, nominally -1 to 1."""
        vae = vae or self._parts.vae
        shifted = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        image: Tensor = vae.decode(shifted, return_dict=False)[0]
        return image

    def _latent_channels(self) -> int:
        return int(self._parts.transformer.config.in_channels) // PATCH**2

    def _encode_text(self, text: str, adapters: TextAdapters) -> TextEncoding:
        return self._prompts.get((text, adapters.key), lambda: self._run_text_encoders(text, adapters))

    def _run_text_encoders(self, text: str, adapters: TextAdapters) -> TextEncoding:
        """T5's hidden states [1, 256 or 512, width] and CLIP's summary [1, width]; long prompts are cut."""
        parts, dtype = self._parts, self._plan.dtype
        summary = run_clip(parts.tokenizer, parts.text_encoder, "text_encoder", text, adapters)
        tokens = self._run_t5(text, adapters)
        return TextEncoding(tokens=tokens.to(dtype), pooled=summary.pooler_output.to(dtype))

    def _run_t5(self, text: str, adapters: TextAdapters) -> Tensor:
        tokens = self._parts.tokenizer_2(
            text, padding="max_length", max_length=self._t5_tokens, truncation=True, return_tensors="pt"
        )
        encoder = self._parts.text_encoder_2
        with applied(encoder, "text_encoder_2", [adapters.loras]):
            hidden: Tensor = encoder(tokens.input_ids.to(self._plan.device))[0]
        return hidden


def _packed(latents: Tensor) -> Tensor:
    """[B, C, h, w] to [B, tokens, 4 C], row by row of the image."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH**2)


def _unpacked(tokens: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_packed`, to the shape of `like`."""
    batch, channels, height, width = like.shape
    patches = tokens.view(batch, height // PATCH, width // PATCH, channels, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, height, width)


def _positions(latents: Tensor) -> Tensor:
    """Where each token stands: float32 [tokens, 3] with 0, row, column."""
    rows, columns = (side // PATCH for side in latents.shape[-2:])
    down = torch.arange(rows, dtype=torch.float32, device=latents.device)
    right = torch.arange(columns, dtype=torch.float32, device=latents.device)
    grid = torch.stack(torch.meshgrid(down, right, indexing="ij"), dim=-1)
    return torch.nn.functional.pad(grid.view(-1, 2), (1, 0))
