"""Puts components together: model_index.json, manifest and links, as one checkpoint folder in the store."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gpu_runtime.weights.importing.classes import find_pipeline
from gpu_runtime.weights.importing.components import Component
from gpu_runtime.weights.importing.configs import Config, to_json
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.store import INDEX, MANIFEST
from gpu_runtime.weights.taxonomy import Identified

MANIFEST_VERSION = 1


def place_checkpoint(
    job: ImportJob,
    identified: Identified,
    index: Config,
    components: Sequence[Component],
    details: Mapping[str, Any],
) -> Imported:
    """Write the checkpoint's folder and place it; its components are in the store already."""
    folder = job.work / "checkpoint"
    folder.mkdir()
    manifest = {
        "version": MANIFEST_VERSION,
        "family": identified.family,
        "variant": identified.variant,
        "components": {each.name: each.digest for each in components},
        "source": {
            "format": str(identified.file_format),
            "title": identified.title,
            "licence": identified.licence,
            "precision": job.precision,
        },
    }
    (folder / INDEX).write_text(to_json(index), encoding="utf-8")
    (folder / MANIFEST).write_text(to_json(manifest), encoding="utf-8")
    for each in components:
        (folder / each.name).symlink_to(f"../../components/{each.digest}")
    placed = job.store.place_checkpoint(folder)
    return Imported(
        identified=identified,
        path=placed.path,
        digest=placed.digest,
        size_bytes=placed.size_bytes,
        components=tuple(components),
        details=dict(details),
    )


def canonical_index(class_name: str, settings: Mapping[str, Any], components: Sequence[Component]) -> Config:
    """The one model_index.json of these components: every part of the pipeline's class, and every setting.

    Parts that are absent are named as such; settings that `settings` does not give have the class's default.
    """
    pipeline = find_pipeline(class_name)
    parts, options = pipeline._get_signature_keys(pipeline)
    index: Config = {"_class_name": class_name}
    index |= {name: [None, None] for name in parts}
    index |= {each.name: [each.library, each.class_name] for each in components}
    defaults = _defaults(pipeline)
    for name in {*options, *settings}:
        value = settings.get(name, defaults.get(name))
        if value is not None and not name.startswith("_") and name not in index:
            index[name] = value
    return index


def _defaults(pipeline: Any) -> dict[str, Any]:
    parameters = inspect.signature(pipeline.__init__).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
