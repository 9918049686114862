"""Folders: pipelines with a model_index.json, components with a config.json, repositories of one file."""

from __future__ import annotations

from pathlib import Path

from gpu_runtime.weights.identification import adapter_folders, picture_networks, pipelines, rules
from gpu_runtime.weights.identification.component_folders import open_component
from gpu_runtime.weights.identification.components import claim_by_config
from gpu_runtime.weights.identification.onnx_files import identify_onnx
from gpu_runtime.weights.identification.weight_files import read_json, versions
from gpu_runtime.weights.onnx_header import SUFFIX as ONNX
from gpu_runtime.weights.taxonomy import Identified


def identify_folder(folder: Path) -> Identified:
    """Raises NotRecognised for a folder without weights, or with several that are not one model."""
    index = read_json(folder / "model_index.json")
    if index:
        return pipelines.identify_pipeline(folder, index)
    if (parts := adapter_folders.find_parts(folder)) is not None:
        return adapter_folders.identify_adapter(folder, parts)
    if (network := _only_onnx(folder)) is not None:
        return pipelines.with_details(identify_onnx(network), files=(network.name,))
    contents, chosen = open_component(folder)
    answer = picture_networks.claim(contents) or claim_by_config(contents) or rules.apply(contents)
    return pipelines.with_details(answer, files=tuple(file.name for file in chosen.files))


def _only_onnx(folder: Path) -> Path | None:
    """The one ONNX file of a folder without other weights."""
    found = [file for file in sorted(folder.iterdir()) if file.suffix.lower() == ONNX and file.is_file()]
    return found[0] if len(found) == 1 and not versions(folder) else None
