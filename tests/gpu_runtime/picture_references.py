"""Pictures to send with requests, and what diffusers' own pipelines make of them: UNet families."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, DiffusionPipeline
from PIL import Image

from gpu_runtime.messages import ImageInput, ImageRequest
from gpu_runtime.samplers import SAMPLERS
from tests.gpu_runtime.plain_pipelines import run_plainly
from tests.gpu_runtime.rendering import Rendered


def photo(seed: int = 0, *, width: int = 88, height: int = 56) -> Image.Image:
    """Soft colours and some noise; not of the size of any request."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = smooth + random.integers(-20, 21, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def painted_mask(*, width: int = 72, height: int = 72) -> Image.Image:
    """White left of a slanted edge, with a grey seam on both sides of a half."""
    columns, lines = np.meshgrid(np.arange(width), np.arange(height))
    distance = columns - width * 0.55 - lines * 0.2
    return Image.fromarray((128 - 24 * distance).clip(0, 255).astype(np.uint8)).convert("RGB")


def as_input(picture: Image.Image, file_format: str = "PNG") -> ImageInput:
    """The encoded file, as a request brings it."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format)
    return ImageInput(data=buffer.getvalue(), digest=hashlib.sha256(buffer.getvalue()).hexdigest())


def decoded(image: ImageInput) -> Image.Image:
    """What a user of diffusers hands to a pipeline."""
    return Image.open(io.BytesIO(image.data)).convert("RGB")


class PictureReference:
    """Plain diffusers pipelines for prompt, image and mask, loaded once a checkpoint."""

    def __init__(self) -> None:
        self._pipelines: dict[tuple[str, str], Any] = {}

    def render(self, request: ImageRequest, **arguments: Any) -> Rendered:
        """The image with its final latents; `arguments` are for the pipeline besides the request's."""
        pipeline = self._pipeline(request)
        declared = pipeline.scheduler
        spec = SAMPLERS[request.sampler]
        pipeline.scheduler = getattr(diffusers, spec.scheduler).from_config(declared.config, **spec.overrides)
        given = {"negative_prompt": request.negative_prompt, **_picture_arguments(request), **arguments}
        rendered = run_plainly(pipeline, request, **given)
        pipeline.scheduler = declared
        return rendered

    def _pipeline(self, request: ImageRequest) -> Any:
        kind = "mask" if request.mask else "image" if request.image else "text"
        return self._of_kind(request.checkpoint.path, kind)

    def _of_kind(self, path: str, kind: str) -> Any:
        known = self._pipelines.get((path, kind))
        if known is None:
            known = self._pipelines[path, kind] = self._made(path, kind)
            known.set_progress_bar_config(disable=True)
        return known

    def _made(self, path: str, kind: str) -> Any:
        if kind == "text":
            return DiffusionPipeline.from_pretrained(path, local_files_only=True, safety_checker=None)
        auto = AutoPipelineForImage2Image if kind == "image" else AutoPipelineForInpainting
        return auto.from_pipe(self._of_kind(path, "text"))


def _picture_arguments(request: ImageRequest) -> Mapping[str, Any]:
    size = {"width": request.width, "height": request.height}
    if request.image is None:
        return size
    picture = decoded(request.image)
    if request.mask is None:
        # These pipelines take the size from the picture.
        resized = picture.resize((request.width, request.height), Image.Resampling.LANCZOS)
        return {"image": resized, "strength": request.strength}
    return {**size, "image": picture, "mask_image": decoded(request.mask), "strength": request.strength}
