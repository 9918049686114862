"""Stable Diffusion XL: two CLIP text encoders, a UNet that also takes image sizes, KL autoencoder.

Serves base, turbo, lightning, LCM and inpainting checkpoints, epsilon and v-prediction; which one stands in
the checkpoint's configurations. Serves the refiner too: it has the second text encoder alone, takes an
aesthetic score in place of the target size, and makes nothing from a prompt.

Reference: diffusers' StableDiffusionXL pipelines with original and target size equal to the image's, no crop
and the aesthetic scores that they have by default. In float32 an image from here equals theirs
(tests/gpu_runtime/test_family_equality.py and test_image_families.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.controls.unet import prepare_controls, residuals
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.families.guidance import combine, embedded_scales, gather, with_lent
from gpu_runtime.families.starting import Starts
from gpu_runtime.host_values import on_device
from gpu_runtime.ip_adapters import cross_attention
from gpu_runtime.ip_adapters.attending import attending
from gpu_runtime.ip_adapters.kinds import unet_kind
from gpu_runtime.ip_adapters.reading import PictureReader
from gpu_runtime.messages import ImageRequest
from gpu_runtime.prompts.clip import ClipReader, hidden_layer
from gpu_runtime.prompts.pairs import encode_pair, shape_of
from gpu_runtime.prompts.reading import Reading, reading_of
from gpu_runtime.samplers import SamplerFactory, SchedulerConfig
from gpu_runtime.sampling.schedules import ALIGNED_SDXL
from gpu_runtime.weights.source import WeightsSource

TEXT_ENCODERS = {
    "text_encoder": ("tokenizer", "CLIPTextModel"),
    "text_encoder_2": ("tokenizer_2", "CLIPTextModelWithProjection"),
}
"""Tokenizer and class of each; a refiner has the second one alone."""

AESTHETIC_SCORE = 6.0
UNWANTED_AESTHETIC_SCORE = 2.5
"""What a refiner is asked for and away from. Source: the defaults of StableDiffusionXLImg2ImgPipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The networks of one checkpoint. Any: diffusers' and transformers' classes reach us untyped."""

    tokenizers: Mapping[str, Any]
    """By text encoder, the first one first; the second one alone for a refiner."""
    text_encoders: Mapping[str, Any]
    unet: Any
    vae: Any
    scheduler_config: SchedulerConfig


def load_components(source: WeightsSource) -> Components:
    """Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination."""
    names = [name for name in TEXT_ENCODERS if name != "text_encoder" or source.has(name)]
    return Components(
        tokenizers={name: source.tokenizer(TEXT_ENCODERS[name][0]) for name in names},
        text_encoders={name: source.network(name, allowed=(TEXT_ENCODERS[name][1],)) for name in names},
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
        self._takes_score = bool(source.settings().get("requires_aesthetics_score", False))
        _require_size_numbers(self._parts, 5 if self._takes_score else 6)
        self._plan = source.plan
        self._adapters = source.adapters
        self._networks = {"unet": self._parts.unet, **self._parts.text_encoders}
        self._prompts = source.prompts
        self._lend = source.lend
        kind = unet_kind(self._parts.unet)
        self._seer = PictureReader(kind=kind, plan=source.plan, lend=source.lend, kept=source.prompts)
        tokenizers = (TEXT_ENCODERS[name][0] for name in self._parts.text_encoders)
        self._encoders = source.identity(*self._parts.text_encoders, *tokenizers)
        self._chunk = int(next(iter(self._parts.tokenizers.values())).model_max_length)
        samplers = SamplerFactory(self._parts.scheduler_config, self._plan.device, aligned=ALIGNED_SDXL)
        self._starts = Starts(self._parts.unet, self._parts.vae, samplers, self._plan.device)
        self._is_refiner = "text_encoder" not in self._parts.text_encoders
        self._scale_width: int | None = self._parts.unet.config.time_cond_proj_dim
        """Of the guidance embedding, for UNets distilled to take the scale as an input; else None."""
        self._zeros_for_empty = bool(source.settings().get("force_zeros_for_empty_prompt", True))
        """Whether an empty negative prompt is zeros, as in training, or the encoded empty text."""

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        """Encode the pictures and the prompts, the negative one only where it counts.

        Raises UnsupportedCombination.
        """
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        reading = reading_of(request, loras, self._adapters)
        is_guided = request.guidance_scale > 1 and self._scale_width is None
        is_zeros = self._zeros_for_empty and not request.negative_prompt
        negative_prompt = request.negative_prompt if is_guided and not is_zeros else None
        positive, negative = encode_pair(
            reading, request.prompt, negative_prompt, self._encode_text, chunk=self._chunk
        )
        if is_guided and is_zeros:
            negative = _zeros_like(positive)
        return Conditioning(
            positive=positive,
            negative=negative,
            guidance_scale=request.guidance_scale,
            loras=loras,
            pictures=self._starts.pictures(request, vae),
            controls=prepare_controls(
                request, self._parts.unet.config, self._parts.vae.config, self._plan, self._lend
            ),
            prompts_of_pictures=self._seer.read(request, is_guided=is_guided),
            shape=shape_of(positive, chunk=self._chunk),
        )

    def begin(
        self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start = WHOLE
    ) -> Row:
        """Noise and sampler of image `index`. Raises UnsupportedCombination."""
        if self._is_refiner and request.image is None and start.latents is None and start.pixels is None:
            raise UnsupportedCombination(
                "a refiner refines another model's image; it makes none from a prompt"
            )
        return self._starts.row(request, index, conditioning, start)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        inputs = with_lent(gather(rows, self._plan), self._lend)
        extra = {"time_ids": self._time_ids(inputs)}
        if self._scale_width is not None:
            scales = embedded_scales(rows, self._scale_width, self._plan)
            extra["timestep_cond"] = scales.to(self._plan.dtype)
        return replace(inputs, extra=extra)

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The UNet's raw prediction for these forward rows, float32 [len, C, h, w]."""
        scales = inputs.extra.get("timestep_cond")
        added = {"time_ids": inputs.extra["time_ids"]}
        if inputs.pooled is not None:
            added["text_embeds"] = inputs.pooled
        unet, pictures = self._parts.unet, inputs.prompts_of_pictures[part]
        with (
            applied(unet, "unet", inputs.loras[part]),
            attending(unet, pictures, inputs.networks, cross_attention.attach),
        ):
            predicted: Tensor = unet(
                inputs.latents[part],
                inputs.timesteps[part],
                encoder_hidden_states=inputs.context[part],
                timestep_cond=None if scales is None else scales[part],
                added_cond_kwargs={name: values[part] for name, values in added.items()},
                return_dict=False,
                **residuals(inputs, part, added=added),
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

    def _time_ids(self, inputs: ForwardInputs) -> Tensor:
        """[B, 6] or for a refiner [B, 5], the denoiser's dtype: the whole image, uncropped.

        bfloat16 holds multiples of 8 and both scores exactly.
        """
        size = [side * self._starts.factor for side in inputs.latents.shape[-2:]]
        images = inputs.latents.shape[0] - len(inputs.guided)
        wanted = [*size, 0, 0, *([AESTHETIC_SCORE] if self._takes_score else size)]
        unwanted = [*size, 0, 0, *([UNWANTED_AESTHETIC_SCORE] if self._takes_score else size)]
        numbers = [wanted] * images + [unwanted] * len(inputs.guided)
        return on_device(numbers, dtype=self._plan.dtype, device=self._plan.device)

    def _encode_text(self, reading: Reading, text: str, chunks: int | None) -> TextEncoding:
        key = (self._encoders, text, reading.key, chunks)
        return self._prompts.get(key, lambda: self._run_text_encoders(text, reading, chunks))

    def _run_text_encoders(self, text: str, reading: Reading, chunks: int | None) -> TextEncoding:
        """[1, 77 a chunk, all widths] (the tokenizers' length)."""
        readers = [
            ClipReader(tokenizer, self._networks[name], name, reading, self._chunk)
            for name, tokenizer in self._parts.tokenizers.items()
        ]
        # An embedding may be longer for one encoder than for the other.
        chunks = chunks or max(len(reader.chunks(text)) for reader in readers)

        def pick(output: Any) -> Tensor:  # a transformers output
            return hidden_layer(output, reading.clip_skip + 2)

        encoded = [
            reader.encode(text, pick=pick, chunks=chunks, output_hidden_states=True) for reader in readers
        ]
        dtype = self._plan.dtype
        tokens = torch.cat([each.tokens for each in encoded], dim=-1)
        return TextEncoding(tokens=tokens.to(dtype), pooled=encoded[-1].first[0].to(dtype))


def _require_size_numbers(parts: Components, count: int) -> None:
    """Refuse a UNet whose added embedding is not made of so many numbers and the pooled prompt."""
    config = parts.unet.config
    if config.addition_embed_type != "text_time":
        raise UnsupportedCombination("this UNet takes no image sizes; it is not of family sdxl")
    pooled_width = parts.text_encoders["text_encoder_2"].config.projection_dim
    width = count * config.addition_time_embed_dim + pooled_width
    if config.projection_class_embeddings_input_dim != width:
        raise UnsupportedCombination(
            f"this UNet's added embedding is {config.projection_class_embeddings_input_dim} wide where its "
            f"text encoder and {count} size numbers make {width}"
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
