"""Imports networks that look at pictures: encoders for IP-adapters, and the readers that operations use.

An encoder is stored under the names of its own module, whatever it was cut out of, so that one encoder out of
several repositories is one component. A reader keeps the names that transformers wrote, its tokenizer and
what it says about pictures: the operations load it with transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from gpu_runtime.weights.identification.picture_networks import IMAGE_ENCODER
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.components import Component, Writing, plan_of, require_disk, write_network
from gpu_runtime.weights.importing.configs import Config, read_json, to_json
from gpu_runtime.weights.importing.folders import Network, check_network
from gpu_runtime.weights.importing.job import ImportJob
from gpu_runtime.weights.importing.networks import build_empty, fit
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import Tensors
from gpu_runtime.weights.importing.tokenizers import vocabulary_files
from gpu_runtime.weights.importing.weight_files import find_weight_files
from gpu_runtime.weights.importing.writer import stored_bytes
from gpu_runtime.weights.network_config import own_settings
from gpu_runtime.weights.taxonomy import Identified
from gpu_runtime.weights.variants import ORDERS

PREPROCESSOR: Final = "preprocessor_config.json"
_READ_AS_TEXT: Final = frozenset({"caption", "text_mask"})
"""Variants that need a tokenizer."""
_ABOUT_CODE: Final = frozenset(
    {"auto_map", "processor_class", "image_processor_type", "feature_extractor_type", "_processor_class"}
)
"""Of a preprocessor's file: which class reads it, which here is none of transformers'."""

_MODEL_TYPES: Final = {
    "CLIPVisionModelWithProjection": "clip_vision_model",
    "SiglipVisionModel": "siglip_vision_model",
}
_EYES: Final = ("vision_model.", "visual_projection.")
"""Tensors of the half of CLIP and SigLIP that sees."""


def import_picture_network(job: ImportJob, identified: Identified, folder: Path) -> Component:
    """Bring the network of a folder into the store. Raises WeightsCorrupt, UnsafeFile or ImportRefused."""
    if identified.variant == IMAGE_ENCODER:
        return write_encoder(job.writing(), read_encoder(job, folder), on_size=job.expect)
    class_name = identified.components[0].class_name
    network = check_network(
        folder, identified.variant, find_class("transformers", class_name), ORDERS[job.precision]
    )
    extra = dict(_preprocessor(folder))
    if identified.variant in _READ_AS_TEXT:
        extra |= _vocabulary(folder)
    size = stored_bytes(plan_of(job.precision, network.tensors, kept=()))
    require_disk(job.work, size)
    job.expect(size)
    return write_network(
        job.writing(), network.name, network.network_class, network.config, network.tensors, extra
    )


def read_encoder(job: ImportJob, folder: Path) -> Network:
    """An encoder of pictures, its tensors checked; of a whole CLIP or SigLIP the half that sees."""
    config = own_settings(IMAGE_ENCODER, read_json(folder / "config.json"))
    class_name = "SiglipVisionModel" if "siglip" in str(config.get("model_type")) else ""
    class_name = class_name or "CLIPVisionModelWithProjection"
    files = find_weight_files(folder, ORDERS[job.precision])
    if files is None:
        raise ImportRefused(
            RefusalCode.MISSING_COMPONENT,
            f"the folder {folder.name} has no .safetensors or .bin file: fetch the repository completely",
        )
    network_class = find_class("transformers", class_name)
    eyes = _config_of_eyes(config, class_name)
    empty = build_empty(network_class, eyes)
    fitted = fit(empty, _named_like(empty, files.open()), is_strict=False)
    return Network(name=IMAGE_ENCODER, network_class=network_class, config=eyes, tensors=fitted)


def write_encoder(
    writing: Writing, encoder: Network, *, on_size: Callable[[int], None] = lambda size: None
) -> Component:
    """Store it. `on_size` is told how many bytes it will have."""
    size = stored_bytes(plan_of(writing.precision, encoder.tensors, kept=()))
    require_disk(writing.work, size)
    on_size(size)
    return write_network(writing, encoder.name, encoder.network_class, encoder.config, encoder.tensors)


def _config_of_eyes(config: Config, class_name: str) -> Config:
    """The configuration of the half that sees, which a whole model has within its own."""
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return config
    whole = {"projection_dim": config["projection_dim"]} if "projection_dim" in config else {}
    return {**vision, **whole, "architectures": [class_name], "model_type": _MODEL_TYPES[class_name]}


def _named_like(empty: Any, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors that see, by the module's names: some releases put all behind `vision_model`."""
    seeing = {name: tensor for name, tensor in tensors.items() if name.startswith(_EYES)} or dict(tensors)
    prefix = _EYES[0]
    if any(name.startswith(prefix) for name in empty.state_dict()):
        return seeing
    return {name.removeprefix(prefix): tensor for name, tensor in seeing.items()}


def _preprocessor(folder: Path) -> Mapping[str, bytes]:
    """What the network says about pictures: sizes and colours, without the class that would read it."""
    file = folder / PREPROCESSOR
    if not file.is_file():
        return {}
    said = {name: value for name, value in read_json(file).items() if name not in _ABOUT_CODE}
    return {PREPROCESSOR: to_json(said).encode()}


def _vocabulary(folder: Path) -> Mapping[str, bytes]:
    files = vocabulary_files(folder)
    if not files:
        raise ImportRefused(
            RefusalCode.MISSING_COMPONENT,
            f"{folder.name} has no tokenizer beside its weights (tokenizer.json, or vocab.txt): fetch the "
            "repository completely",
        )
    return files
