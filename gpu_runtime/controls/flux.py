"""ControlNets of FLUX.1: what they add after the transformer's blocks of both kinds.

Two makes: most see the picture as latents, XLabs' see its pixels. Union networks are told the kind of map by
a token before the prompt.

Reference: diffusers' FluxControlNetPipeline and its forms for image to image and inpainting. With true
guidance the unconditional row gets what its conditional row got, as there. Where ControlNets of different
depths act together each one's results are laid over all blocks; diffusers lays out the shorter sum.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.controls.blocks import BlockResults, for_each_block
from gpu_runtime.controls.fitting import require_alike, require_mode
from gpu_runtime.controls.preparing import Config, prepare
from gpu_runtime.controls.runs import Run, plan_runs
from gpu_runtime.controls.use import ControlUse
from gpu_runtime.devices import DevicePlan
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.families.flux_tokens import PATCH, packed, positions
from gpu_runtime.families.pictures import Posterior, encoded, pixels_of
from gpu_runtime.messages import ControlRef, ImageInput, ImageRequest
from gpu_runtime.weights.loans import Lend

SHARED_SETTINGS = (
    "num_attention_heads",
    "attention_head_dim",
    "joint_attention_dim",
    "pooled_projection_dim",
)
"""Settings of a ControlNet that are those of its transformer."""


def prepare_controls(
    request: ImageRequest, transformer_config: Config, vae: Any, plan: DevicePlan, lend: Lend
) -> tuple[ControlUse, ...]:
    """A request's ControlNets with their pictures, of which latents are yet to be drawn for each image.

    Any: diffusers' classes are untyped. Raises CheckpointMissing, WeightsCorrupt, UnsupportedCombination, and
    as `Lend`.
    """

    def see(image: ImageInput, field: str, config: Config) -> Tensor | Posterior:
        pixels = pixels_of(image, request.width, request.height, field)
        sees_pixels = config["conditioning_embedding_channels"] is not None
        return pixels.to(plan.device, plan.dtype) if sees_pixels else encoded(vae, pixels)

    tokens = int(vae.config.latent_channels) * PATCH**2
    fits = partial(_require_fitting, transformer=transformer_config, tokens=tokens)
    return prepare(request, plan.dtype, lend, require_fitting=fits, see=see)


def residuals(inputs: ForwardInputs, part: slice, transformer: Any, guidance: Tensor) -> dict[str, Any]:
    """What to pass to the transformer for these forward rows: nothing where no ControlNet acts.

    `guidance` is each forward row's embedded scale, float32 [B]. Any: the transformer is untyped in
    diffusers; lists of tensors by argument.
    """
    if not any(inputs.controls[part]):
        return {}
    rows = len(range(inputs.latents.shape[0])[part])
    double, single = len(transformer.transformer_blocks), len(transformer.single_transformer_blocks)
    doubles, singles = [], []
    for run in plan_runs(inputs, part, source_of=inputs.owner):
        network = inputs.networks[run.loan]
        results, single_results = _call(network, run, inputs, guidance)
        repeats = network.input_hint_block is not None
        if results:
            doubles.append(_laid_out(run, results, double, repeats=repeats))
        if single_results:
            singles.append(_laid_out(run, single_results, single))
    return {
        "controlnet_block_samples": for_each_block(doubles, rows=rows, blocks=double),
        "controlnet_single_block_samples": for_each_block(singles, rows=rows, blocks=single),
    }


def _require_fitting(
    title: str, ref: ControlRef, config: Config, *, transformer: Config, tokens: int
) -> None:
    """`tokens` is how many channels a token of latents has; inpainting ControlNets take a mask as more."""
    shared = {name: transformer[name] for name in SHARED_SETTINGS}
    require_alike(title, config, shared | {"in_channels": tokens})
    require_mode(title, ref.mode, config["num_mode"])


def _call(
    network: Any, run: Run, inputs: ForwardInputs, guidance: Tensor
) -> tuple[list[Tensor] | None, list[Tensor] | None]:
    """Results for blocks of both kinds, unscaled, for the run's own rows."""
    tokens = network.config.in_channels
    latents = run.source_rows(inputs.latents)[:, : tokens // PATCH**2]
    pictures = run.pictures()
    results, single_results = network(
        hidden_states=packed(latents),
        controlnet_cond=pictures if network.input_hint_block is not None else packed(pictures),
        controlnet_mode=run.modes(latents.device) if network.union else None,
        timestep=run.source_rows(inputs.timesteps).to(latents.dtype) / 1000,
        guidance=run.source_rows(guidance) if network.config.guidance_embeds else None,
        pooled_projections=None if inputs.pooled is None else run.source_rows(inputs.pooled),
        encoder_hidden_states=run.source_rows(inputs.context),
        txt_ids=torch.zeros((inputs.context.shape[1], 3), device=latents.device),
        img_ids=positions(latents),
        return_dict=False,
    )
    return results, single_results


def _laid_out(run: Run, results: list[Tensor], blocks: int, *, repeats: bool = False) -> BlockResults:
    """Each result for as many neighbouring blocks, or the whole row of them over and over."""
    count = len(results)
    interval = math.ceil(blocks / count)
    if repeats:
        return BlockResults(run=run, results=results, result_of=lambda block: block % count)
    return BlockResults(run=run, results=results, result_of=lambda block: block // interval)
