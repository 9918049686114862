"""Guidance, the same for every family by definition: which rows a call has, and what becomes of them.

A guided image brings two forward rows, a conditional and an unconditional one. An image whose network was
distilled to take the guidance scale as an input brings one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.controls.use import ControlUse, acting
from gpu_runtime.devices import DevicePlan
from gpu_runtime.families.family import ForwardInputs, Row, TextEncoding
from gpu_runtime.host_values import on_device, to_device
from gpu_runtime.ip_adapters.use import PicturePrompt
from gpu_runtime.weights.loans import Lend, Loan


def gather(rows: Sequence[Row], plan: DevicePlan) -> ForwardInputs:
    """One call's inputs: conditional rows of all images, then unconditional rows of the guided ones.

    `pooled` is filled where the prompts have it; `extra` is the family's business. Changes no row.
    """
    guided = tuple(i for i, row in enumerate(rows) if row.conditioning.negative is not None)
    scaled = [_scaled(row) for row in rows]
    times = [row.sampler.timestep for row in rows]
    scales = [rows[i].conditioning.guidance_scale for i in guided]
    prompts = [row.conditioning.positive for row in rows]
    prompts += [row.conditioning.negative for row in rows if row.conditioning.negative is not None]
    return ForwardInputs(
        latents=torch.cat([*scaled, *(scaled[i] for i in guided)]).to(plan.dtype),
        timesteps=_column([*times, *(times[i] for i in guided)], plan.device),
        context=torch.cat([prompt.tokens for prompt in prompts]),
        guided=guided,
        guidance=_column(scales, plan.device).view(-1, 1, 1, 1),
        pooled=_pooled(prompts),
        loras=_loras(rows, guided),
        controls=_controls(rows, guided),
        prompts_of_pictures=_prompts_of_pictures(rows, guided),
    )


def with_lent(inputs: ForwardInputs, lend: Lend) -> ForwardInputs:
    """The inputs with the networks that its ControlNets and IP-adapters are. Raises as `Lend`."""
    loans: dict[Loan, None] = dict.fromkeys(use.loan for use in chain.from_iterable(inputs.controls))
    loans |= dict.fromkeys(prompt.loan for prompt in chain.from_iterable(inputs.prompts_of_pictures))
    return replace(inputs, networks=lend(loans)) if loans else inputs


def combine(prediction: Tensor, inputs: ForwardInputs) -> Tensor:
    """unconditional + scale * (conditional - unconditional); unguided images stay as they are.

    float32 [B, C, h, w] to float32 [images, C, h, w].
    Source: Ho and Salimans 2022, arXiv:2207.12598, with the weight as in Imagen (1 is no guidance).
    """
    images = prediction.shape[0] - len(inputs.guided)
    conditional, unconditional = prediction[:images], prediction[images:]
    if len(inputs.guided) == images:
        # All of them, in their order: the usual call needs no index.
        return unconditional + inputs.guidance * (conditional - unconditional)
    combined = conditional.clone()
    if inputs.guided:
        which = on_device(inputs.guided, dtype=torch.int64, device=prediction.device)
        combined[which] = unconditional + inputs.guidance * (combined[which] - unconditional)
    return combined


def embedded_scales(rows: Sequence[Row], width: int, plan: DevicePlan) -> Tensor:
    """Sinusoidal embedding of each image's guidance scale, for UNets distilled with it: [images, width].

    float32 on the device. The embedded quantity is 1000 (scale - 1).
    Source: Luo et al. 2023, arXiv:2310.04378, after Kingma et al. 2021.
    """
    half = width // 2
    # On the CPU and in this order of operations: angles reach 10,000 radians, where the last bit counts.
    step = torch.log(torch.tensor(10000.0)) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -step)
    scales = torch.tensor([row.conditioning.guidance_scale - 1 for row in rows], dtype=torch.float32)
    angles = (scales * 1000.0)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return to_device(torch.nn.functional.pad(embedding, (0, width % 2)), plan.device)


def _scaled(row: Row) -> Tensor:
    """What the denoiser takes of a row: the latents at its scale, then the further channels as they are."""
    latents = row.sampler.scale(row.latents)
    return latents if row.channels is None else torch.cat([latents, row.channels], dim=1)


def _pooled(prompts: Sequence[TextEncoding]) -> Tensor | None:
    pooled = [prompt.pooled for prompt in prompts if prompt.pooled is not None]
    return torch.cat(pooled) if pooled else None


def _loras(rows: Sequence[Row], guided: Sequence[int]) -> tuple[tuple[LoraUse, ...], ...]:
    """An unconditional row has the adapters of its image; empty where no image has any."""
    own = [row.conditioning.loras for row in rows]
    return (*own, *(own[i] for i in guided)) if any(own) else ()


def _controls(rows: Sequence[Row], guided: Sequence[int]) -> tuple[tuple[ControlUse, ...], ...]:
    """Both forward rows of an image have the same, but for those that keep to the prompt's.

    Empty where none acts now.
    """
    own = [
        acting(row.conditioning.controls, *row.sampler.place) if row.conditioning.controls else ()
        for row in rows
    ]
    without_prompt = (tuple(use for use in own[i] if use.is_for_all_rows) for i in guided)
    return (*own, *without_prompt) if any(own) else ()


def _prompts_of_pictures(rows: Sequence[Row], guided: Sequence[int]) -> tuple[tuple[PicturePrompt, ...], ...]:
    """An unconditional row has its image's adapters with what stands for no picture."""
    uses = [row.conditioning.prompts_of_pictures for row in rows]
    if not any(uses):
        return ()
    conditional = [tuple(use.conditional for use in own) for own in uses]
    unconditional = [tuple(use.unconditional for use in uses[i] if use.unconditional) for i in guided]
    return (*conditional, *unconditional)


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    return on_device(values, dtype=torch.float32, device=device)
