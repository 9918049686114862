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
from gpu_runtime.controls.unet import prepare_controls, residuals
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.families.guidance import combine, embedded_scales, gather, with_lent
from gpu_runtime.families.starting import Starts
from gpu_runtime.ip_adapters import cross_attention
from gpu_runtime.ip_adapters.attending import attending
from gpu_runtime.ip_adapters.kinds import unet_kind
from gpu_runtime.ip_adapters.reading import PictureReader
from gpu_runtime.messages import ImageRequest
from gpu_runtime.prompts.clip import ClipReader, final_norm, hidden_layer
from gpu_runtime.prompts.pairs import encode_pair, shape_of
from gpu_runtime.prompts.reading import Reading, reading_of
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
        self._prompts = source.prompts
        self._lend = source.lend
        kind = unet_kind(self._parts.unet)
        self._seer = PictureReader(kind=kind, plan=source.plan, lend=source.lend, kept=source.prompts)
        self._encoders = source.identity("tokenizer", "text_encoder")
        self._chunk = int(self._parts.tokenizer.model_max_length)
        samplers = SamplerFactory(self._parts.scheduler_config, self._plan.device)
        self._starts = Starts(self._parts.unet, self._parts.vae, samplers, self._plan.device)
        self._scale_width: int | None = self._parts.unet.config.time_cond_proj_dim
        """Of the guidance embedding, for UNets distilled to take the scale as an input; else None."""

    @property
    def vae(self) -> Any:
        """The checkpoint's own autoencoder."""
        return self._parts.vae

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        """Encode the pictures and the prompts, the negative one only where it counts.

        Raises UnsupportedCombination.
        """
        if self._parts.unet.config.class_embed_type is not None:
            raise UnsupportedCombination("this checkpoint makes variations of an image, none from a prompt")
        loras = self._adapters.uses(request.loras, request.checkpoint.family, self._networks)
        reading = reading_of(request, loras, self._adapters)
        is_guided = request.guidance_scale > 1 and self._scale_width is None
        negative_prompt = request.negative_prompt if is_guided else None
        positive, negative = encode_pair(
            reading, request.prompt, negative_prompt, self._encode_text, chunk=self._chunk
        )
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
        return self._starts.row(request, index, conditioning, start)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        """Gather one call: conditional rows of all images, then unconditional rows of the guided ones."""
        inputs = with_lent(gather(rows, self._plan), self._lend)
        if self._scale_width is None:
            return inputs
        scales = embedded_scales(rows, self._scale_width, self._plan)
        return replace(inputs, extra={"timestep_cond": scales.to(self._plan.dtype)})

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        """The UNet's raw prediction for these forward rows, float32 [len, C, h, w]."""
        unet, pictures = self._parts.unet, inputs.prompts_of_pictures[part]
        with (
            applied(unet, "unet", inputs.loras[part]),
            attending(unet, pictures, inputs.networks, cross_attention.attach),
        ):
            predicted: Tensor = unet(
                inputs.latents[part],
                inputs.timesteps[part],
                encoder_hidden_states=inputs.context[part],
                **{name: values[part] for name, values in inputs.extra.items()},
                **residuals(inputs, part),
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

    def _encode_text(self, reading: Reading, text: str, chunks: int | None) -> TextEncoding:
        key = (self._encoders, text, reading.key, chunks)
        return self._prompts.get(key, lambda: self._run_text_encoder(text, reading, chunks))

    def _run_text_encoder(self, text: str, reading: Reading, chunks: int | None) -> TextEncoding:
        """[1, 77 a chunk, width] (the tokenizer's length)."""
        tokenizer, encoder = self._parts.tokenizer, self._parts.text_encoder
        # Few checkpoints mask the padding; those that do say so in the text encoder's configuration.
        is_masked = bool(encoder.config.to_dict().get("use_attention_mask", False))
        reader = ClipReader(tokenizer, encoder, "text_encoder", reading, self._chunk, is_masked)

        def pick(output: Any) -> Tensor:  # a transformers output
            if not reading.clip_skip:
                last: Tensor = output[0]
                return last
            skipped: Tensor = final_norm(encoder)(hidden_layer(output, reading.clip_skip + 1))
            return skipped

        encoded = reader.encode(text, pick=pick, chunks=chunks, output_hidden_states=True)
        return TextEncoding(tokens=encoded.tokens.to(dtype=self._plan.dtype))
