"""diffusers' noise schedulers with a sigma schedule chosen for them.

Where a class has a setting for the schedule, that is used, so the images are those of the class. For the
others the class's own step from levels to timesteps is kept, and only the levels are put in its way: where
it asks its own method for Karras's levels (or for exponential ones, where diffusers does the same with the
beta schedule, which needs scipy there), it gets ours.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import diffusers
import numpy as np
import torch

from gpu_runtime.messages import SigmaSchedule
from gpu_runtime.sampling.schedules import Levels, beta, levels_of

EULER = "EulerDiscreteScheduler"
"""The class whose levels are taken for samplers that have no choice of their own."""

SPACINGS: Mapping[SigmaSchedule, str] = {
    SigmaSchedule.UNIFORM: "linspace",
    SigmaSchedule.NORMAL: "linspace",
    SigmaSchedule.SGM_UNIFORM: "trailing",
    SigmaSchedule.DDIM: "leading",
}
"""`timestep_spacing` of the classes that have it."""

_KARRAS, _EXPONENTIAL = "use_karras_sigmas", "use_exponential_sigmas"
_SWITCHES = (_KARRAS, _EXPONENTIAL, "use_beta_sigmas", "use_lu_lambdas")

_LEVELS_OF_SWITCH = {_KARRAS: "_convert_to_karras", _EXPONENTIAL: "_convert_to_exponential"}


def build(
    class_name: str,
    config: Mapping[str, Any],
    overrides: Mapping[str, object],
    schedule: SigmaSchedule,
    *,
    steps: int,
    device: torch.device,
    aligned: tuple[float, ...],
) -> Any:
    """A noise scheduler with its timesteps set; `aligned` are the levels of ALIGN_YOUR_STEPS.

    Any: diffusers' classes and configurations are untyped. Raises what the class raises.
    """
    accepted = inspect.signature(getattr(diffusers, class_name).__init__).parameters
    make = partial(_made, class_name, config)
    place = partial(_with_timesteps, steps=steps, device=device)
    if schedule is SigmaSchedule.AUTOMATIC:
        return place(make(overrides))
    switched_off = {switch: False for switch in _SWITCHES if switch in accepted}
    if schedule in SPACINGS and "timestep_spacing" in accepted:
        spaced = switched_off | {"timestep_spacing": SPACINGS[schedule]}
        return place(make({**overrides, **spaced}))
    if _KARRAS not in accepted:
        own = place(make(overrides))
        euler = build(EULER, config, {}, schedule, steps=steps, device=device, aligned=aligned)
        own.timesteps, own.sigmas = euler.timesteps, euler.sigmas
        return own
    switch, levels = _way_to(schedule, aligned)
    made = make({**overrides, **switched_off, switch: True})
    if levels is not None:
        table = _table(made)
        # Called by the class with these two names.
        setattr(
            made,
            _LEVELS_OF_SWITCH[switch],
            lambda in_sigmas, num_inference_steps: levels(table, in_sigmas, num_inference_steps),
        )
    return place(made)


def _made(class_name: str, config: Mapping[str, Any], changes: Mapping[str, object]) -> Any:  # untyped class
    """A scheduler of one's own. Configurations come from JSON files, and changes are of JSON's types, too."""
    return copy.deepcopy(_original(class_name, json.dumps(dict(config)), json.dumps(dict(changes))))


@lru_cache(maxsize=64)
def _original(class_name: str, config: str, changes: str) -> Any:  # untyped class
    """Never handed out itself.

    The KDPM2 classes look up each of the thousand training steps when they are made: a quarter of a second,
    in which no other image would go on, and again for each number of steps that somebody asks for.
    """
    return getattr(diffusers, class_name).from_config(json.loads(config), **json.loads(changes))


def _with_timesteps(scheduler: Any, *, steps: int, device: torch.device) -> Any:  # untyped diffusers class
    scheduler.set_timesteps(steps, device=device)
    return scheduler


def _way_to(
    schedule: SigmaSchedule, aligned: tuple[float, ...]
) -> tuple[str, Callable[[Levels, Levels, int], Levels] | None]:
    """The class's switch for this schedule, and the levels that take the place of the switch's own."""
    if schedule is SigmaSchedule.KARRAS:
        return _KARRAS, None
    if schedule in (SigmaSchedule.EXPONENTIAL, SigmaSchedule.POLYEXPONENTIAL):
        return _EXPONENTIAL, None
    if schedule is SigmaSchedule.BETA:
        # Between the ends that the class gives, as its own method does.
        return _EXPONENTIAL, lambda _table, given, steps: beta(float(given[-1]), float(given[0]), steps)
    # Karras's branch rounds timesteps where the other one cuts them off.
    return _KARRAS, lambda table, _given, steps: levels_of(schedule, table, aligned, steps)


def _table(scheduler: Any) -> Levels:  # untyped diffusers class
    """Levels of all training timesteps, ascending."""
    kept = np.asarray(scheduler.alphas_cumprod, dtype=np.float64)
    table: Levels = ((1 - kept) / kept) ** 0.5
    return table
