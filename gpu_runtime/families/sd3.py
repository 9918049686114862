"""Stable Diffusion 3 and 3.5: two CLIP text encoders and an optional T5, joint-attention transformer.

A rectified flow with 16 latent channels. A checkpoint without its T5 encoder works with zeros in place of
its tokens, as the reference does; images follow long prompts less then.

References: diffusers' StableDiffusion3Pipeline, StableDiffusion3Img2ImgPipeline and, up to the last latents,
StableDiffusion3InpaintPipeline, which forgets the autoencoder's shift when it decodes; we do not. In float32
an image from here equals theirs (tests/gpu_runtime/test_family_equality.py, test_transformer_families.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.controls.sd3 import prepare_controls, residuals
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.families.flow_pictures import InitImage, begin_from, read_init_image, strength_of
from gpu_runtime.families.guidance import combine, gather, with_lent
from gpu_runtime.families.image_inputs import latent_sides, require_pictures, require_prompt_only
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.ip_adapters.attending import attending
from gpu_runtime.ip_adapters.kinds import sd3_kind
from gpu_runtime.ip_adapters.reading import PictureReader
from gpu_runtime.ip_adapters.sd3_attention import attach_at
from gpu_runtime.messages import ImageRequest
from gpu_runtime.prompts.clip import ClipReader, hidden_layer
from gpu_runtime.prompts.reading import Reading, reading_of
from gpu_runtime.prompts.t5 import encode_t5
from gpu_runtime.samplers import SchedulerConfig
from gpu_runtime.sampling.variations import variation_of
from gpu_runtime.weights.source import WeightsSource

TEXT_PARTS = tuple(f"{part}{number}" for number in ("", "_2", "_3") for part in ("tokenizer", "text_encoder"))
"""Components that an encoded prompt depends on; the last two may be missing."""

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
        self._prompts = source.prompts
        self._lend = source.lend
        kind = sd3_kind(self._parts.transformer)
        self._seer = PictureReader(kind=kind, plan=source.plan, lend=source.lend, kept=source.prompts)
        self._context_width: int = self._parts.transformer.config.joint_attention_dim
        self._encoders = (source.identity(*TEXT_PARTS), self._context_width)
        config = self._parts.scheduler_config
        self._samplers = FlowSamplerFactory(config, self._plan.device, starts_even=False)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._patch: int = self._parts.transformer.config.patch_size
        self._channels = int(self._parts.transformer.config.in_channels)

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        """Encode prompts and pictures, the negative prompt only where it counts.

        `vae` is an autoencoder in place of the checkpoint's own (any of diffusers' untyped classes). Raises
        UnsupportedCombination.
        """
        self._sides(request)
        latent_channels = int(self._parts.vae.config.latent_channels)
        require_prompt_only(self._channels, latent_channels)
        require_pictures(request, self._channels, latent_channels)
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        reading = reading_of(request, loras, self._adapters)
        is_guided = request.guidance_scale > 1
        return Conditioning(
            positive=self._encode_text(reading, request.prompt),
            negative=self._encode_text(reading.negative, request.negative_prompt) if is_guided else None,
            guidance_scale=request.guidance_scale,
            loras=loras,
            pictures=read_init_image(request, vae or self._parts.vae),
            controls=prepare_controls(
                request, self._parts.transformer.config, vae or self._parts.vae, self._plan, self._lend
            ),
            prompts_of_pictures=self._seer.read(request, is_guided=is_guided),
        )

    def begin(
        self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start = WHOLE
    ) -> Row:
        """Noise and sampler of image `index`. Raises UnsupportedCombination."""
        height, width = self._sides(request)
        sampler = self._samplers.make(
            request.sampler,
            steps=request.steps,
            seed=request.seeds[index],
            image_tokens=(height // self._patch) * (width // self._patch),
            schedule=request.schedule,
            strength=strength_of(request, start),
            begin_at=start.begin_at,
            end_at=start.end_at,
        )
        sampler.variation = variation_of(request, index, factor=self._vae_factor)
        init: InitImage | None = conditioning.pictures
        begun = begin_from(
            sampler,
            (self._channels, height, width),
            start=start,
            init=init,
            vae=self._parts.vae,
            # Unlike the others, this family's inpainting pipeline leaves the image out then.
            is_noise_alone=request.mask is not None and request.strength == 1,
        )
        return Row(
            conditioning=conditioning,
            sampler=sampler,
            latents=begun.latents,
            after_step=begun.after_step,
        )

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        return with_lent(gather(rows, self._plan), self._lend)

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The transformer's raw prediction for these forward rows, float32 [len, C, h, w]."""
        pooled = inputs.pooled
        transformer, times = self._parts.transformer, inputs.timesteps[part]
        with (
            applied(transformer, "transformer", inputs.loras[part]),
            attending(transformer, inputs.prompts_of_pictures[part], inputs.networks, attach_at(times)),
        ):
            predicted: Tensor = transformer(
                hidden_states=inputs.latents[part],
                timestep=times,
                encoder_hidden_states=inputs.context[part],
                pooled_projections=None if pooled is None else pooled[part],
                return_dict=False,
                **residuals(inputs, part, transformer),
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

    def _sides(self, request: ImageRequest) -> tuple[int, int]:
        """Height and width of the latents. Raises UnsupportedCombination."""
        height, width = latent_sides(request, factor=self._vae_factor, patch=self._patch)
        most = self._parts.transformer.config.pos_embed_max_size * self._patch
        if max(height, width) > most:
            raise UnsupportedCombination(
                f"this checkpoint's positions end at {most * self._vae_factor} pixels a side"
            )
        return height, width

    def _encode_text(self, reading: Reading, text: str) -> TextEncoding:
        key = (self._encoders, text, reading.key)
        return self._prompts.get(key, lambda: self._run_text_encoders(text, reading))

    def _run_text_encoders(self, text: str, reading: Reading) -> TextEncoding:
        """[1, 77 + 256, width]: CLIP's tokens side by side and filled up with zeros, then T5's."""
        parts = self._parts
        first, first_pooled = self._run_clip(parts.tokenizer, "text_encoder", text, reading)
        second, second_pooled = self._run_clip(parts.tokenizer_2, "text_encoder_2", text, reading)
        t5 = self._run_t5(text, reading)
        clip = torch.cat([first, second], dim=-1)
        clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return TextEncoding(
            tokens=torch.cat([clip, t5], dim=-2), pooled=torch.cat([first_pooled, second_pooled], dim=-1)
        )

    def _run_clip(self, tokenizer: Any, name: str, text: str, reading: Reading) -> tuple[Tensor, Tensor]:
        """Hidden states [1, 77, width] and projected summary [1, width]; what is longer, T5 reads."""
        length = int(self._parts.tokenizer.model_max_length)
        encoded = ClipReader(tokenizer, self._networks[name], name, reading, length, is_cut=True).encode(
            text, pick=lambda output: hidden_layer(output, reading.clip_skip + 2), output_hidden_states=True
        )
        return encoded.tokens.to(self._plan.dtype), encoded.first[0].to(self._plan.dtype)

    def _run_t5(self, text: str, reading: Reading) -> Tensor:
        """[1, 256, width]; zeros without a T5 encoder."""
        plan, parts = self._plan, self._parts
        if parts.text_encoder_3 is None:
            return torch.zeros((1, T5_TOKENS, self._context_width), dtype=plan.dtype, device=plan.device)
        hidden = encode_t5(
            parts.tokenizer_3, parts.text_encoder_3, "text_encoder_3", text, reading, length=T5_TOKENS
        )
        return hidden.to(plan.dtype)
