"""Puts the weight store's run-time half together for one engine, from its configuration and device."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import DevicePlan
from gpu_runtime.execution.preparing import Execution
from gpu_runtime.families.family import Family
from gpu_runtime.families.registry import LoadFamily
from gpu_runtime.feature_cache.memory import FeatureMemory
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.prompts.cache import PromptCache
from gpu_runtime.weights.budget import (
    CPU_MOST,
    CPU_SHARE,
    MIB,
    STAGING_SHARE,
    ActivationPeaks,
    Allowance,
    configured_bytes,
)
from gpu_runtime.weights.device_memory import free_host_bytes, usable_device_bytes
from gpu_runtime.weights.loans import Loan
from gpu_runtime.weights.residency import AskNetwork, Residency
from gpu_runtime.weights.slots import SlotPool
from gpu_runtime.weights.source import ResidentSource
from gpu_runtime.weights.spare import Spare, Spares
from gpu_runtime.weights.staging import Staging

GENERIC = "generic"
"""Entry of the family registry that takes every family without one of its own, as a whole pipeline."""


def open_residency(
    config: EngineConfig,
    plan: DevicePlan,
    *,
    families: Mapping[str, LoadFamily],
    peaks: ActivationPeaks,
    wanted: Callable[[], Collection[str]],
    features: FeatureMemory | None = None,
    beside: Sequence[Spare] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Residency:
    """An empty residency for this device. `wanted` and `clock` are as in `Residency`.

    `features` and what is `beside` lie on the device with the weights, as graphs do, and are given up before
    any of those.
    """
    execution = Execution(config, plan)
    graphs = [execution.graphs] if execution.graphs else []
    spare = Spares([features or FeatureMemory(), *graphs, *beside])
    adapters = AdapterBank(config.lora_budget_mb * MIB)
    prompts = PromptCache(config.prompt_cache_entries)

    def load(checkpoint: CheckpointRef, ask_network: AskNetwork) -> Family:
        # Ordinary tensors although every caller is in inference mode: what is loaded outlives the call, and
        # slots write other weights over it outside of that mode.
        with torch.inference_mode(False):
            source = ResidentSource(
                checkpoint.path,
                plan,
                ask_network=ask_network,
                adapters=adapters,
                prompts=prompts,
                lend=partial(lend, checkpoint.digest),
            )
            loader = families.get(checkpoint.family) or families[GENERIC]
            return loader(checkpoint, source)

    def lend(beside: str, loans: Collection[Loan]) -> Mapping[Loan, Any]:
        return residency.borrow(loans, beside=beside)

    free_bytes = free_host_bytes()
    staging_bytes = configured_bytes(config.staging_budget_mb) or round(STAGING_SHARE * free_bytes)
    residency = Residency(
        load,
        device=plan.device,
        dtype=plan.dtype,
        pool=SlotPool(
            is_copying=plan.device.type != "cpu",
            is_channels_last=plan.is_channels_last,
            prepare=execution.prepare,
        ),
        staging=Staging(plan.device, budget_bytes=staging_bytes),
        allowance=allowance_of(config, plan.device, peaks, spare=spare, clock=clock, free_host=free_bytes),
        spare=spare.drop,
        is_whole=lambda family: family == GENERIC or family not in families,
        wanted=wanted,
        keep_alive_s=config.keep_alive_s,
        clock=clock,
    )
    return residency


def allowance_of(
    config: EngineConfig,
    device: torch.device,
    peaks: ActivationPeaks,
    *,
    spare: Spare,
    clock: Callable[[], float],
    free_host: int,
) -> Callable[[], Allowance]:
    """How much weight the device may hold now: as configured, or by what is free there."""
    configured = configured_bytes(config.weights_budget_mb)
    if configured is not None:
        fixed = Allowance(target_bytes=configured, most_bytes=configured)
        return lambda: fixed
    if device.type == "cuda":
        adapters = config.lora_budget_mb * MIB

        def on_device() -> Allowance:
            usable = usable_device_bytes(device)
            held = spare.size_bytes
            reserve = peaks.reserve(usable, now=clock()) + adapters + held
            return Allowance(target_bytes=max(0, usable - reserve), most_bytes=usable, spare_bytes=held)

        return on_device
    # Once, at the start: later the weights themselves are part of what is not free.
    target, most = round(CPU_SHARE * free_host), round(CPU_MOST * free_host)

    def on_host() -> Allowance:
        held = spare.size_bytes
        return Allowance(target_bytes=max(0, target - held), most_bytes=most, spare_bytes=held)

    return on_host
