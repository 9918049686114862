"""What a user of diffusers gets from the pipelines of SD3 and FLUX.1, for comparison with the engine."""

from __future__ import annotations

import inspect
import math
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline, FluxPipeline
from PIL import Image
from torch import Tensor

from gpu_runtime.messages import ImageRequest, Sampler
from gpu_runtime.samplers import EDM_SAMPLERS, SAMPLERS
from tests.gpu_runtime.picture_references import decoded
from tests.gpu_runtime.plain_pipelines import run_plainly, size_of
from tests.gpu_runtime.rendering import Rendered

FLOW_FAMILIES = frozenset({"sd3", "flux"})

FILL_CHANNELS = 384


class _InFlowPipelines:
    """What the pipelines of rectified flows expect, for classes that were made for other schedules."""

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Their `add_noise` under the name that the pipelines look for."""
        noised: Tensor = self.add_noise(sample, noise, timestep)  # type: ignore[attr-defined]  # a mixin
        return noised

    def set_timesteps(self, steps: int = 0, device: Any = None, sigmas: Any = None, mu: Any = None) -> None:
        """FLUX.1's pipelines hand over noise levels and a mu; these classes have levels of their own."""
        is_dynamic = self.config.use_dynamic_shifting  # type: ignore[attr-defined]  # a mixin
        shift = {"mu": mu} if is_dynamic else {}
        count = steps if sigmas is None else len(sigmas)
        super().set_timesteps(count, device=device, **shift)  # type: ignore[misc]  # a mixin


class FlowDPMSolver(_InFlowPipelines, diffusers.DPMSolverMultistepScheduler):  # type: ignore[misc]  # untyped
    """DPM-Solver++ of order 2."""


class FlowUniPC(_InFlowPipelines, diffusers.UniPCMultistepScheduler):  # type: ignore[misc]  # untyped
    """UniPC."""


class ShiftedHeun(diffusers.FlowMatchHeunDiscreteScheduler):  # type: ignore[misc]  # untyped in diffusers
    """Heun's method on noise levels that a pipeline hands over, which diffusers' class does not take."""

    def set_timesteps(self, sigmas: Any, mu: float, device: Any = None) -> None:
        super().set_timesteps(len(sigmas), device=device)
        shift = math.exp(mu) if self.config.get("use_dynamic_shifting") else self.config.shift
        levels = torch.tensor([shift * s / (1 + (shift - 1) * s) for s in sigmas], dtype=torch.float32)
        doubled = [levels[0], *(level for level in levels[1:] for _ in range(2))]
        self.sigmas = torch.stack([*doubled, torch.tensor(0.0)])
        self.timesteps = torch.stack(doubled) * 1000


def flow_scheduler(request: ImageRequest, config: Any) -> Any:
    """The noise scheduler that a user of diffusers puts into the pipeline for this sampler."""
    family = request.checkpoint.family
    if request.sampler is Sampler.EULER:
        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
    if request.sampler is Sampler.HEUN:
        kind = ShiftedHeun if family == "flux" else diffusers.FlowMatchHeunDiscreteScheduler
        return kind.from_config(config)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    # Untyped in diffusers.
    classes: dict[Sampler, Any] = {Sampler.DPMPP_2M: FlowDPMSolver, Sampler.UNIPC: FlowUniPC}
    return classes[request.sampler].from_config(config, **flow, flow_shift=config["shift"])


def scheduler_of(request: ImageRequest, config: Any) -> Any:
    """The same for a request of any step-batched family."""
    if request.checkpoint.family in FLOW_FAMILIES:
        return flow_scheduler(request, config)
    table = EDM_SAMPLERS if "sigma_data" in config else SAMPLERS
    spec = table[request.sampler]
    return getattr(diffusers, spec.scheduler).from_config(config, **spec.overrides)


class FlowReference:
    """diffusers' pipelines for requests with and without pictures; networks are loaded once a checkpoint."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def render(self, request: ImageRequest) -> Rendered:
        """The only image of a request."""
        return self._run(request, _kind(request, self._load(request.checkpoint.path)), _pictures(request))

    def render_from(self, request: ImageRequest, latents: Tensor) -> Rendered:
        """The same, begun from latents instead of an image."""
        kind = _image_to_image(request)
        return self._run(request, kind, {"image": latents, "strength": request.strength})

    def _run(self, request: ImageRequest, kind: Any, pictures: dict[str, object]) -> Rendered:
        loaded = self._load(request.checkpoint.path)
        pipeline = _pipeline_for(request, kind, loaded)
        rendered = run_plainly(pipeline, request, **size_of(request), **_guidance(request), **pictures)
        if request.checkpoint.family == "sd3" and request.mask is not None:
            # StableDiffusion3InpaintPipeline forgets the shift that its other half, the encoding, does.
            rendered.pixels = np.asarray(_decoded(pipeline, rendered.latents)).astype(np.int16)
        return rendered

    def _load(self, path: str) -> Any:
        if path not in self._loaded:
            self._loaded[path] = DiffusionPipeline.from_pretrained(path, local_files_only=True)
        return self._loaded[path]


def _pipeline_for(request: ImageRequest, kind: Any, loaded: Any) -> Any:
    accepted = inspect.signature(kind.__init__).parameters
    parts = {name: part for name, part in loaded.components.items() if name in accepted}
    pipeline = kind(**{**parts, "scheduler": flow_scheduler(request, loaded.scheduler.config)})
    pipeline.set_progress_bar_config(disable=True)
    if request.checkpoint.family == "flux" and request.sampler is Sampler.HEUN and request.image:
        get_timesteps = pipeline.get_timesteps
        # The pipeline takes Heun's calls for its steps, of which there are twice as many.
        pipeline.get_timesteps = lambda _calls, strength, device: get_timesteps(
            request.steps, strength, device
        )
    return pipeline


def _kind(request: ImageRequest, loaded: Any) -> Any:
    if request.mask is not None:
        return _inpaint(request, loaded)
    if request.image is not None:
        return _image_to_image(request)
    if request.checkpoint.family == "sd3":
        return diffusers.StableDiffusion3Pipeline
    return diffusers.FluxKontextPipeline if request.references else FluxPipeline


def _image_to_image(request: ImageRequest) -> Any:
    is_flux = request.checkpoint.family == "flux"
    return diffusers.FluxImg2ImgPipeline if is_flux else diffusers.StableDiffusion3Img2ImgPipeline


def _inpaint(request: ImageRequest, loaded: Any) -> Any:
    if request.checkpoint.family == "sd3":
        return diffusers.StableDiffusion3InpaintPipeline
    is_fill = loaded.transformer.config.in_channels == FILL_CHANNELS
    return diffusers.FluxFillPipeline if is_fill else diffusers.FluxInpaintPipeline


def _guidance(request: ImageRequest) -> dict[str, object]:
    if request.checkpoint.family == "sd3":
        return {"negative_prompt": request.negative_prompt or None}
    length: dict[str, object] = {"max_sequence_length": 256 if "schnell" in request.checkpoint.name else 512}
    if request.true_guidance_scale == 1:
        return length
    return {
        **length,
        "true_cfg_scale": request.true_guidance_scale,
        "negative_prompt": request.negative_prompt,
    }


def _pictures(request: ImageRequest) -> dict[str, object]:
    if request.references:
        # Otherwise the pipeline makes images of a megapixel, whatever is asked for.
        return {"image": decoded(request.references[0]), "max_area": request.width * request.height}
    if request.image is None:
        return {}
    given = {"image": decoded(request.image), "strength": request.strength}
    return given if request.mask is None else {**given, "mask_image": decoded(request.mask)}


def _decoded(pipeline: Any, latents: Tensor) -> Image.Image:
    config = pipeline.vae.config
    with torch.no_grad():
        image = pipeline.vae.decode(latents / config.scaling_factor + config.shift_factor).sample
    picture: Image.Image = pipeline.image_processor.postprocess(image, output_type="pil")[0]
    return picture
