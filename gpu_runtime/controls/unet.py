"""ControlNets of Stable Diffusion 1, 2 and XL: what they add to the UNet's down and middle blocks.

Reference: diffusers' StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline and
StableDiffusionXLControlNetUnionPipeline without `guess_mode`, and their forms for image to image and
inpainting. Where one network reads several pictures and all of their windows have ended it is left out here,
while the union pipeline goes on to call it at scale 0. How controls fade: `runs.FADING`.
Sources: Zhang et al. 2023, arXiv:2302.05543; xinsir's ControlNetPlus for union networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from gpu_runtime.controls.fitting import require_alike, require_mode, require_picture_channels
from gpu_runtime.controls.preparing import Config, prepare
from gpu_runtime.controls.runs import Run, plan_runs
from gpu_runtime.controls.use import ControlUse
from gpu_runtime.devices import DevicePlan
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.families.pictures import unit_pixels_of
from gpu_runtime.host_values import on_device
from gpu_runtime.messages import ControlRef, ImageInput, ImageRequest
from gpu_runtime.weights.loans import Lend

SHARED_SETTINGS = (
    "cross_attention_dim",
    "block_out_channels",
    "layers_per_block",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
)
"""Settings of a ControlNet that are those of its UNet."""


def prepare_controls(
    request: ImageRequest, unet_config: Config, vae_config: Config, plan: DevicePlan, lend: Lend
) -> tuple[ControlUse, ...]:
    """A request's ControlNets with their pictures. Any: diffusers' configurations are untyped.

    Raises CheckpointMissing, WeightsCorrupt, UnsupportedCombination, and as `Lend`.
    """
    denoiser = {name: unet_config[name] for name in SHARED_SETTINGS}
    # Inpainting UNets take more channels, their ControlNets do not.
    denoiser["in_channels"] = vae_config["latent_channels"]

    def see(image: ImageInput, field: str, _config: Config) -> Tensor:
        return unit_pixels_of(image, request.width, request.height, field).to(plan.device, plan.dtype)

    return prepare(
        request, plan.dtype, lend, require_fitting=partial(_require_fitting, denoiser=denoiser), see=see
    )


def residuals(
    inputs: ForwardInputs, part: slice, *, added: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """What to pass to the UNet for these forward rows: nothing where no ControlNet acts.

    `added` is XL's `added_cond_kwargs` for all forward rows. Any: lists and tensors by argument.
    """
    if not any(inputs.controls[part]):
        return {}
    rows = len(range(inputs.latents.shape[0])[part])
    down: Sequence[Tensor] = ()
    middle: Tensor | None = None
    for run in plan_runs(inputs, part):
        network = inputs.networks[run.loan]
        if network.config.global_pool_conditions and not _keep_conditional(run, inputs, part):
            continue
        more_down, more_middle = _call(network, run, inputs, added)
        spread = [run.spread(each, rows, block=block) for block, each in enumerate(more_down)]
        down = [total + each for total, each in zip(down, spread, strict=True)] if down else spread
        spread_middle = run.spread(more_middle, rows, block=len(more_down))
        middle = spread_middle if middle is None else middle + spread_middle
    if middle is None:
        return {}
    return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def _require_fitting(title: str, ref: ControlRef, config: Config, *, denoiser: Config) -> None:
    is_union = config["_class_name"] == "ControlNetUnionModel"
    require_alike(title, config, denoiser)
    require_picture_channels(title, config["conditioning_channels"])
    require_mode(title, ref.mode, config["num_control_type"] if is_union else None)
    if config["class_embed_type"] is not None:
        raise UnsupportedCombination(f"{title} takes a class beside the picture, and there is none")


def _keep_conditional(run: Run, inputs: ForwardInputs, part: slice) -> bool:
    """Networks that pool their results act on conditional rows alone. Returns whether any is left."""
    images = inputs.latents.shape[0] - len(inputs.guided)
    first = range(inputs.latents.shape[0])[part].start
    kept = [(row, entry) for row, entry in zip(run.rows, run.entries, strict=True) if first + row < images]
    entries = [entry for _, entry in kept]
    run.uses = [run.uses[entry] for entry in entries]
    run.sources = [run.sources[entry] for entry in entries]
    run.rows = [row for row, _ in kept]
    run.entries = list(range(len(kept)))
    return bool(kept)


def _call(
    network: Any, run: Run, inputs: ForwardInputs, added: Mapping[str, Tensor] | None
) -> tuple[Sequence[Tensor], Tensor]:
    """Residuals of the down blocks and of the middle, unscaled, for the run's own rows."""
    latents = run.source_rows(inputs.latents)
    arguments: dict[str, Any] = {}
    if run.uses[0][0].is_joined:
        arguments = _joined_pictures(network, run, latents)
    else:
        arguments["controlnet_cond"] = run.pictures()
    down, middle = network(
        latents[:, : network.config.in_channels],
        run.source_rows(inputs.timesteps),
        encoder_hidden_states=run.source_rows(inputs.context),
        added_cond_kwargs={name: run.source_rows(values) for name, values in (added or {}).items()},
        return_dict=False,
        **arguments,
    )
    return down, middle


def _joined_pictures(network: Any, run: Run, latents: Tensor) -> dict[str, Any]:
    first = run.uses[0]
    modes = [use.mode or 0 for use in first]
    present = [float(kind in modes) for kind in range(network.config.num_control_type)]
    kinds = on_device(present, dtype=latents.dtype, device=latents.device)
    return {
        "controlnet_cond": [run.pictures(place) for place in range(len(first))],
        "control_type": kinds.expand(len(run.uses), -1),
        "control_type_idx": modes,
        "conditioning_scale": [use.scale for use in first] if len(first) > 1 else 1.0,
    }
