"""Checkpoints in the diffusers layout: a folder with a model_index.json and one folder a component.

Only classes of diffusers and transformers are accepted, only configuration, vocabulary and weight files are
read. Code that lies beside them is ignored; a component that needs it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.checkpoints import canonical_index, place_checkpoint
from gpu_runtime.weights.importing.classes import (
    LEFT_OUT,
    NETWORK,
    SCHEDULER,
    TOKENIZER,
    find_class,
    find_pipeline,
    sort_of,
)
from gpu_runtime.weights.importing.components import (
    Component,
    Writing,
    plan_of,
    require_disk,
    write_files,
    write_network,
    write_scheduler,
)
from gpu_runtime.weights.importing.configs import Config, read_json
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.networks import fit_folder
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import Tensors
from gpu_runtime.weights.importing.tokenizers import vocabulary_files, write_tokenizer
from gpu_runtime.weights.importing.weight_files import find_weight_files, order_for
from gpu_runtime.weights.importing.writer import stored_bytes
from gpu_runtime.weights.network_config import ADAPTER_CONFIG, own_settings
from gpu_runtime.weights.store import INDEX
from gpu_runtime.weights.taxonomy import Identified

PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "config.json",
    "guider_config.json",
    "chat_template.json",
    "chat_template.jinja",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network that was checked and can be written."""

    name: str
    network_class: Any
    """Any: untyped in both libraries."""
    config: Config
    tensors: Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFiles:
    """One component that holds no weights."""

    name: str
    library: str
    class_name: str
    sort: str
    folder: Path


def import_folder(job: ImportJob, identified: Identified, folder: Path) -> Imported:
    """Bring a diffusers repository into the store.

    Raises WeightsCorrupt, UnsafeFile or ImportRefused.
    """
    index = read_json(folder / INDEX)
    find_pipeline(index.get("_class_name"))
    networks: list[Network] = []
    others: list[SideFiles] = []
    named = {name: entry for name, entry in sorted(index.items()) if is_component(entry)}
    named = {name: entry for name, entry in named.items() if name[:1] != "_" and entry[1] not in LEFT_OUT}
    order = order_for([folder / name for name, entry in named.items() if all(entry)], job.precision)
    for name, entry in named.items():
        found = _check_component(folder, name, entry, order)
        if isinstance(found, Network):
            networks.append(found)
        elif found is not None:
            others.append(found)
    if not networks:
        raise ImportRefused(
            RefusalCode.MISSING_COMPONENT, f"{INDEX} names no network: the repository holds no weights"
        )
    total = sum(stored_bytes(plan_of(job.precision, each.tensors, kept=())) for each in networks)
    require_disk(job.work, total)
    job.expect(total)
    writing = job.writing()
    components = [
        write_network(writing, each.name, each.network_class, each.config, each.tensors) for each in networks
    ]
    components += [_write_side_files(writing, each) for each in others]
    settings = {name: value for name, value in index.items() if not is_component(value)}
    settings = {name: value for name, value in settings.items() if not name.startswith("_")}
    if any(is_component(entry) and entry[1] in LEFT_OUT for entry in index.values()):
        settings["requires_safety_checker"] = False
    class_name = str(index["_class_name"])
    return place_checkpoint(
        job, identified, canonical_index(class_name, settings, components), components, {}
    )


def is_component(entry: Any) -> bool:
    """Whether an entry of an index names a component, by library and class or None; others are settings."""
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    return all(each is None or isinstance(each, str) for each in entry)


def check_network(folder: Path, name: str, network_class: Any, order: Sequence[str]) -> Network:
    """The network of a component's folder, its tensors checked. No number is read.

    `order`: variants of its files, the best first. Raises WeightsCorrupt, UnsafeFile, UnsupportedCombination
    or ImportRefused.
    """
    config = own_settings(name, read_json(folder / "config.json"))
    if (folder / ADAPTER_CONFIG).is_file():
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"{name} has an adapter beside its weights, which is not supported: import a version with the "
            "adapter merged",
        )
    files = find_weight_files(folder, order)
    if files is None:
        raise ImportRefused(
            RefusalCode.MISSING_COMPONENT,
            f"the folder {name} has no .safetensors or .bin file: fetch the repository completely",
        )
    tensors = files.open()
    try:
        fitted = fit_folder(network_class, config, tensors)
    except WeightsCorrupt as fault:
        raise WeightsCorrupt(f"{name}: {fault}") from fault
    return Network(name=name, network_class=network_class, config=config, tensors=fitted)


def _check_component(
    folder: Path, name: str, entry: list[Any], order: Sequence[str]
) -> Network | SideFiles | None:
    library, class_name = entry
    if library is None or class_name is None:
        return None
    if "/" in name or name in (".", "..", "") or not (folder / name).is_dir():
        raise ImportRefused(
            RefusalCode.MISSING_COMPONENT,
            f"{INDEX} names {name}, whose folder is not there: fetch the repository completely",
        )
    found = find_class(library, class_name)
    if sort_of(found) == NETWORK:
        return check_network(folder / name, name, found, order)
    return SideFiles(
        name=name, library=library, class_name=class_name, sort=sort_of(found), folder=folder / name
    )


def _write_side_files(writing: Writing, part: SideFiles) -> Component:
    if part.sort == SCHEDULER:
        config = read_json(part.folder / "scheduler_config.json")
        return write_scheduler(writing, part.name, part.class_name, config)
    if part.sort == TOKENIZER:
        return write_tokenizer(writing, part.name, part.class_name, part.folder)
    return write_files(writing, part.name, part.library, part.class_name, processor_files(part.folder))


def processor_files(folder: Path) -> Mapping[str, bytes]:
    """Configuration and vocabulary of an image or text processor."""
    files = {name: (folder / name).read_bytes() for name in PROCESSOR_FILES if (folder / name).is_file()}
    for name in files:
        if name.endswith(".json") and "auto_map" in read_json(folder / name):
            raise ImportRefused(
                RefusalCode.UNSUPPORTED_MODEL,
                f"{folder.name} needs code that comes with the model, which is never run",
            )
    return {**vocabulary_files(folder), **files}
