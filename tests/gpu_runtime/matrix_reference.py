"""What a user of diffusers gets for any one of the six kinds of request, from the pipeline of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpu_runtime.messages import ImageRequest
from tests.gpu_runtime.control_references import ExtraReference, load_adapters, picture_encoder
from tests.gpu_runtime.flow_reference import FLOW_FAMILIES, FlowReference, scheduler_of
from tests.gpu_runtime.lora_reference import load_loras, plain_pipeline, render_plainly, use_loras
from tests.gpu_runtime.picture_references import PictureReference, decoded
from tests.gpu_runtime.rendering import Rendered


class MatrixReference:
    """Plain pipelines, loaded once a checkpoint and kind."""

    def __init__(self) -> None:
        self._pictures = PictureReference()
        self._flows = FlowReference()
        self._extras = ExtraReference()
        self._adapted: dict[str, Any] = {}

    def render(self, request: ImageRequest) -> Rendered:
        """The only image of a request that is of one kind."""
        if request.loras or request.ip_adapters:
            return self._render_adapted(request)
        if request.controls:
            return self._extras.render(request)
        if request.checkpoint.family in FLOW_FAMILIES:
            return self._flows.render(request)
        return self._pictures.render(request)

    def _render_adapted(self, request: ImageRequest) -> Rendered:
        """With the request's only LoRA or IP-adapter, which is loaded once."""
        (ref,) = request.loras or request.ip_adapters
        pipeline = self._adapted.get(ref.path)
        if pipeline is None:
            pipeline = self._adapted[ref.path] = _adapted_pipeline(request)
        given: dict[str, Any] = {}
        if request.loras:
            use_loras(pipeline, [ref.scale])
        else:
            pipeline.set_ip_adapter_scale(ref.scale)
            given["ip_adapter_image"] = _pictures(request)
        if request.true_guidance_scale > 1:
            given["negative_prompt"] = request.negative_prompt
            given["true_cfg_scale"] = request.true_guidance_scale
        declared = pipeline.scheduler
        pipeline.scheduler = scheduler_of(request, declared.config)
        rendered = render_plainly(pipeline, request, **given)
        pipeline.scheduler = declared
        return rendered


def _adapted_pipeline(request: ImageRequest) -> Any:
    pipeline = plain_pipeline(request.checkpoint)
    if request.loras:
        load_loras(pipeline, [Path(ref.path) for ref in request.loras])
    else:
        pipeline.register_modules(**picture_encoder(request))
        load_adapters(pipeline, request)
    return pipeline


def _pictures(request: ImageRequest) -> list[Any]:
    """As the pipeline takes them: only Stable Diffusion 3 has no list for each of several adapters."""
    (ref,) = request.ip_adapters
    pictures = [decoded(image) for image in ref.images]
    return pictures if request.checkpoint.family == "sd3" else [pictures]
