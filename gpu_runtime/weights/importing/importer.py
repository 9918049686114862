"""One import from beginning to end: what is it, which way does it go, what is in the store now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpu_runtime.errors import NotRecognised, RuntimeFault
from gpu_runtime.weights.identification.adapter_folders import ENCODER_FOLDER
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.importing.borrowed import import_denoiser
from gpu_runtime.weights.importing.folders import import_folder
from gpu_runtime.weights.importing.ip_adapters import import_with_encoder
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.layouts import layout_of
from gpu_runtime.weights.importing.onnx_files import import_onnx
from gpu_runtime.weights.importing.picture_networks import import_picture_network
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode, refusal_of
from gpu_runtime.weights.importing.single_components import (
    NETWORK_KINDS,
    import_network,
    import_weights,
    imported_as,
)
from gpu_runtime.weights.importing.single_files import import_single_file
from gpu_runtime.weights.store import INDEX
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

ONNX_KINDS = (ModelKind.BACKGROUND_REMOVAL, ModelKind.FACE)
"""Kinds that are identified in ONNX files alone."""


def run_import(job: ImportJob, *, kind_hint: str = "", family_hint: str = "") -> Imported:
    """Import `job.source` into the store.

    The hints are requirements: files that say otherwise are refused. Where files tell no family, the hint is
    theirs. Raises ImportRefused.
    """
    job.on_progress("verifying", 0, 0)
    try:
        identified = _with_hints(identify(job.source), kind_hint, family_hint)
        return _import(job, identified)
    except RuntimeFault as fault:
        raise refusal_of(fault) from fault
    except ImportError as error:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL, f"it needs a package that is not installed: {error}"
        ) from error


def _import(job: ImportJob, identified: Identified) -> Imported:
    source = job.source
    if identified.kind in NETWORK_KINDS:
        return import_network(job, identified, source)
    if identified.kind == ModelKind.CHECKPOINT:
        if source.is_dir() and (source / INDEX).is_file():
            return import_folder(job, identified, source)
        file = _only_file(source, identified)
        has_layout = layout_of(identified.family, identified.variant) is not None
        if has_layout and identified.file_format == FileFormat.SINGLE_FILE:
            return import_single_file(job, identified, file)
        return import_denoiser(job, identified, file)
    if identified.kind == ModelKind.PREPROCESSOR:
        return imported_as(job, identified, import_picture_network(job, identified, source))
    file = _only_file(source, identified)
    if identified.kind in ONNX_KINDS:
        return imported_as(job, identified, import_onnx(job, identified, file))
    if ENCODER_FOLDER in identified.details:
        return import_with_encoder(job, identified, source, file)
    return import_weights(job, identified, file)


def _only_file(source: Path, identified: Identified) -> Path:
    """The file itself, or the one that identification chose in its folder."""
    if source.is_file():
        return source
    files = identified.details.get("files", ())
    if not isinstance(files, tuple) or len(files) != 1:
        raise NotRecognised(
            f"{source.name} is no repository in the diffusers layout and holds more than one file"
        )
    return source / str(files[0])


def _with_hints(identified: Identified, kind_hint: str, family_hint: str) -> Identified:
    if kind_hint and kind_hint != identified.kind:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"this is a {identified.kind}, not a {kind_hint}: import it as that, or name none",
        )
    if family_hint and identified.family and family_hint != identified.family:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            f"this belongs to the family {identified.family}, not to {family_hint}: name that, or none",
        )
    return replace(identified, family=identified.family or family_hint)
