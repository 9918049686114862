"""An IP-adapter together with the encoder of pictures that it sees with, as its repository has them.

sdxl_models/ip-adapter_sdxl.safetensors         the one file of weights outside of the encoder's folder
sdxl_models/image_encoder/config.json, ...      at most two folders below the top
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification import ip_adapters, picture_networks
from gpu_runtime.weights.identification.component_folders import open_component
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.picture_networks import IMAGE_ENCODER
from gpu_runtime.weights.identification.reading import open_file
from gpu_runtime.weights.identification.weight_files import versions
from gpu_runtime.weights.taxonomy import Identified

DEEPEST = 2
MAX_FOLDERS = 200
ENCODER_FOLDER = "encoder_folder"
"""Detail that says where the encoder lies, relative to the folder that was identified."""


@dataclass(frozen=True, slots=True)
class AdapterParts:
    """Where the two lie."""

    adapter: Path
    encoder: Path


def find_parts(folder: Path) -> AdapterParts | None:
    """None unless there is exactly one encoder and one other model, which is one file."""
    folders = list(_folders(folder, 0))[:MAX_FOLDERS]
    encoders = [each for each in folders if each.name == IMAGE_ENCODER and (each / "config.json").is_file()]
    if len(encoders) != 1:
        return None
    [encoder] = encoders
    models = [
        (each, model)
        for each in folders
        if each != encoder and encoder not in each.parents
        for model in versions(each)
    ]
    safe = [(each, model) for each, model in models if not model.is_pickle] or models
    if len({(each, model.stem) for each, model in safe}) != 1 or len(safe[0][1].files) != 1:
        return None
    return AdapterParts(adapter=safe[0][1].files[0], encoder=encoder)


def identify_adapter(folder: Path, parts: AdapterParts) -> Identified:
    """Both as one model. Raises NotRecognised unless they are what they seem and go together."""
    adapter = ip_adapters.claim(open_file(parts.adapter))
    if adapter is None:
        raise NotRecognised(
            f"{parts.adapter.name} lies beside an image encoder and is no IP-adapter; import it alone"
        )
    encoder = identify_encoder(parts.encoder)
    if not ip_adapters.is_fitting(adapter.details, encoder.details):
        raise NotRecognised(
            f"{parts.adapter.name} sees with {ip_adapters.wanted_encoder(adapter.details)}, which "
            f"{parts.encoder.relative_to(folder)} is not; import the adapter's file alone, and its encoder"
        )
    return replace(
        adapter,
        components=(*adapter.components, *encoder.components),
        size_bytes=adapter.size_bytes + encoder.size_bytes,
        details={
            **adapter.details,
            "files": (parts.adapter.relative_to(folder).as_posix(),),
            ENCODER_FOLDER: parts.encoder.relative_to(folder).as_posix(),
        },
    )


def identify_encoder(folder: Path) -> Identified:
    """The encoder in its folder. Raises NotRecognised for anything else, WeightsCorrupt for a torn one."""
    contents: Contents = open_component(folder)[0]
    found = picture_networks.claim(contents)
    if found is None or found.variant != IMAGE_ENCODER:
        raise NotRecognised(f"the folder {folder.name} holds no image encoder of CLIP or SigLIP")
    return found


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth < DEEPEST:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                yield from _folders(entry, depth + 1)
