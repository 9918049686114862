"""What is imported by itself: autoencoders, ControlNets, text encoders, and files that are no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.adapters.lora_metadata import declared_alphas
from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.adapter_folders import ENCODER_FOLDER
from gpu_runtime.weights.importing import conversions, part_shapes, unet_shapes
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.components import (
    Component,
    plan_of,
    require_disk,
    write_network,
    write_weights,
)
from gpu_runtime.weights.importing.configs import SHIPPED, Config, read_json, shipped_folder
from gpu_runtime.weights.importing.folders import Network, check_network
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.networks import build_empty, fit
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import Tensors, is_pickle, open_weights
from gpu_runtime.weights.importing.tokenizers import vocabulary_files
from gpu_runtime.weights.importing.writer import stored_bytes
from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.taxonomy import Identified, ModelKind
from gpu_runtime.weights.variants import ORDERS

NETWORK_KINDS = (ModelKind.VAE, ModelKind.CONTROLNET, ModelKind.TEXT_ENCODER)

_PLACES = ("files", ENCODER_FOLDER)
"""Details that say where something lay."""

_VAE_PREFIXES = ("first_stage_model.", "vae.")
_VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
_CLIP_CONFIGS = {
    "clip_l": ("sd15-base", "text_encoder"),
    "clip_h": ("sd2-base", "text_encoder"),
    "clip_g": ("sdxl-base", "text_encoder_2"),
    "t5": ("flux-dev", "text_encoder_2"),
}
"""By the variants of identification: which shipped configuration describes a text encoder."""


def import_network(job: ImportJob, identified: Identified, source: Path) -> Imported:
    """An autoencoder, ControlNet or text encoder, from its folder or its file.

    Raises WeightsCorrupt, UnsafeFile or ImportRefused.
    """
    extra: Mapping[str, bytes] = {}
    if source.is_dir():
        network = _network_of_folder(job, identified, source)
        if identified.kind == ModelKind.TEXT_ENCODER:
            extra = vocabulary_files(source)
    else:
        network = _network_of_file(identified, source)
    size = stored_bytes(plan_of(job.precision, network.tensors, kept=()))
    require_disk(job.work, size)
    job.expect(size)
    component = write_network(
        job.writing(), network.name, network.network_class, network.config, network.tensors, extra
    )
    return imported_as(job, identified, component)


def import_weights(job: ImportJob, identified: Identified, source: Path) -> Imported:
    """A file that is no network by itself: LoRA, embedding, upscaler, IP-adapter and the like."""
    tensors = open_weights(source)
    if identified.kind is ModelKind.LORA:
        tensors = tensors | _alphas_of_header(source, tensors)
    facts = {
        "kind": str(identified.kind),
        "family": identified.family,
        "variant": identified.variant,
        "file_format": str(identified.file_format),
        "title": identified.title,
        "trigger_words": list(identified.trigger_words),
        "details": _content_details(identified),
    }
    size = stored_bytes(plan_of(job.precision, tensors, kept=()))
    require_disk(job.work, size)
    job.expect(size)
    component = write_weights(job.writing(), str(identified.kind), facts, tensors)
    return imported_as(job, identified, component)


def _alphas_of_header(source: Path, tensors: Mapping[str, Tensor]) -> Tensors:
    """Strengths that a LoRA declares in its header alone, which the stored file does not have."""
    if is_pickle(source):
        return {}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    alphas = declared_alphas(read_header(source).metadata, shapes)
    return {name: torch.tensor(alpha) for name, alpha in alphas.items()}


def _content_details(identified: Identified) -> dict[str, Any]:
    """Facts of the content alone; names of files and folders are none."""
    details = {name: value for name, value in identified.details.items() if name not in _PLACES}
    return {name: list(each) if isinstance(each, tuple) else each for name, each in details.items()}


def imported_as(job: ImportJob, identified: Identified, component: Component) -> Imported:
    """The answer for what is one component."""
    return Imported(
        identified=identified,
        path=job.store.component(component.digest),
        digest=component.digest,
        size_bytes=component.size_bytes,
        components=(component,),
    )


def _network_of_folder(job: ImportJob, identified: Identified, folder: Path) -> Network:
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    class_name = config.get("_class_name") or next(iter(config.get("architectures") or ()), None)
    if class_name is None:
        (name,) = _single_file_of(identified)
        return _network_of_file(identified, folder / name)
    library = "diffusers" if "_class_name" in config else "transformers"
    network_class = find_class(library, str(class_name))
    return check_network(folder, str(identified.kind), network_class, ORDERS[job.precision])


def _single_file_of(identified: Identified) -> tuple[str, ...]:
    files = identified.details.get("files", ())
    if not isinstance(files, tuple) or len(files) != 1:
        raise NotRecognised("the folder has no config.json that says what its weights are")
    return files


def _network_of_file(identified: Identified, file: Path) -> Network:
    tensors = open_weights(file)
    read = {
        ModelKind.VAE: _vae_of,
        ModelKind.CONTROLNET: _controlnet_of,
        ModelKind.TEXT_ENCODER: _text_encoder_of,
    }[identified.kind]
    library, class_name, config, converted = read(identified, tensors)
    network_class = find_class(library, class_name)
    fitted = fit(build_empty(network_class, config), converted, is_strict=True)
    return Network(name=str(identified.kind), network_class=network_class, config=config, tensors=fitted)


Read = tuple[str, str, Config, Tensors]
"""Library, class, configuration, and tensors by that class's names."""


def _vae_of(identified: Identified, tensors: Mapping[str, Tensor]) -> Read:
    shipped = shipped_folder(identified.family, "")
    if shipped is None or identified.variant == "tiny":
        raise _needs_folder(identified)
    prefix = next((each for each in _VAE_PREFIXES if any(name.startswith(each) for name in tensors)), "")
    own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    own = {name: each for name, each in own.items() if name.startswith(_VAE_PARTS)}
    config = part_shapes.vae_config(read_json(shipped / "vae" / "config.json"), own)
    is_ldm = any(name.startswith("encoder.down.") for name in own)
    return "diffusers", "AutoencoderKL", config, conversions.convert_vae(own, config) if is_ldm else own


def _controlnet_of(identified: Identified, tensors: Mapping[str, Tensor]) -> Read:
    shipped = SHIPPED / f"controlnet-{identified.family}" / "config.json"
    class_name = identified.components[0].class_name if identified.components else ""
    if not shipped.is_file() or class_name not in ("ControlNetModel", ""):
        raise _needs_folder(identified)
    prefix = "control_model."
    if any(name.startswith(prefix) for name in tensors):
        own = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
    else:
        own = dict(tensors)
    is_ldm = any(name.startswith("input_blocks.") for name in own)
    read: Callable[[Config, Mapping[str, Tensor]], Config] = (
        unet_shapes.controlnet_config if is_ldm else unet_shapes.controlnet_config_by_diffusers_names
    )
    config = read(read_json(shipped), own)
    converted = conversions.convert_controlnet(own, config) if is_ldm else own
    return "diffusers", "ControlNetModel", config, converted


def _text_encoder_of(identified: Identified, tensors: Mapping[str, Tensor]) -> Read:
    if identified.variant not in _CLIP_CONFIGS:
        raise _needs_folder(identified)
    folder, name = _CLIP_CONFIGS[identified.variant]
    published = read_json(SHIPPED / folder / name / "config.json")
    if identified.variant == "t5":
        return "transformers", "T5EncoderModel", part_shapes.t5_config(published, tensors), dict(tensors)
    is_openclip = any(each.startswith("transformer.resblocks.") for each in tensors)
    own = conversions.convert_openclip(tensors) if is_openclip else _with_prefix(tensors)
    config = part_shapes.clip_config(published, own)
    is_projected = "text_projection.weight" in own
    return "transformers", "CLIPTextModelWithProjection" if is_projected else "CLIPTextModel", config, own


def _with_prefix(tensors: Mapping[str, Tensor]) -> Tensors:
    top = ("text_model.", "text_projection.", "logit_scale")
    named = {name if name.startswith(top) else f"text_model.{name}": each for name, each in tensors.items()}
    return {name: each for name, each in named.items() if name != "logit_scale"}


def _needs_folder(identified: Identified) -> ImportRefused:
    what = f"{identified.kind} {identified.variant}".replace("_", " ").strip()
    return ImportRefused(
        RefusalCode.UNSUPPORTED_MODEL,
        f"a {what} in one file does not say how it is configured: import its repository with its config.json",
    )
