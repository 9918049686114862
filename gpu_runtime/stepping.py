"""One sampler step for many images: together where they have the same fast sampler, else one by one.

An image steps to the same bits either way: rules work element by element, with each image's own numbers and
its own noise, in the order of the noise scheduler's class. Together, a group costs a handful of device
operations whatever its size.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from gpu_runtime.families.family import Row
from gpu_runtime.host_values import to_device
from gpu_runtime.sampling.plans import Inputs, Plan
from gpu_runtime.sampling.scheduler_sampler import SchedulerSampler

LARGEST_ON_CPU_BYTES = 16 * 1024
"""Latents up to which rows on the CPU are stepped together (those of 256 x 256 pixels): above, moving them
takes longer than what is saved, see tests/bench/bench_stepping.py. On accelerators it is always done."""


def advance(rows: Sequence[Row], predictions: Sequence[Tensor]) -> list[Tensor | Exception]:
    """The latents of each row one call later, float32 [1, C, h, w], after its `after_step`.

    Takes a guided prediction for each row, float32 [1, C, h, w] on the device. A row's exception is in its
    place and that row's alone; then its sampler has not moved, or is not to be used again.
    """
    results: dict[int, Tensor | Exception] = {}
    for members in _groups(rows):
        together = _advance_together([rows[i] for i in members], [predictions[i] for i in members])
        for position, index in enumerate(members):
            if together is None:
                results[index] = _advance_alone(rows[index], predictions[index])
            else:
                results[index] = _finished(rows[index], together[position])
    return [results[index] for index in range(len(rows))]


def _groups(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows that are stepped together."""
    groups: dict[Hashable, list[int]] = {}
    for index, row in enumerate(rows):
        plan = _plan_of(row)
        key: Hashable = index if plan is None else (plan.rule, row.latents.shape, row.latents.device)
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def _plan_of(row: Row) -> Plan | None:
    """The plan by which the row is stepped together with others; None where it is better stepped alone."""
    latents = row.latents
    is_large = latents.numel() * latents.element_size() > LARGEST_ON_CPU_BYTES
    if not isinstance(row.sampler, SchedulerSampler) or (latents.device.type == "cpu" and is_large):
        return None
    return row.sampler.plan


def _advance_together(rows: Sequence[Row], predictions: Sequence[Tensor]) -> list[Tensor] | None:
    """None where they cannot; then no sampler has moved."""
    samplers = [row.sampler for row in rows if isinstance(row.sampler, SchedulerSampler)]
    plan = _plan_of(rows[0])
    if plan is None or len(samplers) < len(rows):
        return None
    states = [sampler.generator.get_state() for sampler in samplers] if plan.draws else []
    try:
        moved, remembered = plan.rule(_inputs(rows, samplers, predictions, plan))
    except Exception:  # noqa: BLE001 - whose fault it is shows when each is stepped alone
        for sampler, state in zip(samplers, states, strict=False):
            sampler.generator.set_state(state)
        return None
    for index, sampler in enumerate(samplers):
        sampler.moved(remembered[index : index + 1] if remembered is not None else None)
    return list(moved.split(1))


def _inputs(
    rows: Sequence[Row], samplers: Sequence[SchedulerSampler], predictions: Sequence[Tensor], plan: Plan
) -> Inputs:
    latents = torch.cat([row.latents for row in rows])
    numbers = torch.tensor([sampler.numbers for sampler in samplers], dtype=torch.float32)
    columns = to_device(numbers, latents.device)[:, :, None, None, None].unbind(1)
    noise = before = None
    if plan.draws:
        noise = torch.cat([sampler.draw_noise(tuple(latents.shape[1:])) for sampler in samplers])
    if plan.remembers:
        # Where there is nothing yet, anything finite: its share is 0.
        known = [sampler.remembered for sampler in samplers]
        before = torch.cat(
            [row.latents if each is None else each for row, each in zip(rows, known, strict=True)]
        )
    return Inputs(
        latents=latents, prediction=torch.cat(list(predictions)), numbers=columns, noise=noise, before=before
    )


def _advance_alone(row: Row, prediction: Tensor) -> Tensor | Exception:
    try:
        moved = row.sampler.advance(prediction, row.latents)
    except Exception as error:  # noqa: BLE001 - handed to the caller, who blames the row
        return error
    return _finished(row, moved)


def _finished(row: Row, moved: Tensor) -> Tensor | Exception:
    try:
        return row.after_step(moved) if row.after_step else moved
    except Exception as error:  # noqa: BLE001 - handed to the caller, who blames the row
        return error
