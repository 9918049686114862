"""ControlNets of Stable Diffusion 3: what they add after the transformer's blocks.

Reference: diffusers' StableDiffusion3ControlNetPipeline. It encodes the control picture with chance from
torch's global generator, for conditional and unconditional rows by themselves; here that chance is of a
generator of seed 0 for the request and the same for both, so that one picture means one thing for everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.families.pictures import Posterior, encoded, pixels_of, sampled
from gpu_runtime.messages import ControlRef, ImageInput, ImageRequest
from gpu_runtime.weights.loans import Lend

SHARED_SETTINGS = (
    "in_channels",
    "patch_size",
    "num_attention_heads",
    "attention_head_dim",
    "pooled_projection_dim",
)
"""Settings of a ControlNet that are those of its transformer."""


def prepare_controls(
    request: ImageRequest, transformer_config: Config, vae: Any, plan: DevicePlan, lend: Lend
) -> tuple[ControlUse, ...]:
    """A request's ControlNets with their pictures as latents. Any: diffusers' classes are untyped.

    Raises CheckpointMissing, WeightsCorrupt, UnsupportedCombination, and as `Lend`.
    """
    generator = torch.Generator("cpu").manual_seed(0)

    def see(image: ImageInput, field: str, config: Config) -> Tensor:
        posterior = encoded(vae, pixels_of(image, request.width, request.height, field))
        return _latents(posterior, generator, is_shifted=not _has_no_prompt(config)).to(plan.dtype)

    fits = partial(_require_fitting, transformer=transformer_config)
    return prepare(request, plan.dtype, lend, require_fitting=fits, see=see)


def residuals(inputs: ForwardInputs, part: slice, transformer: Any) -> dict[str, Any]:
    """What to pass to the transformer for these forward rows: nothing where no ControlNet acts.

    Any: the transformer is untyped in diffusers; lists of tensors by argument.
    """
    if not any(inputs.controls[part]):
        return {}
    blocks = len(transformer.transformer_blocks)
    runs = [_results(run, inputs, transformer, blocks) for run in plan_runs(inputs, part)]
    rows = len(range(inputs.latents.shape[0])[part])
    return {"block_controlnet_hidden_states": for_each_block(runs, rows=rows, blocks=blocks)}


def _require_fitting(title: str, ref: ControlRef, config: Config, *, transformer: Config) -> None:
    require_alike(title, config, {name: transformer[name] for name in SHARED_SETTINGS})
    if config["joint_attention_dim"] is not None:
        # Without, it looks at no prompt.
        require_alike(title, config, {"joint_attention_dim": transformer["joint_attention_dim"]})
    require_mode(title, ref.mode, None)
    if config["extra_conditioning_channels"]:
        raise UnsupportedCombination(
            f"{title} takes {config['extra_conditioning_channels']} channels beside the picture, such as a "
            "mask; a control image brings none"
        )


def _has_no_prompt(config: Config) -> bool:
    """Whether it was trained with zeros for the pooled prompt; its pictures are not shifted then."""
    return bool(config["force_zeros_for_pooled_projection"])


def _latents(posterior: Posterior, generator: torch.Generator, *, is_shifted: bool) -> Tensor:
    """Float32 [1, C, h, w], on the device."""
    latents = sampled(posterior, generator)
    shift = posterior.config.get("shift_factor") or 0.0
    return latents if is_shifted else latents + shift * posterior.config.scaling_factor


def _results(run: Run, inputs: ForwardInputs, transformer: Any, blocks: int) -> BlockResults:
    network = inputs.networks[run.loan]
    latents = run.source_rows(inputs.latents)[:, : network.config.in_channels]
    # Those without positions of their own take the transformer's.
    hidden = latents if network.config.use_pos_embed else transformer.pos_embed(latents)
    pooled = None if inputs.pooled is None else run.source_rows(inputs.pooled)
    if pooled is not None and _has_no_prompt(network.config):
        pooled = torch.zeros_like(pooled)
    has_context = network.config.joint_attention_dim is not None
    results: Sequence[Tensor] = network(
        hidden_states=hidden,
        timestep=run.source_rows(inputs.timesteps),
        encoder_hidden_states=run.source_rows(inputs.context) if has_context else None,
        pooled_projections=pooled,
        controlnet_cond=run.pictures(),
        return_dict=False,
    )[0]
    interval = blocks / len(results)
    return BlockResults(run=run, results=results, result_of=lambda block: int(block / interval))
