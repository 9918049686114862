"""Imports ONNX files, opened once to see that they are whole, and stored as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import onnxruntime

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.components import Component, require_disk
from gpu_runtime.weights.importing.configs import to_json
from gpu_runtime.weights.importing.job import ImportJob
from gpu_runtime.weights.onnx_header import read_onnx_header
from gpu_runtime.weights.store import digest_of
from gpu_runtime.weights.taxonomy import Identified

FILE: Final = "model.onnx"
_PIECE_BYTES: Final = 8 << 20


def import_onnx(job: ImportJob, identified: Identified, file: Path) -> Component:
    """Bring an ONNX file into the store. Raises WeightsCorrupt, UnsafeFile or ImportRefused."""
    _require_loadable(file)
    size = file.stat().st_size
    require_disk(job.work, size)
    job.expect(size)
    name = identified.components[0].name
    folder = job.work / "components" / name
    folder.mkdir(parents=True)
    facts = to_json({"kind": str(identified.kind), "variant": identified.variant}).encode()
    (folder / "facts.json").write_bytes(facts)
    digests = {"facts.json": hashlib.sha256(facts).hexdigest(), FILE: _copied(job, file, folder / FILE)}
    placed = job.store.place_component(folder, digest_of(digests, size + len(facts)))
    return Component(
        name=name,
        library="",
        class_name="",
        digest=placed.digest,
        size_bytes=placed.size_bytes,
        dtype=identified.components[0].dtype,
    )


def _copied(job: ImportJob, source: Path, target: Path) -> str:
    """The sha256 of what was copied."""
    whole = hashlib.sha256()
    on_bytes = job.writing().on_bytes
    with source.open("rb") as reading, target.open("wb") as writing:
        while piece := reading.read(_PIECE_BYTES):
            whole.update(piece)
            writing.write(piece)
            on_bytes(len(piece))
    return whole.hexdigest()


def _require_loadable(file: Path) -> None:
    """Have onnxruntime build the network, without running it. Raises WeightsCorrupt."""
    options: Any = onnxruntime.SessionOptions()  # untyped there
    # Optimising would need the memory of the weights several times, and is done anew at every start.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            str(file), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's faults share no base class
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsCorrupt(f"{file.name} does not load as an ONNX model: {what}") from error
    header = read_onnx_header(file)
    expected = [[each.name for each in values] for values in (header.inputs, header.outputs)]
    found = [[each.name for each in values] for values in (session.get_inputs(), session.get_outputs())]
    if found != expected:
        raise WeightsCorrupt(f"{file.name} has other inputs or outputs than its header says: {found}")
