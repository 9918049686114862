"""Imports an IP-adapter together with the encoder of pictures in its repository, as two components."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpu_runtime.weights.identification.adapter_folders import ENCODER_FOLDER, identify_encoder
from gpu_runtime.weights.identification.picture_networks import IMAGE_ENCODER
from gpu_runtime.weights.importing.job import Imported, ImportJob
from gpu_runtime.weights.importing.picture_networks import read_encoder, write_encoder
from gpu_runtime.weights.importing.single_components import import_weights
from gpu_runtime.weights.taxonomy import Identified


def import_with_encoder(job: ImportJob, identified: Identified, source: Path, file: Path) -> Imported:
    """The adapter in `file`, with the encoder that its details name as a further component of it.

    The answer's details describe the encoder under its name. Raises what reading and writing raise.
    """
    folder = source / str(identified.details[ENCODER_FOLDER])
    facts = dict(identify_encoder(folder).details)
    encoder = read_encoder(job, folder)
    adapter = import_weights(job, identified, file)
    component = write_encoder(job.writing(), encoder, on_size=job.expect)
    return replace(
        adapter,
        components=(*adapter.components, component),
        size_bytes=adapter.size_bytes + component.size_bytes,
        details={**adapter.details, IMAGE_ENCODER: facts},
    )
