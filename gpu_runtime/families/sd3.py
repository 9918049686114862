"""Stable Diffusion 3 and 3.5: two CLIP text encoders and an optional T5, joint-attention transformer.

A rectified flow with 16 latent channels. A checkpoint without its T5 encoder works with zeros in place of
its tokens, as the reference does; images follow long prompts less then.

Reference: diffusers' StableDiffusion3Pipeline. In float32 an image from here equals that pipeline's
(tests/gpu_runtime/test_family_equality.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.text import TextAdapters, run_clip
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import Conditioning, ForwardInputs, Row, TextEncoding
from gpu_runtime.families.guidance import combine, gather
from gpu_runtime.families.image_inputs import latent_sides, require_prompt_only
from gpu_runtime.families.prompt_cache import PromptCache
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.messages import ImageRequest
from gpu_runtime.samplers import SchedulerConfig
from gpu_runtime.weights.source import WeightsSource

T5_TOKENS = 256
"""Fixed, so that rows with prompts of any length can be stacked; the reference's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The networks of one checkpoint. Any: diffusers' and transformers' classes reach us untyped."""

    tokenizer: Any
    tokenizer_2: Any
    tokenizer_3: Any
    """None without a T5 encoder."""
    text_encoder: Any
    text_encoder_2: Any
    text_encoder_3: Any
    """T5; None where the checkpoint comes without."""
    transformer: Any
    vae: Any
    scheduler_config: SchedulerConfig


def load_components(source: WeightsSource) -> Components:
    """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
    has_t5 = source.has("text_encoder_3")
    clip = ("CLIPTextModelWithProjection",)
    return Components(
        tokenizer=source.tokenizer(),
        tokenizer_2=source.tokenizer("tokenizer_2"),
        tokenizer_3=source.tokenizer("tokenizer_3") if has_t5 else None,
        text_encoder=source.network("text_encoder", allowed=clip),
        text_encoder_2=source.network("text_encoder_2", allowed=clip),
        text_encoder_3=source.network("text_encoder_3", allowed=("T5EncoderModel",)) if has_t5 else None,
        transformer=source.network("transformer", allowed=("SD3Transformer2DModel",)),
        # float32 always: in bfloat16 flat areas show banding, and one decode costs less than two steps.
        vae=source.network("vae", allowed=("AutoencoderKL", "AutoencoderTiny"), dtype=torch.float32),
        scheduler_config=source.scheduler_config(),
    )


class StableDiffusion3:
    """One loaded Stable Diffusion 3 or 3.5 checkpoint."""

    def __init__(self, source: WeightsSource) -> None:
        """Raises as `load_components`."""
        self._parts = load_components(source)
        self._plan = source.plan
        self._adapters = source.adapters
        networks = {
            "transformer": self._parts.transformer,
            "text_encoder": self._parts.text_encoder,
            "text_encoder_2": self._parts.text_encoder_2,
            "text_encoder_3": self._parts.text_encoder_3,
        }
        self._networks = {name: network for name, network in networks.items() if network is not None}
        self._prompts = PromptCache(source.prompt_cache_entries)
        config = self._parts.scheduler_config
        self._samplers = FlowSamplerFactory(config, self._plan.device, starts_even=False)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._patch: int = self._parts.transformer.config.patch_size

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest) -> Conditioning:
        """Encode the prompts, the negative one only where it counts. Raises UnsupportedCombination."""
        config = self._parts.transformer.config
        require_prompt_only(config.in_channels, self._parts.vae.config.latent_channels)
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        adapters = TextAdapters(loras, self._adapters.words(request.embeddings))
        is_guided = request.guidance_scale > 1
        return Conditioning(
            positive=self._encode_text(request.prompt, adapters),
            negative=self._encode_text(request.negative_prompt, adapters) if is_guided else None,
            guidance_scale=request.guidance_scale,
            loras=loras,
        )

    def begin(self, request: ImageRequest, index: int, conditioning: Conditioning) -> Row:
        """Noise and sampler of image `index`. Raises UnsupportedCombination."""
        height, width = latent_sides(request, factor=self._vae_factor, patch=self._patch)
        config = self._parts.transformer.config
        most = config.pos_embed_max_size * self._patch
        if max(height, width) > most:
            raise UnsupportedCombination(
                f"this checkpoint's positions end at {most * self._vae_factor} pixels a side"
            )
        sampler = self._samplers.make(
            request.sampler,
            steps=request.steps,
            seed=request.seeds[index],
            image_tokens=(height // self._patch) * (width // self._patch),
        )
        latents = sampler.initial_latents((int(config.in_channels), height, width))
        return Row(conditioning=conditioning, sampler=sampler, latents=latents)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        return gather(rows, self._plan)

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The transformer's raw prediction for these forward rows, float32 [len, C, h, w]."""
        pooled = inputs.pooled
        with applied(self._parts.transformer, "transformer", inputs.loras[part]):
            predicted: Tensor = self._parts.transformer(
                hidden_states=inputs.latents[part],
                timestep=inputs.timesteps[part],
                encoder_hidden_states=inputs.context[part],
                pooled_projections=None if pooled is None else pooled[part],
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
        shifted = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        image: Tensor = vae.decode(shifted, return_dict=False)[0]
        return image

    def _encode_text(self, text: str, adapters: TextAdapters) -> TextEncoding:
        return self._prompts.get((text, adapters.key), lambda: self._run_text_encoders(text, adapters))

    def _run_text_encoders(self, text: str, adapters: TextAdapters) -> TextEncoding:
        """[1, 77 + 256, width]: CLIP's tokens side by side and filled up with zeros, then T5's."""
        parts = self._parts
        first, first_pooled = self._run_clip(parts.tokenizer, "text_encoder", text, adapters)
        second, second_pooled = self._run_clip(parts.tokenizer_2, "text_encoder_2", text, adapters)
        t5 = self._run_t5(text, adapters)
        clip = torch.cat([first, second], dim=-1)
        clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return TextEncoding(
            tokens=torch.cat([clip, t5], dim=-2), pooled=torch.cat([first_pooled, second_pooled], dim=-1)
        )

    def _run_clip(
        self, tokenizer: Any, name: str, text: str, adapters: TextAdapters
    ) -> tuple[Tensor, Tensor]:
        """Penultimate hidden states [1, 77, width] and projected summary [1, width]; long prompts are cut."""
        encoded = run_clip(
            tokenizer,
            self._networks[name],
            name,
            text,
            adapters,
            length=self._parts.tokenizer.model_max_length,
            output_hidden_states=True,
        )
        dtype = self._plan.dtype
        return encoded.hidden_states[-2].to(dtype), encoded[0].to(dtype)

    def _run_t5(self, text: str, adapters: TextAdapters) -> Tensor:
        """[1, 256, width]; zeros without a T5 encoder."""
        plan, parts = self._plan, self._parts
        if parts.text_encoder_3 is None:
            width = parts.transformer.config.joint_attention_dim
            return torch.zeros((1, T5_TOKENS, width), dtype=plan.dtype, device=plan.device)
        tokens = parts.tokenizer_3(
            text, padding="max_length", max_length=T5_TOKENS, truncation=True, return_tensors="pt"
        )
        with applied(parts.text_encoder_3, "text_encoder_3", [adapters.loras]):
            hidden: Tensor = parts.text_encoder_3(tokens.input_ids.to(plan.device))[0]
        return hidden.to(plan.dtype)
