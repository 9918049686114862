"""Denoisers in one file that say nothing about the rest: everything else is a donor's.

For denoisers under diffusers' names, and for families whose original layout diffusers converts but whose
configuration is not shipped. The donor is a complete checkpoint of the same family: the file takes the place
of its denoiser, and must fit the donor's configuration exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.family_facts import facts_of
from gpu_runtime.weights.importing.checkpoints import canonical_index, place_checkpoint
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.components import Component, plan_of, require_disk, write_network
from gpu_runtime.weights.importing.configs import Config, read_json
from gpu_runtime.weights.importing.donors import all_components
from gpu_runtime.weights.importing.folders import is_component
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.networks import build_empty, fit
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import Tensors, open_weights
from gpu_runtime.weights.importing.writer import stored_bytes
from gpu_runtime.weights.store import INDEX, MANIFEST
from gpu_runtime.weights.taxonomy import FileFormat, Identified

PREFIXES = ("model.diffusion_model.", "diffusion_model.")


def import_denoiser(job: ImportJob, identified: Identified, file: Path) -> Imported:
    """A donor's checkpoint with this denoiser in place of its own.

    Raises WeightsCorrupt when the file fits no donor, ImportRefused when there is none.
    """
    part = identified.components[0]
    donor = _donor_of(job, identified, part.name, part.class_name)
    config = read_json(donor / part.name / "config.json")
    network_class = find_class("diffusers", part.class_name)
    tensors = _by_diffusers_names(identified, part.class_name, open_weights(file), config)
    fitted = fit(build_empty(network_class, config), tensors, is_strict=True)
    size = stored_bytes(plan_of(job.precision, fitted, kept=()))
    require_disk(job.work, size)
    job.expect(size)
    written = write_network(job.writing(), part.name, network_class, config, fitted)
    index = read_json(donor / INDEX)
    components = [written, *_others(job, donor, part.name)]
    settings = {name: value for name, value in index.items() if not is_component(value)}
    class_name = str(settings.pop("_class_name"))
    details: dict[str, Any] = {"missing": [], "donor": donor.name}
    return place_checkpoint(
        job, identified, canonical_index(class_name, settings, components), components, details
    )


def _donor_of(job: ImportJob, identified: Identified, name: str, class_name: str) -> Path:
    for donor in job.donors:
        if donor.parent.resolve() != job.store.checkpoints:
            continue
        entry = read_json(donor / INDEX).get(name)
        is_same = isinstance(entry, list) and entry[-1] == class_name
        manifest = read_json(donor / MANIFEST)
        if is_same and (manifest["family"], manifest["variant"]) == (identified.family, identified.variant):
            return donor
    facts = facts_of(identified.family)
    title = facts.title if facts is not None else identified.family
    variant = f" {identified.variant}" if identified.variant not in ("", "base") else ""
    raise ImportRefused(
        RefusalCode.MISSING_COMPONENT,
        f"the file holds only the {name} of {title}{variant}: first import a complete {title}{variant} "
        "repository in the diffusers layout; this file then shares its other parts",
    )


def _others(job: ImportJob, donor: Path, but: str) -> list[Component]:
    return [each for each in all_components(job.store, donor) if each.name != but]


def _by_diffusers_names(
    identified: Identified, class_name: str, tensors: Mapping[str, Tensor], config: Config
) -> Tensors:
    own = dict(tensors)
    for prefix in PREFIXES:
        if any(name.startswith(prefix) for name in own):
            own = {name.removeprefix(prefix): t for name, t in own.items() if name.startswith(prefix)}
            break
    if identified.file_format == FileFormat.DIFFUSERS:
        return own
    convert = SINGLE_FILE_LOADABLE_CLASSES.get(class_name, {}).get("checkpoint_mapping_fn")
    if convert is None:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"no conversion of single files of {identified.family} is known: import its diffusers repository",
        )
    try:
        converted: Tensors = convert(own, config=config)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsCorrupt(f"the layout is incomplete: {error!r}") from error
    return {name: tensor for name, tensor in converted.items() if isinstance(tensor, Tensor)}
