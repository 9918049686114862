"""User-facing samplers as diffusers noise schedulers, and the sampler state of one image.

Every image owns its noise scheduler and its CPU generator, so its noise depends on its seed alone: not on
the device, the neighbours or the step at which it was paused. Knows nothing about prompts or networks.

Two habits of diffusers' pipelines are repeated here because images depend on them: Stable Diffusion 1 and 2
correct the checkpoint's own scheduler configuration to `steps_offset=1, clip_sample=False`
(`pipeline_config`), and samplers that take `eta` get 0.

This file serves networks that predict noise or velocity on a variance-preserving schedule, and those that
were trained with the preconditioning of Karras et al. (EDM). Rectified flow is in `flow_samplers.py`.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import Sampler


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """One row of the table."""

    scheduler: str
    """Class name in diffusers."""
    overrides: Mapping[str, object] = field(default_factory=dict)
    """Settings that differ from the checkpoint's scheduler configuration."""
    max_steps: int = 150
    """The sampler's own limit where it has one."""


KARRAS = {"use_karras_sigmas": True}
"""Sigma schedule of Karras et al. 2022, arXiv:2206.00364, equation 5."""

UNCLIPPED = {"clip_sample": False}
"""These classes clip to -1..1 where the configuration is silent, which is meant for pixels, not latents."""

SAMPLERS: dict[Sampler, SamplerSpec] = {
    Sampler.EULER: SamplerSpec("EulerDiscreteScheduler"),
    Sampler.EULER_KARRAS: SamplerSpec("EulerDiscreteScheduler", KARRAS),
    Sampler.EULER_A: SamplerSpec("EulerAncestralDiscreteScheduler"),
    Sampler.HEUN: SamplerSpec("HeunDiscreteScheduler"),
    Sampler.KDPM2: SamplerSpec("KDPM2DiscreteScheduler"),
    Sampler.KDPM2_A: SamplerSpec("KDPM2AncestralDiscreteScheduler"),
    Sampler.DPMPP_2M: SamplerSpec("DPMSolverMultistepScheduler"),
    Sampler.DPMPP_2M_KARRAS: SamplerSpec("DPMSolverMultistepScheduler", KARRAS),
    Sampler.DPMPP_2M_SDE: SamplerSpec("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    Sampler.DPMPP_2M_SDE_KARRAS: SamplerSpec(
        "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++", **KARRAS}
    ),
    Sampler.DPMPP_2S: SamplerSpec("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
    Sampler.DEIS: SamplerSpec("DEISMultistepScheduler"),
    Sampler.UNIPC: SamplerSpec("UniPCMultistepScheduler"),
    Sampler.UNIPC_KARRAS: SamplerSpec("UniPCMultistepScheduler", KARRAS),
    Sampler.DDIM: SamplerSpec("DDIMScheduler", UNCLIPPED),
    Sampler.DDPM: SamplerSpec("DDPMScheduler", UNCLIPPED),
    Sampler.PNDM: SamplerSpec("PNDMScheduler", {"skip_prk_steps": True}),
    # 50 is the number of steps the consistency schedule was distilled with (its original_inference_steps).
    Sampler.LCM: SamplerSpec("LCMScheduler", max_steps=50),
}

EDM_SAMPLERS: dict[Sampler, SamplerSpec] = {
    # Both classes space their noise levels as in Karras et al. unless the checkpoint says otherwise.
    Sampler.EULER: SamplerSpec("EDMEulerScheduler"),
    Sampler.EULER_KARRAS: SamplerSpec("EDMEulerScheduler", {"sigma_schedule": "karras"}),
    Sampler.DPMPP_2M: SamplerSpec("EDMDPMSolverMultistepScheduler"),
    Sampler.DPMPP_2M_KARRAS: SamplerSpec("EDMDPMSolverMultistepScheduler", {"sigma_schedule": "karras"}),
}
"""For checkpoints whose scheduler configuration is one of these classes, such as Playground v2.5."""

DECLARED_ONLY: dict[str, str] = {
    # Needs scipy, which we do without; both take the same settings.
    "LMSDiscreteScheduler": "EulerDiscreteScheduler",
    "TCDScheduler": "TCDScheduler",
    "FlowMatchEulerDiscreteScheduler": "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
}
"""Classes that checkpoints name besides those of the tables here, and the class that reads their settings."""

MAX_STEPS = {sampler: spec.max_steps for sampler, spec in SAMPLERS.items()}

MAX_NOISE_LEVELS = 100_000
"""A hundred times what checkpoints have; schedulers make tables of so many rows."""

MAX_PREPARED = 32
"""Noise schedulers kept ready, a few kB each."""

SchedulerConfig: TypeAlias = dict[str, Any]
"""A checkpoint's scheduler configuration as diffusers holds it."""


def read_scheduler_config(folder: Path) -> SchedulerConfig:
    """The configuration that all samplers of a checkpoint start from; `folder` holds scheduler_config.json.

    Raises CheckpointMissing without the file, WeightsCorrupt when it names no known noise scheduler.
    """
    file = folder / "scheduler_config.json"
    if not file.is_file():
        raise CheckpointMissing(f"{file} is missing")
    values = read_scheduler_values(file)
    class_name = values.get("_class_name")
    known = {spec.scheduler for spec in (*SAMPLERS.values(), *EDM_SAMPLERS.values())} | set(DECLARED_ONLY)
    if not isinstance(class_name, str) or class_name not in known:
        raise WeightsCorrupt(f"scheduler class {class_name!r} is none of {', '.join(sorted(known))}")
    # Building the declared class fills in its own defaults, which from_config then hands to the sampler's
    # class or not, exactly as it does when a pipeline swaps its scheduler.
    scheduler_class = getattr(diffusers, DECLARED_ONLY.get(class_name, class_name))
    try:
        config: SchedulerConfig = scheduler_class.from_config(values).config
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: {error}") from error
    return config


def read_scheduler_values(file: Path) -> dict[str, Any]:
    """The settings in a scheduler_config.json, whatever the class. Any: JSON.

    Raises WeightsCorrupt for damage, and for more noise levels than memory should be spent on.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: {error}") from error
    if not isinstance(values, dict):
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: it is no object")
    levels = values.get("num_train_timesteps", 1)
    if type(levels) is not int or not 1 <= levels <= MAX_NOISE_LEVELS:
        raise WeightsCorrupt(f"{file} has a num_train_timesteps that is none from 1 to {MAX_NOISE_LEVELS}")
    return values


def pipeline_config(config: SchedulerConfig) -> SchedulerConfig:
    """The configuration after the corrections that StableDiffusionPipeline.__init__ makes."""
    values = dict(config)
    if values.get("steps_offset", 1) != 1:
        values["steps_offset"] = 1
    if values.get("clip_sample", False) is True:
        values["clip_sample"] = False
    return FrozenDict(values)


class PreparedSchedulers:
    """Noise schedulers with their timesteps set, ready to be copied.

    Setting one up takes 0.3 to 1.3 ms, for KDPM2 120 ms; so the first one of each kind is kept, untouched.
    """

    def __init__(self) -> None:
        self._prepared: OrderedDict[Hashable, Any] = OrderedDict()  # untyped diffusers classes

    def copy(self, key: Hashable, prepare: Callable[[], Any]) -> Any:  # an untyped diffusers class
        """A copy of what `prepare` gave for this key the first time."""
        prepared = self._prepared.pop(key, None) or prepare()
        self._prepared[key] = prepared
        while len(self._prepared) > MAX_PREPARED:
            self._prepared.popitem(last=False)
        return copy.deepcopy(prepared)


class SamplerFactory:
    """Makes the samplers of one checkpoint's images."""

    def __init__(self, config: SchedulerConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        is_edm = str(config.get("_class_name", "")).startswith("EDM")
        self._table = EDM_SAMPLERS if is_edm else SAMPLERS
        self._prepared = PreparedSchedulers()

    def make(self, sampler: Sampler, *, steps: int, seed: int) -> RowSampler:
        """The sampler of one image, at its first step. Raises UnsupportedCombination."""
        spec = spec_of(sampler, self._table)
        scheduler = self._prepared.copy((sampler, steps), lambda: self._prepare(spec, steps))
        return RowSampler(scheduler, steps=steps, seed=seed, device=self._device)

    def _prepare(self, spec: SamplerSpec, steps: int) -> Any:  # an untyped diffusers class
        scheduler = getattr(diffusers, spec.scheduler).from_config(self._config, **spec.overrides)
        scheduler.set_timesteps(steps, device=self._device)
        return scheduler


def spec_of(sampler: Sampler, table: Mapping[Sampler, SamplerSpec]) -> SamplerSpec:
    """The table's row. Raises UnsupportedCombination where it has none."""
    spec = table.get(sampler)
    if spec is None:
        usable = ", ".join(each.value for each in table)
        raise UnsupportedCombination(
            f"sampler {sampler.value} does not fit this checkpoint; usable: {usable}"
        )
    return spec


class RowSampler:
    """The sampler state of one image: noise scheduler, generator, position."""

    def __init__(self, scheduler: Any, *, steps: int, seed: int, device: torch.device) -> None:
        """Takes over `scheduler`, with its timesteps set. Any: untyped in diffusers."""
        self._scheduler = scheduler
        if hasattr(scheduler, "set_begin_index"):
            # Otherwise the first step is searched by timestep, which fails where rounding made two equal.
            scheduler.set_begin_index(0)
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._device = device
        self._steps = steps
        # Python numbers, so that a turn moves the timesteps of all its rows to the device as one tensor.
        self._timestep_values: list[float] = scheduler.timesteps.tolist()
        self._extra = _step_arguments(scheduler, self._generator)
        self._position = 0

    @property
    def is_done(self) -> bool:
        """Whether the latents are final."""
        return self._position == len(self._timestep_values)

    @property
    def steps_done(self) -> int:
        """Steps in the user's count, 0 to `steps`: second-order samplers call the denoiser twice for one."""
        return self._position * self._steps // len(self._timestep_values)

    @property
    def timestep(self) -> float:
        """The timestep of the next denoiser call, on the training scale (0 to 1000)."""
        return self._timestep_values[self._position]

    def initial_latents(self, shape: tuple[int, int, int]) -> Tensor:
        """Pure noise at the sampler's first noise level: float32, [1, *shape], on the device."""
        noise = randn_tensor((1, *shape), generator=self._generator, device=self._device, dtype=torch.float32)
        # Rectified-flow classes have no such attribute: their first noise level is pure noise of variance 1.
        return noise * getattr(self._scheduler, "init_noise_sigma", 1.0)

    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents; shape, dtype and device stay."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        scaled: Tensor = self._scheduler.scale_model_input(latents, self._scheduler.timesteps[self._position])
        return scaled

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later.

        Takes the guided prediction and the unscaled latents, both float32 [1, C, h, w] on the device.
        """
        timestep = self._scheduler.timesteps[self._position]
        moved: Tensor = self._scheduler.step(prediction, timestep, latents, **self._extra, return_dict=False)[
            0
        ]
        self._position += 1
        return moved


def _step_arguments(
    scheduler: Any, generator: torch.Generator
) -> dict[str, object]:  # untyped diffusers class
    """What a pipeline passes to `step` besides the tensors, for those schedulers that accept it."""
    accepted = inspect.signature(scheduler.step).parameters
    offered: dict[str, object] = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in offered.items() if name in accepted}
