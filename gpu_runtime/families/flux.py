"""FLUX.1: T5 for the prompt's tokens, CLIP for its summary, a transformer over packed latents.

A rectified flow with 16 latent channels; the transformer sees 2 x 2 latent pixels as one token. Dev and
Kontext were distilled to take the guidance scale as an input, schnell takes none; an unconditional row and
with it an effect of the negative prompt come with `true_guidance_scale` above 1.

Every checkpoint begins from an image or a part of it where a request brings one. Fill takes image and mask as
further channels, Kontext takes references as further tokens and works without them like dev. Checkpoints that
need a control image are refused.

References: diffusers' FluxPipeline, FluxImg2ImgPipeline, FluxInpaintPipeline, FluxFillPipeline and
FluxKontextPipeline. In float32 an image from here equals theirs (tests/gpu_runtime/test_family_equality.py,
test_transformer_families.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.controls.flux import prepare_controls, residuals
from gpu_runtime.controls.use import ControlUse, drawn
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.families.flow_pictures import InitImage, begin_from, read_init_image, strength_of
from gpu_runtime.families.flux_fill import FillInput, read_fill_input
from gpu_runtime.families.flux_kontext import VARIANT, References, read_references
from gpu_runtime.families.flux_tokens import PATCH, packed, positions, unpacked
from gpu_runtime.families.guidance import combine, gather, with_lent
from gpu_runtime.families.image_inputs import latent_sides, require_pictures
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.host_values import on_device
from gpu_runtime.ip_adapters import flux_attention
from gpu_runtime.ip_adapters.attending import attending
from gpu_runtime.ip_adapters.kinds import flux_kind
from gpu_runtime.ip_adapters.reading import PictureReader
from gpu_runtime.messages import ImageRequest
from gpu_runtime.prompts.clip import ClipReader
from gpu_runtime.prompts.reading import Reading, reading_of
from gpu_runtime.prompts.t5 import encode_t5
from gpu_runtime.samplers import SchedulerConfig
from gpu_runtime.sampling.variations import variation_of
from gpu_runtime.weights.source import WeightsSource

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What the pictures of one request became."""

    init: InitImage | None
    fill: FillInput | None
    """For Fill alone, which always has one."""
    references: References | None


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
        self._prompts = source.prompts
        self._lend = source.lend
        kind = flux_kind(self._parts.transformer)
        self._seer = PictureReader(kind=kind, plan=source.plan, lend=source.lend, kept=source.prompts)
        self._encoders = source.identity("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")
        config = self._parts.scheduler_config
        self._samplers = FlowSamplerFactory(config, self._plan.device, starts_even=True)
        self._vae_factor: int = 2 ** (len(self._parts.vae.config.block_out_channels) - 1)
        self._embeds_guidance = bool(self._parts.transformer.config.guidance_embeds)
        self._channels = int(self._parts.transformer.config.in_channels) // PATCH**2
        self._latent_channels = int(self._parts.vae.config.latent_channels)
        self._t5_tokens = DEV_TOKENS if self._embeds_guidance else SCHNELL_TOKENS

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
        takes_mask = require_pictures(
            request,
            self._channels,
            self._latent_channels,
            # A mask comes at full resolution, one channel for each image pixel of a latent pixel.
            mask_channels=self._vae_factor**2,
            takes_references=request.checkpoint.variant == VARIANT,
        )
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        reading = reading_of(request, loras, self._adapters)
        is_guided = request.true_guidance_scale > 1
        pictures = self._read_pictures(request, vae or self._parts.vae, takes_mask)
        return Conditioning(
            positive=self._encode_text(reading, request.prompt),
            negative=self._encode_text(reading.negative, request.negative_prompt) if is_guided else None,
            guidance_scale=request.true_guidance_scale,
            embedded_scale=request.guidance_scale,
            loras=loras,
            shape=pictures.references.shape if pictures.references else (),
            pictures=pictures,
            controls=self._read_controls(request, vae or self._parts.vae),
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
            image_tokens=(height // PATCH) * (width // PATCH),
            schedule=request.schedule,
            strength=strength_of(request, start),
            begin_at=start.begin_at,
            end_at=start.end_at,
        )
        sampler.variation = variation_of(request, index, factor=self._vae_factor)
        # Before all else: the order of draws of the reference.
        controls = drawn(conditioning.controls, sampler.generator)
        pictures: Pictures = conditioning.pictures
        shape = (self._latent_channels, height, width)
        begun = begin_from(sampler, shape, start=start, init=pictures.init, vae=self._parts.vae)
        return Row(
            conditioning=replace(conditioning, controls=controls) if controls else conditioning,
            sampler=sampler,
            latents=begun.latents,
            # After the noise: the order of draws of the reference.
            channels=pictures.fill.channels(sampler.generator) if pictures.fill else None,
            after_step=begun.after_step,
        )

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        inputs = with_lent(gather(rows, self._plan), self._lend)
        return replace(inputs, extra=self._extra([*rows, *(rows[i] for i in inputs.guided)]))

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The transformer's raw prediction for these forward rows, float32 [len, C, h, w]."""
        latents, pooled = inputs.latents[part], inputs.pooled
        guidance, seen = inputs.extra["guidance"], inputs.prompts_of_pictures[part]
        tokens, where = _tokens(inputs, part)
        transformer = self._parts.transformer
        with (
            applied(transformer, "transformer", inputs.loras[part]),
            attending(transformer, seen, inputs.networks, flux_attention.attach),
        ):
            predicted: Tensor = transformer(
                hidden_states=tokens,
                # The transformer multiplies by 1000 again, in its own dtype: the order of the reference.
                timestep=inputs.timesteps[part].to(self._plan.dtype) / 1000,
                guidance=guidance[part] if self._embeds_guidance else None,
                pooled_projections=None if pooled is None else pooled[part],
                encoder_hidden_states=inputs.context[part],
                txt_ids=torch.zeros((inputs.context.shape[1], 3), device=latents.device),
                img_ids=where,
                return_dict=False,
                **residuals(inputs, part, transformer, guidance),
            )[0]
        own = (latents.shape[-2] // PATCH) * (latents.shape[-1] // PATCH)
        # float32 from here on: guidance subtracts two nearly equal numbers and samplers integrate.
        return unpacked(predicted[:, :own].float(), latents[:, : self._latent_channels])

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
        return latent_sides(request, factor=self._vae_factor, patch=PATCH)

    def _read_pictures(self, request: ImageRequest, vae: Any, takes_mask: bool) -> Pictures:
        """`takes_mask`: whether the transformer does. `vae` is one of diffusers' autoencoders, untyped."""
        fill = None
        if takes_mask and request.image is not None and request.mask is not None:
            size = (request.width, request.height)
            fill = read_fill_input(request.image, request.mask, size, vae, self._vae_factor)
        return Pictures(
            init=read_init_image(request, vae, keeps_by_mask=not takes_mask),
            fill=fill,
            references=read_references(request.references, vae, self._plan.dtype),
        )

    def _read_controls(self, request: ImageRequest, vae: Any) -> tuple[ControlUse, ...]:
        """`vae` is one of diffusers' autoencoders, untyped. Raises UnsupportedCombination."""
        if request.controls and request.references:
            raise UnsupportedCombination("ControlNets do not go together with reference images")
        return prepare_controls(request, self._parts.transformer.config, vae, self._plan, self._lend)

    def _extra(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """What the transformer takes besides, for these forward rows, all of one shape."""
        scales = [
            row.conditioning.embedded_scale for row in rows if row.conditioning.embedded_scale is not None
        ]
        # For ControlNets, too, which may take it where the transformer does not.
        extra = {"guidance": on_device(scales, dtype=torch.float32, device=self._plan.device)}
        pictures: list[Pictures] = [row.conditioning.pictures for row in rows]
        references = [each.references for each in pictures if each.references is not None]
        if references:
            extra["references"] = torch.cat([each.tokens for each in references])
            extra["reference_positions"] = torch.stack([each.positions for each in references])
        return extra

    def _encode_text(self, reading: Reading, text: str) -> TextEncoding:
        key = (self._encoders, self._t5_tokens, text, reading.key)
        return self._prompts.get(key, lambda: self._run_text_encoders(text, reading))

    def _run_text_encoders(self, text: str, reading: Reading) -> TextEncoding:
        """T5's hidden states [1, 256 or 512, width] and CLIP's summary [1, width] of the first 77 tokens."""
        parts, dtype = self._parts, self._plan.dtype
        length = int(parts.tokenizer.model_max_length)
        reader = ClipReader(parts.tokenizer, parts.text_encoder, "text_encoder", reading, length, is_cut=True)
        summary = reader.encode(text, pick=lambda output: output[0]).first.pooler_output
        tokens = encode_t5(
            parts.tokenizer_2, parts.text_encoder_2, "text_encoder_2", text, reading, length=self._t5_tokens
        )
        return TextEncoding(tokens=tokens.to(dtype), pooled=summary.to(dtype))


def _tokens(inputs: ForwardInputs, part: slice) -> tuple[Tensor, Tensor]:
    """The transformer's image tokens [len, tokens, channels] and where they stand, float32 [tokens, 3]."""
    latents, references = inputs.latents[part], inputs.extra.get("references")
    tokens, where = packed(latents), positions(latents)
    if references is None:
        return tokens, where
    # Rows of one call have references of the same sizes, and so the same positions.
    where = torch.cat([where, inputs.extra["reference_positions"][0]])
    return torch.cat([tokens, references[part]], dim=1), where
