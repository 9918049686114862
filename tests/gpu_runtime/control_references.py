"""What diffusers' own ControlNet and IP-adapter pipelines make of a request, and tiny networks to ask for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModelWithProjection, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import (
    ControlBalance,
    ControlRef,
    ImageInput,
    ImageRequest,
    IpAdapterRef,
    RequestFailed,
)
from gpu_runtime.tiny.ip_adapters import PICTURE_SIDE, make_tiny_ip_adapter, make_tiny_picture_encoder
from gpu_runtime.tiny.single_components import make_tiny_controlnet
from tests.gpu_runtime.driving import run_all
from tests.gpu_runtime.flow_reference import scheduler_of
from tests.gpu_runtime.picture_references import as_input, decoded, photo
from tests.gpu_runtime.plain_pipelines import run_plainly
from tests.gpu_runtime.rendering import Rendered

VAE_FACTOR = 8
ENCODERS = {"sd15": "clip", "sd2": "clip", "sdxl": "clip", "flux": "clip", "sd3": "siglip"}

PIPELINES = {
    "sd15": "StableDiffusion",
    "sd2": "StableDiffusion",
    "sdxl": "StableDiffusionXL",
    "sd3": "StableDiffusion3",
    "flux": "Flux",
}
CONTROL_CLASSES = {
    "sdxl-union": diffusers.ControlNetUnionModel,
    "sd3": diffusers.SD3ControlNetModel,
    "flux": diffusers.FluxControlNetModel,
}
SEVERAL = {
    "sd15": diffusers.MultiControlNetModel,
    "sdxl": diffusers.MultiControlNetModel,
    "sd3": diffusers.SD3MultiControlNetModel,
    "flux": diffusers.FluxMultiControlNetModel,
}


@contextmanager
def equal_chance_for_control_pictures() -> Iterator[None]:
    """Stable Diffusion 3's pipeline encodes control pictures with chance from the global generator.

    It is seeded here, and its draw is the same for both rows of a guided image.
    """
    drawn = DiagonalGaussianDistribution.sample

    def sample(self: Any, generator: torch.Generator | None = None) -> Tensor:
        if generator is not None:
            known: Tensor = drawn(self, generator)
            return known
        one: Tensor = self.mean + self.std * torch.randn((1, *self.mean.shape[1:]))
        return one

    torch.manual_seed(0)
    with patch.object(DiagonalGaussianDistribution, "sample", sample):
        yield


@contextmanager
def faded(pipeline: Any, request: ImageRequest) -> Iterator[None]:
    """Have the pipeline's one ControlNet fade towards the outer blocks where the request says so.

    In `guess_mode` the pipeline leaves it out of rows without the prompt; the network's own scales for that
    mode are those of its authors' paper, and not of its authors' program.
    """
    if all(ref.balance is ControlBalance.BALANCED for ref in request.controls):
        yield
        return
    network = pipeline.controlnet
    whole = network.forward

    def forward(*args: Any, guess_mode: bool = False, **kwargs: Any) -> Any:
        down, middle = whole(*args, **kwargs)
        shares = [0.825 ** (12 - block) for block in range(len(down) + 1)]
        return [each * share for each, share in zip(down, shares, strict=False)], middle * shares[-1]

    with patch.object(network, "forward", forward):
        yield


class ExtraNetworks:
    """Makes each ControlNet, IP-adapter and encoder of pictures once, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def control(self, name: str, picture: int = 0, *, seed: int = 0, **changes: Any) -> ControlRef:
        """A ControlNet, as `make_tiny_controlnet` names them, with picture number `picture`."""
        title = f"{name}-{seed}"
        folder = self._folder / title
        if not folder.exists():
            make_tiny_controlnet(name, folder, seed=seed)
        return ControlRef(
            name=name, path=str(folder), digest=title, image=as_input(photo(picture)), **changes
        )

    def adapter(self, name: str, *pictures: int, seed: int = 0, **changes: Any) -> IpAdapterRef:
        """An IP-adapter, as `make_tiny_ip_adapter` names them, with these pictures."""
        file = self._folder / f"{name}-{seed}.safetensors"
        if not file.exists():
            make_tiny_ip_adapter(name, file, seed=seed)
        kind = ENCODERS[family_of(name)]
        encoder = self._folder / f"encoder-{kind}"
        if not encoder.exists():
            make_tiny_picture_encoder(kind, encoder)
        return IpAdapterRef(
            name=name,
            path=str(file),
            digest=file.name,
            encoder_path=str(encoder),
            encoder_digest=encoder.name,
            images=tuple(as_input(photo(number)) for number in pictures),
            **changes,
        )


def family_of(name: str) -> str:
    """The family of a variant's name."""
    return name.split("-")[0].split(".")[0]


class ExtraReference:
    """Plain diffusers pipelines, their parts loaded once a checkpoint."""

    def __init__(self) -> None:
        self._bases: dict[str, Any] = {}
        self._networks: dict[str, Any] = {}

    def render(self, request: ImageRequest) -> Rendered:
        """The image with its final latents."""
        pipeline, arguments = self._pipeline(request)
        pipeline.set_progress_bar_config(disable=True)
        declared = pipeline.scheduler
        pipeline.scheduler = scheduler_of(request, declared.config)
        with equal_chance_for_control_pictures(), faded(pipeline, request):
            rendered = run_plainly(pipeline, request, **arguments)
        if request.ip_adapters:
            pipeline.unload_ip_adapter()
        return rendered

    def _pipeline(self, request: ImageRequest) -> tuple[Any, dict[str, Any]]:
        """The pipeline, and what to call it with besides the prompt."""
        family = request.checkpoint.family
        arguments = _arguments(request)
        parts = dict(self._base(request).components)
        name = PIPELINES[family]
        if request.controls:
            name += "ControlNet"
            parts["controlnet"] = self._controlnet(request)
            if type(parts["controlnet"]).__name__.endswith("UnionModel"):
                name += "Union"
            arguments |= _control_arguments(request, is_union="Union" in name)
        if request.image:
            name += "Inpaint" if request.mask else "Img2Img"
        if family in ("sd15", "sd2"):
            parts["requires_safety_checker"] = False
        if request.ip_adapters:
            # It is changed by adapters, and put back afterwards.
            parts |= picture_encoder(request)
        pipeline_class = getattr(diffusers, f"{name}Pipeline")
        taken = inspect.signature(pipeline_class.__init__).parameters
        pipeline = pipeline_class(**{part: value for part, value in parts.items() if part in taken})
        if request.ip_adapters:
            arguments["ip_adapter_image"] = load_adapters(pipeline, request)
        return pipeline, arguments

    def _base(self, request: ImageRequest) -> Any:
        path = request.checkpoint.path
        if path not in self._bases:
            known = DiffusionPipeline.from_pretrained(path, local_files_only=True)
            self._bases[path] = known
        return self._bases[path]

    def _controlnet(self, request: ImageRequest) -> Any:
        networks = [self._network(ref) for ref in request.controls]
        if len(networks) == 1 or all(network is networks[0] for network in networks):
            return networks[0]
        return SEVERAL[request.checkpoint.family](networks)

    def _network(self, ref: ControlRef) -> Any:
        if ref.path not in self._networks:
            classes = CONTROL_CLASSES
            kind = classes.get(ref.name) or classes.get(family_of(ref.name)) or diffusers.ControlNetModel
            self._networks[ref.path] = kind.from_pretrained(ref.path, local_files_only=True)
        return self._networks[ref.path]


def _arguments(request: ImageRequest) -> dict[str, Any]:
    arguments: dict[str, Any] = {"width": request.width, "height": request.height}
    if request.checkpoint.family != "flux":
        arguments["negative_prompt"] = request.negative_prompt
    elif request.true_guidance_scale > 1:
        arguments |= {
            "negative_prompt": request.negative_prompt,
            "true_cfg_scale": request.true_guidance_scale,
        }
    if request.image:
        arguments |= {"image": _sized(request, request.image), "strength": request.strength}
    if request.mask:
        arguments["mask_image"] = decoded(request.mask)
    return arguments


def _sized(request: ImageRequest, image: ImageInput) -> Image.Image:
    return decoded(image).resize((request.width, request.height), Image.Resampling.LANCZOS)


def _control_arguments(request: ImageRequest, *, is_union: bool) -> dict[str, Any]:
    refs = request.controls
    family = request.checkpoint.family
    images = [_sized(request, ref.image) for ref in refs]
    modes = [ref.mode for ref in refs]
    arguments: dict[str, Any] = {
        "controlnet_conditioning_scale": [ref.scale for ref in refs],
        "control_guidance_start": [ref.start for ref in refs],
        "control_guidance_end": [ref.end for ref in refs],
    }
    if any(ref.balance is ControlBalance.CONTROL for ref in refs):
        arguments["guess_mode"] = True
    if is_union:
        return arguments | {"control_image": images, "control_mode": modes}
    if len(refs) == 1:
        arguments["controlnet_conditioning_scale"] = refs[0].scale
    name = "image" if family in ("sd15", "sd2", "sdxl") and not request.image else "control_image"
    if family == "flux" and any(mode is not None for mode in modes):
        arguments["control_mode"] = modes if len(refs) > 1 else modes[0]
    return arguments | {name: images if len(refs) > 1 else images[0]}


def picture_encoder(request: ImageRequest) -> dict[str, Any]:
    """Components that a pipeline needs to look at pictures."""
    path = request.ip_adapters[0].encoder_path
    if request.checkpoint.family == "sd3":
        side = {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
        return {
            "image_encoder": SiglipVisionModel.from_pretrained(path),
            "feature_extractor": SiglipImageProcessorPil(size=side),
        }
    return {"image_encoder": CLIPVisionModelWithProjection.from_pretrained(path)}


def load_adapters(pipeline: Any, request: ImageRequest) -> Any:
    """Load them, set their scales, and return the pictures as the pipeline takes them."""
    refs = request.ip_adapters
    files = [Path(ref.path) for ref in refs]
    family = request.checkpoint.family
    pictures = [[decoded(image) for image in ref.images] for ref in refs]
    if family == "sd3":
        pipeline.load_ip_adapter(
            str(files[0].parent), weight_name=files[0].name, subfolder="", image_encoder_folder=None
        )
        pipeline.set_ip_adapter_scale(refs[0].scale)
        return pictures[0]
    encoder = "image_encoder_pretrained_model_name_or_path" if family == "flux" else "image_encoder_folder"
    pipeline.load_ip_adapter(
        str(files[0].parent), subfolder="", weight_name=[file.name for file in files], **{encoder: None}
    )
    pipeline.set_ip_adapter_scale([ref.scale for ref in refs] if len(refs) > 1 else refs[0].scale)
    return pictures


def refusals(requests: list[ImageRequest]) -> list[str]:
    """Why the engine ends each request."""
    engine = Engine(EngineConfig())
    outcome = run_all(engine, requests)
    engine.close()
    reasons = []
    for request in requests:
        ended = outcome.final(request.request_id)
        assert isinstance(ended, RequestFailed)
        assert isinstance(ended.fault, UnsupportedCombination)
        reasons.append(str(ended.fault))
    return reasons
