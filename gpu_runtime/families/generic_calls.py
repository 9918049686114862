"""One image's call of a diffusers pipeline: a pipeline of its own, and where the call hands over control.

The networks are shared by all images of a checkpoint; what remembers where an image is, is not.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from gpu_runtime.families.generic_pipelines import PipelineSpec, Watch, call_arguments
from gpu_runtime.families.generic_requests import read
from gpu_runtime.families.pictures import BLACK, opened
from gpu_runtime.families.pipeline_run import Call, OnStep
from gpu_runtime.messages import ImageRequest
from gpu_runtime.weights.family_facts import FAMILY_FACTS

GUIDERS = ("guider", "ocr_guider")

AUTOENCODERS = ("vae", "vqvae")
"""Components that pipelines change the precision of."""


def own_pipeline(pipeline: Any) -> Any:
    """A pipeline for one image, with noise schedulers and guiders of its own. Any: untyped in diffusers."""
    copies = {
        id(component): copy.deepcopy(component)
        for name, component in pipeline.components.items()
        if component is not None and (name.endswith("scheduler") or name in GUIDERS)
    }
    return _with_copies(pipeline, copies)


def call_of(pipeline: Any, spec: PipelineSpec, request: ImageRequest, seed: int) -> Call:
    """The call that makes one image, -1 to 1. Must not refer to the family, whose end stops it."""
    arguments = arguments_of(pipeline, spec, request)
    is_signed = spec.is_signed and task_class(spec, request) is None

    def call(on_step: OnStep) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(seed)
        with _keeping_precision(pipeline), _watched(pipeline, spec.watch, on_step) as callback:
            images = pipeline(**arguments, **callback, generator=generator)[0]
        image = as_tensor(images).float()
        return image if is_signed else image * 2 - 1

    return call


def task_class(spec: PipelineSpec, request: ImageRequest) -> str | None:
    """Which pipeline makes this request, None for the checkpoint's own."""
    if request.mask is not None:
        return spec.within_mask
    return spec.from_image if request.image is not None else None


def for_task(pipeline: Any, class_name: str) -> Any:
    """A pipeline of another class over the same networks and settings. Any: untyped in diffusers.

    Its noise schedulers are copies: some classes change the settings of those that they are given.
    """
    task = getattr(diffusers, class_name)
    own = own_pipeline(pipeline)
    known = {**own.config, **own.components}
    values = {name: known[name] for name in inspect.signature(task.__init__).parameters if name in known}
    made = task(**values)
    made.set_progress_bar_config(disable=True)
    return made


def fewest_steps(pipeline: Any, spec: PipelineSpec) -> int:
    """Steps that this checkpoint needs to make an image at all."""
    schedulers = [part for name, part in pipeline.components.items() if name.endswith("scheduler")]
    for scheduler in schedulers:
        # The levels are stretched to end there while the first stays 1: of one level that makes 0 / 0.
        if scheduler.config.get("shift_terminal"):
            return 2
        if spec.one_step_by is not None and type(scheduler).__name__ not in spec.one_step_by:
            return 2
    return 1


def arguments_of(pipeline: Any, spec: PipelineSpec, request: ImageRequest) -> dict[str, Any]:
    """Everything that a call takes of a request, pictures included. Raises UnsupportedCombination."""
    title = FAMILY_FACTS[spec.family].title
    plain = replace(
        request,
        prompt=read(request.prompt, request.prompt_style, title),
        negative_prompt=read(request.negative_prompt, request.prompt_style, title),
    )
    arguments = call_arguments(spec, plain)
    if request.references:
        pictures = [opened(each, f"reference picture {i}") for i, each in enumerate(request.references, 1)]
        return arguments | {"image": pictures if spec.most_references > 1 else pictures[0]}
    if request.image is None:
        return arguments
    arguments |= {
        "image": _fitted(opened(request.image, "init image"), request),
        "strength": request.strength,
    }
    if request.mask is not None:
        arguments["mask_image"] = _fitted(opened(request.mask, "mask", background=BLACK), request).convert(
            "L"
        )
    # Pipelines for images take the size from the image, and some of the rest is theirs alone.
    accepted = inspect.signature(pipeline.__call__).parameters
    return {name: value for name, value in arguments.items() if name in accepted}


def as_tensor(images: Any) -> Tensor:
    """Images as [B, 3, H, W]; pipelines without an output of tensors give arrays, [B, H, W, 3].

    What is transparent, 0 to 1, comes on white.
    """
    found: Tensor = torch.from_numpy(images).permute(0, 3, 1, 2) if isinstance(images, np.ndarray) else images
    if found.shape[1] == 4:
        opacity = found[:, 3:].clamp(0, 1)
        return found[:, :3] * opacity + 1 - opacity
    return found


def _fitted(picture: Image.Image, request: ImageRequest) -> Image.Image:
    return picture.resize((request.width, request.height), Image.Resampling.LANCZOS)


def _with_copies(pipeline: Any, copies: Mapping[int, Any]) -> Any:
    """A shallow copy with some components replaced, in the pipelines it is made of as well."""
    own = copy.copy(pipeline)
    for name, value in vars(pipeline).items():
        if id(value) in copies:
            setattr(own, name, copies[id(value)])
        elif isinstance(value, DiffusionPipeline):
            setattr(own, name, _with_copies(value, copies))
    return own


@contextmanager
def _keeping_precision(pipeline: Any) -> Iterator[None]:
    """Shared autoencoders have their dtypes again at the end.

    Pipelines change them to decode in float32 what overflows in float16; some never change them back, none
    does when decoding fails, and the next image would meet an autoencoder that does not take its latents.
    """
    networks = [
        part for name, part in pipeline.components.items() if name in AUTOENCODERS and part is not None
    ]
    dtypes = [(parameter, parameter.dtype) for network in networks for parameter in network.parameters()]
    try:
        yield
    finally:
        for parameter, dtype in dtypes:
            if parameter.dtype != dtype:
                parameter.data = parameter.data.to(dtype)


@contextmanager
def _watched(pipeline: Any, watch: Watch, on_step: OnStep) -> Iterator[dict[str, Any]]:
    """Arguments of a call that make it report its steps."""
    if watch is Watch.CALLBACK:
        yield {"callback_on_step_end": _after_step(on_step)}
        return
    if watch is Watch.OLD_CALLBACK:
        yield {"callback": lambda step, timestep, latents: on_step(latents), "callback_steps": 1}
        return
    schedulers = [part for name, part in pipeline.components.items() if name.endswith("scheduler")]
    for scheduler in schedulers:
        scheduler.step = _reporting(scheduler.step, on_step)
    try:
        yield {}
    finally:
        # Otherwise each would keep itself alive, and the image with it.
        for scheduler in schedulers:
            del scheduler.step


def _after_step(on_step: OnStep) -> Any:
    def after_step(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(tensors["latents"])
        return {}

    return after_step


def _reporting(step: Any, on_step: OnStep) -> Any:
    # Pipelines look at the signature for what they may pass on.
    @functools.wraps(step)
    def step_and_report(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        on_step(result[0])
        return result

    return step_and_report
